"""Progress of a connection on its way to a host, and problems that do not stop it.

Owns the milestones: one for each part, reported as soon as it is done. Nothing depends on them:
they explain a connection to a person.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from enum import StrEnum

from tunnelctl.errors import Failure
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


# Called with the host, which may be a hop, the milestone, and details that may be shown. From any
# thread.
Trace = Callable[[Host, Milestone, str], None]


# Called with the host, which may be a hop, and a problem that did not stop it, where ssh(1) prints
# a warning. From any thread.
Warn = Callable[[Host, Failure], None]


def untraced(_host: Host, _milestone: Milestone, _how: str) -> None:
    """Ignore it."""


def logged(_host: Host, warning: Failure) -> None:
    """Only log it."""
    _log.warning("%s", warning)
