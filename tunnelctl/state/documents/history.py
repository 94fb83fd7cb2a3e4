"""The document of `GET /v1/history` (docs/api.md) as frozen values: what the daemon remembers of
the last ten minutes.

Must never guess: a round trip that was not measured is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.api_version import API_VERSION

STEP_SECONDS: Final = 2.0
SAMPLES: Final = 300  # ten minutes


@dataclass(frozen=True, slots=True)
class ForwardHistory:
    """Bytes a second of one forward, the oldest sample first, at most `SAMPLES`. A forward that is
    younger has fewer."""

    profile: str
    forward: str
    bytes_in: tuple[float, ...] = ()
    bytes_out: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One element of `forwards`."""
        return {
            "profile": self.profile,
            "forward": self.forward,
            "bytes_in": list(self.bytes_in),
            "bytes_out": list(self.bytes_out),
        }

    @classmethod
    def from_json(cls, forward: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote."""
        return cls(
            forward["profile"],
            forward["forward"],
            tuple(forward["bytes_in"]),
            tuple(forward["bytes_out"]),
        )


@dataclass(frozen=True, slots=True)
class HostHistory:
    """Round trips to one host in milliseconds, the oldest sample first; None while it had no
    link, or no measurement."""

    profile: str
    host: str
    rtt_ms: tuple[float | None, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """One element of `hosts`."""
        return {"profile": self.profile, "host": self.host, "rtt_ms": list(self.rtt_ms)}

    @classmethod
    def from_json(cls, host: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote."""
        return cls(host["profile"], host["host"], tuple(host["rtt_ms"]))


@dataclass(frozen=True, slots=True)
class History:
    """The whole document. `at` is the time of the last sample (RFC 3339); the others are
    `step_seconds` apart."""

    at: str
    forwards: tuple[ForwardHistory, ...] = ()
    hosts: tuple[HostHistory, ...] = ()
    step_seconds: float = STEP_SECONDS

    def as_json(self) -> dict[str, Any]:
        """The document that `GET /v1/history` answers with."""
        return {
            "api_version": API_VERSION,
            "step_seconds": self.step_seconds,
            "at": self.at,
            "forwards": [forward.as_json() for forward in self.forwards],
            "hosts": [host.as_json() for host in self.hosts],
        }


def from_json(document: Mapping[str, Any]) -> History:
    """The document that `History.as_json` wrote.

    Raises:
        ValueError: a daemon of another version sent something that this version does not know.
    """
    try:
        return History(
            at=document["at"],
            forwards=tuple(map(ForwardHistory.from_json, document["forwards"])),
            hosts=tuple(map(HostHistory.from_json, document["hosts"])),
            step_seconds=document["step_seconds"],
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a history of tunnelctl: {error!r}") from None
