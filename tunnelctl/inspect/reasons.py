"""The reasons for bytes that are not shown as exchanges, counted for each forward.

Must never lose one: a connection that is given up is counted once, and all its further bytes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Reason(StrEnum):
    """The reason for not inspecting a connection from some point on."""

    TLS = "tls"
    HTTP2 = "http2"  # from the first byte, or after an upgrade (RFC 9113 section 3)
    MALFORMED = "malformed"  # not HTTP/1, or broken
    OVERLOAD = "overload"  # the parser did not keep up
    SWITCHED = "switched"  # CONNECT, or an upgrade to neither HTTP/2 nor websocket


class NotInspected(Exception):
    """The rest of this connection cannot be shown."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class NotInspectedCounts:
    """For one forward. The loop adds to `passed` and counts overload, the parser's thread does the
    rest: no number has two writers."""

    def __init__(self) -> None:
        self.passed = 0  # bytes that were not copied
        self.drained = 0  # bytes that were copied in vain
        self.reasons = dict.fromkeys(Reason, 0)

    def as_json(self) -> dict[str, Any]:
        """`not_inspected` of the answer."""
        reasons = {str(reason): count for reason, count in self.reasons.items()}
        return {
            "connections": sum(reasons.values()),
            "bytes": self.passed + self.drained,
            "reasons": reasons,
        }
