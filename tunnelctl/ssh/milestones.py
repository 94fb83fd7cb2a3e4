"""What is told of the way to a host while it is gone: how far, and what is wrong with it all the
same.

Owns the words for how far: one for each part, told as soon as it is done. Nothing decides by what
is told: it is for whoever explains a connection to a person.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum

from tunnelctl.errors import Failure
from tunnelctl.spec.host import Host

_log = logging.getLogger(__name__)


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


# Called with the host, which may be a hop, and what a person should know though it went on: ssh(1)
# prints a warning. From any thread.
Warn = Callable[[Host, Failure], None]


def untraced(_host: Host, _milestone: Milestone, _how: str) -> None:
    """Nobody wants to know."""


def logged(_host: Host, warning: Failure) -> None:
    """Nobody but the log is told."""
    _log.warning("%s", warning)
