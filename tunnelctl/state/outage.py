"""What the log has of a host that fails again and again: the first time, then ever more rarely.

A host that is down is tried every minute for as long as it takes, and a log of limited size would
have nothing but that by morning. Must never lose the first cause, nor one of another kind.
"""

from __future__ import annotations

from tunnelctl.state.snapshot import HostState

_AFTER = (60.0, 300.0, 900.0)  # seconds from the first failure to the next ones that are told
_THEN_EVERY = 3600.0

_ON_THE_WAY = (HostState.CONNECTING, HostState.AUTHENTICATING)


class Outage:
    """From a host's first failure until it is up. It begins anew with `forget`."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Somebody asked for the host: what comes now is news."""
        self._count = 0
        self._began = 0.0
        self._since = ""
        self._first = ""
        self._told: set[str] = set()  # the kinds of failure
        self._next = 0  # of _AFTER, and on

    def told(self, state: HostState, code: str, message: str, now: float, at: str) -> str | None:
        """What the log adds to a change of the host; None where it has nothing of it.

        `now` is in monotonic seconds, and `at` the same moment for people. `code` and `message` are
        those of the failure, where the state comes with one.
        """
        if state is HostState.BACKOFF:
            return self._failed(code, message, now, at)
        if state in _ON_THE_WAY:
            return "" if self._count == 0 else None
        count, since = self._count, self._since
        self.forget()
        return f"; after {_times(count)} since {since}" if count > 1 else ""

    def _failed(self, code: str, message: str, now: float, at: str) -> str | None:
        self._count += 1
        if self._count == 1:
            self._began, self._since, self._first = now, at, message
            self._told.add(code)
            return ""
        is_due = now - self._began >= self._due()
        if not is_due and code in self._told:
            return None
        self._told.add(code)
        while now - self._began >= self._due():
            self._next += 1
        first = "" if message == self._first else f", at first: {self._first}"
        return f"; {_times(self._count)} since {self._since}{first}"

    def _due(self) -> float:
        """Seconds from the first failure to the next one that is told in any case."""
        later = self._next - len(_AFTER)
        return _AFTER[self._next] if later < 0 else (later + 1) * _THEN_EVERY


def _times(count: int) -> str:
    return f"{count} failed tries"
