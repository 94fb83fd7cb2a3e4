"""Limits the log of a host that fails repeatedly: the first failure, then less and less often.

A host that is down is tried every minute, and an unstable one is lost every minute; both would fill
a log of limited size overnight. Must never leave out the first cause, a cause of another kind, or
an outage that lasts.
"""

from __future__ import annotations

from tunnelctl.state.documents.snapshot import HostState

_AFTER = (60.0, 300.0, 900.0)  # seconds from the first failure to the next ones that are logged
_THEN_EVERY = 3600.0
_LASTS = 60.0  # seconds after which an outage is logged again in any case
_STABLE = 300.0  # seconds that a host must be up before its next failure is logged as new

_ON_THE_WAY = (HostState.CONNECTING, HostState.AUTHENTICATING)


class Outage:
    """The failures of a host until it has been up for long enough. `forget` starts over."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """The user asked for the host: the next failure is logged."""
        self._count = 0  # failed attempts since the host was last up
        self._lost = 0  # how often it went down
        self._began = self._down_since = 0.0
        self._since = self._down_at = ""
        self._first = ""
        self._told: set[str] = set()  # the codes of the failures
        self._next = 0  # index in _AFTER
        self._up_since: float | None = None
        self._left_out = 0  # number of times that it went down since the last one that was logged
        self._is_told = True

    @property
    def is_quiet(self) -> bool:
        """Whether the log leaves out the last loss of the host, and its return."""
        return not self._is_told

    def told(self, state: HostState, code: str, message: str, now: float, at: str) -> str | None:
        """The log's addition to a change of the host; None to leave the change out.

        `now` is in monotonic seconds, and `at` is the same moment for people. `code` and `message`
        are those of the failure, if the state has one: also `connecting` directly after `up`, when
        a link was lost and there is no delay.
        """
        is_lost = state is HostState.CONNECTING and self._up_since is not None and code != ""
        if state is HostState.BACKOFF or is_lost:
            return self._failed(code, message, now, at)
        if state in _ON_THE_WAY:
            return "" if self._count == 0 else None
        remark = f"; after {_tries(self._count)} since {self._down_at}" if self._count > 1 else ""
        if state is not HostState.UP:
            self.forget()
            return remark
        self._count, self._up_since = 0, now
        return remark if self._is_told else None

    def _failed(self, code: str, message: str, now: float, at: str) -> str | None:
        before = ""
        if self._up_since is not None and now - self._up_since >= _STABLE:
            if self._left_out:
                before = f"; {self._left_out} more until {self._down_at} were not logged"
            self.forget()
        self._count += 1
        if self._count == 1:
            self._goes_down(now, at)
        if not self._told:
            self._began, self._since, self._first = now, at, message
            self._told.add(code)
            return before
        is_due = now - self._began >= self._due()
        lasts = not self._is_told and now - self._down_since >= _LASTS
        if not (is_due or lasts) and code in self._told:
            return None
        self._told.add(code)
        self._is_told, self._left_out = True, 0
        while now - self._began >= self._due():
            self._next += 1
        first = "" if message == self._first else f", at first: {self._first}"
        often = f"went down {self._lost} times" if self._lost > 1 else _tries(self._count)
        return f"; {often} since {self._since}{first}"

    def _goes_down(self, now: float, at: str) -> None:
        self._down_since, self._down_at = now, at
        self._up_since = None
        self._lost += 1
        self._is_told = self._lost == 1
        self._left_out += not self._is_told

    def _due(self) -> float:
        """Seconds from the first failure to the next one that is logged in any case."""
        later = self._next - len(_AFTER)
        return _AFTER[self._next] if later < 0 else (later + 1) * _THEN_EVERY


def _tries(count: int) -> str:
    return f"{count} failed tries"
