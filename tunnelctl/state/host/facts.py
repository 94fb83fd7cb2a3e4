"""The state of one host: everything that the next decision depends on.

Must never decide anything: `decisions.py` does.
"""

from __future__ import annotations

import math
from dataclasses import field, replace

from tunnelctl.errors import Code, Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.host import Reconnect
from tunnelctl.state.documents.snapshot import FAILED_FOR_GOOD, HostState


@dataclass(frozen=True, slots=True)
class Rest:
    """A candidate is not tried until `until`, because its server `asked` for that or refused a
    login."""

    candidate: int
    until: float
    asked: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """Everything that the next decision depends on."""

    reconnect: Reconnect = field(default_factory=Reconnect)
    lazy: bool = False
    candidates: int = 1  # the host itself and its fallbacks
    state: HostState = HostState.IDLE
    since: float = 0.0  # when the state was entered
    epoch: int = 0  # of the attempt under way, or of the link
    newest: int = 0  # the last epoch that was assigned
    candidate: int = 0  # the candidate that is tried, or serves
    homing: int | None = None  # epoch of the attempt of the host itself beside a fallback
    attempts: int = 0  # rounds in a row that failed, or whose link was short-lived
    trouble_since: float = 0.0  # when those rounds began
    was_up: bool = False
    reconnects: int = 0  # number of times that it came up again
    retry_at: float | None = None  # when the timer expires, if one runs
    hurried: bool = False  # the surroundings changed during this round: no delay after it
    rests: tuple[Rest, ...] = ()  # at most one for each candidate
    barred: frozenset[int] = frozenset()  # candidates that failed permanently
    failure: Failure | None = None  # the last one; None when it is up
    waits: Failure | None = None  # what the attempt under way waits for, if that takes long
    passed_over: Failure | None = None  # the failure of the host itself, while a fallback is used
    unused: Failure | None = None  # the server ends unused links, where it does
    needed: bool = False  # if so: whether a remote forward needs a link nevertheless

    @property
    def is_on_demand(self) -> bool:
        """Whether it may be idle, with bound listeners, until a client needs its link."""
        return self.lazy or (self.unused is not None and not self.needed)

    @property
    def on_fallback(self) -> bool:
        """Whether a fallback serves."""
        return self.state is HostState.UP and self.candidate > 0

    @property
    def is_spaced(self) -> bool:
        """Whether a candidate is not tried for now because it refused a login."""
        return any(not rest.asked for rest in self.rests)

    @property
    def hopeless(self) -> Failure | None:
        """Why no link that serves clients will come up by itself, so that clients need not wait:
        the host failed permanently, or it waits because its server disconnects at each channel."""
        has_ended = self.state in FAILED_FOR_GOOD
        denied = self.failure is not None and self.failure.code is Code.FORWARD_DENIED
        rests = self.state is HostState.BACKOFF and self.is_spaced
        return self.failure if has_ended or (denied and rests) else None

    @property
    def left(self) -> tuple[int, ...]:
        """The candidates that have not failed permanently."""
        return tuple(c for c in range(self.candidates) if c not in self.barred)

    def first(self, candidate: int, now: float) -> int | None:
        """The first candidate from this one on that may be tried now, or None."""
        may_be = (c for c in self.left if c >= candidate and self.rested(c) <= now)
        return next(may_be, None)

    def rested(self, candidate: int) -> float:
        """When the candidate may be tried again; minus infinity if at any time."""
        ends = (rest.until for rest in self.rests if rest.candidate == candidate)
        return next(ends, -math.inf)

    def earliest(self, now: float) -> float:
        """When the first candidate may be tried: now, or later."""
        return max(now, min(map(self.rested, self.left)))

    def rests_of_others(self, candidate: int) -> tuple[Rest, ...]:
        """All rests except that of this candidate."""
        return tuple(rest for rest in self.rests if rest.candidate != candidate)

    def forgiven(self) -> Machine:
        """Without the rests after refused logins; those that servers asked for stay."""
        return replace(self, rests=tuple(rest for rest in self.rests if rest.asked))
