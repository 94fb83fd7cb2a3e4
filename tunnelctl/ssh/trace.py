"""How far the way to a host was gone: one word for each part of it, told as soon as it is done.

Owns these words. Nothing decides by them: they are for whoever explains a connection to a person.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from tunnelctl.spec.host import Host


class Milestone(StrEnum):
    """What a connection has behind it, in order."""

    NAMES = "names"  # the host name has addresses; not where somebody else looks it up
    CONNECTION = "connection"  # bytes can be sent to the host
    VERSION = "version"  # it is an SSH server (RFC 4253 section 4.2)
    KEY_EXCHANGE = "key-exchange"
    HOST_KEY = "host-key"
    AUTHENTICATION = "authentication"


# Called with the host, which may be a hop, what it came to, and how: in words that may be shown.
# From any thread.
Trace = Callable[[Host, Milestone, str], None]


def untraced(_host: Host, _milestone: Milestone, _how: str) -> None:
    """Nobody wants to know."""
