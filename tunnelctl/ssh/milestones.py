"""Progress of a connection on its way to a host, and problems that do not stop it.

Owns the milestones: one for each part, reported as soon as it is done. Nothing depends on them:
they explain a connection to a person.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum

from tunnelctl.errors import Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.host import Host

_log = logging.getLogger(__name__)


class Milestone(StrEnum):
    """The parts of a connection, in order."""

    NAMES = "names"  # the host name has addresses; not if a proxy resolves it
    CONNECTION = "connection"  # bytes can be sent to the host
    VERSION = "version"  # it is an SSH server (RFC 4253 section 4.2)
    KEY_EXCHANGE = "key-exchange"
    HOST_KEY = "host-key"
    AUTHENTICATION = "authentication"


@dataclass(frozen=True, slots=True)
class Passed:
    """Details of a milestone that was passed: `text` is for people. `is_strict` is False
    for a key exchange that was not strict (OpenSSH PROTOCOL section 1.10)."""

    text: str
    is_strict: bool = True


# Called with the host, which may be a hop, the milestone, and what is known about it. From any
# thread.
Trace = Callable[[Host, Milestone, Passed], None]


# Called with the host, which may be a hop, and a problem that did not stop it, where ssh(1) prints
# a warning. From any thread.
Warn = Callable[[Host, Failure], None]


def untraced(_host: Host, _milestone: Milestone, _how: Passed) -> None:
    """Ignore it."""


def logged(_host: Host, warning: Failure) -> None:
    """Only log it."""
    _log.warning("%s", warning)
