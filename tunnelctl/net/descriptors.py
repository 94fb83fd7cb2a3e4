"""Reserves some file descriptors that forwards must not use up.

Owns the rule and its warning. A process without descriptors can neither reconnect, nor answer its
user, nor write its log, so clients of forwards wait before that.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
from typing import Final

from tunnelctl import clock

_log: Final = logging.getLogger(__name__)

_KEPT: Final = 32  # for links, the control socket, the log, name resolution
_QUIET: Final = 60.0  # seconds without a shortage before it is reported again
_LIMIT_HOLDS: Final = 1.0  # seconds that the limit is cached; prlimit(1) may change it
WARNING: Final = (
    "open files are used up: new clients of forwards wait (ulimit -n and the service's "
    "LimitNOFILE= limit them)"
)


class Descriptors:
    """One for a process, because the limit is its own."""

    def __init__(self) -> None:
        self.are_scarce = False
        self._quiet_until = 0.0
        self._scarce_from = 0  # the number of a descriptor
        self._looked_at = -_LIMIT_HOLDS

    def note(self, descriptor: int) -> bool:
        """Whether descriptors are scarce, by the number of one that was just opened.

        The kernel returns the lowest free number (open(2)).
        """
        now = clock.monotonic()
        if now - self._looked_at >= _LIMIT_HOLDS:
            self._looked_at = now
            self._scarce_from = _scarce_from()
        self._set(descriptor >= self._scarce_from)
        return self.are_scarce

    def note_none(self) -> None:
        """There was none left."""
        self._set(True)

    def look(self, descriptor: int) -> bool:
        """Whether descriptors are scarce now; `descriptor` is any open one."""
        try:
            lowest = os.dup(descriptor)
        except OSError:
            self.note_none()
            return True
        os.close(lowest)
        return self.note(lowest)

    def _set(self, scarce: bool) -> None:
        now = clock.monotonic() if scarce else 0.0
        if scarce and now >= self._quiet_until:
            _log.warning(WARNING)
        if scarce:
            self._quiet_until = now + _QUIET
        self.are_scarce = scarce


def _scarce_from() -> int:
    """The lowest number of the reserved descriptors."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit - min(_KEPT, limit // 2)


descriptors = Descriptors()
