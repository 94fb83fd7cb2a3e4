"""What is known of a host: all that the next decision about it depends on.

Must never decide anything: `decisions.py` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.state.snapshot import FAILED_FOR_GOOD, HostState


@dataclass(frozen=True, slots=True)
class Rest:
    """A candidate is left alone until then: its server `asked` for it, or refused a login."""

    candidate: int
    until: float
    asked: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """All that the next decision depends on."""

    reconnect: Reconnect = field(default_factory=Reconnect)
    lazy: bool = False
    candidates: int = 1  # the host itself and its fallbacks
    state: HostState = HostState.IDLE
    since: float = 0.0  # when the state was entered
    epoch: int = 0  # of the attempt under way, or of the link
    newest: int = 0  # the epoch given out last
    candidate: int = 0  # who is tried, or serves
    homing: int | None = None  # epoch of a try of the host itself beside a fallback
    attempts: int = 0  # rounds in a row that failed or did not last
    trouble_since: float = 0.0  # when those rounds began
    was_up: bool = False
    reconnects: int = 0  # times it came up again
    retry_at: float | None = None  # when the timer is due, if one runs
    hurried: bool = False  # the world changed during this round: it need not wait for the next
    rests: tuple[Rest, ...] = ()  # at most one a candidate
    barred: frozenset[int] = frozenset()  # candidates that failed for good
    failure: Failure | None = None  # the last one; None when it is up
    waits: Failure | None = None  # what the attempt under way has been waiting for, for long
    passed_over: Failure | None = None  # why a fallback is used: what the host itself said
    unused: Failure | None = None  # that the server ends links that carry nothing, where it does
    needed: bool = False  # then: whether a forward listens there, and needs a link all the same

    @property
    def is_on_demand(self) -> bool:
        """Whether it may rest, listening, until a client needs its link."""
        return self.lazy or (self.unused is not None and not self.needed)

    @property
    def on_fallback(self) -> bool:
        """Whether a fallback serves."""
        return self.state is HostState.UP and self.candidate > 0

    @property
    def is_spaced(self) -> bool:
        """Whether a candidate is left alone since it refused a login."""
        return any(not rest.asked for rest in self.rests)

    @property
    def hopeless(self) -> Failure | None:
        """Why no link will come by itself that serves a client, so that none need wait for one: the
        host failed for good, or rests since its server leaves whoever asks for a connection."""
        has_ended = self.state in FAILED_FOR_GOOD
        denied = self.failure is not None and self.failure.code is Code.FORWARD_DENIED
        rests = self.state is HostState.BACKOFF and self.is_spaced
        return self.failure if has_ended or (denied and rests) else None

    @property
    def left(self) -> tuple[int, ...]:
        """The candidates that have not failed for good."""
        return tuple(c for c in range(self.candidates) if c not in self.barred)

    def first(self, candidate: int, now: float) -> int | None:
        """The first candidate from this one on that may be tried now; None if there is none."""
        may_be = (c for c in self.left if c >= candidate and self.rested(c) <= now)
        return next(may_be, None)

    def rested(self, candidate: int) -> float:
        """Until when the candidate is left alone; a moment long past if it is not."""
        ends = (rest.until for rest in self.rests if rest.candidate == candidate)
        return next(ends, -math.inf)

    def earliest(self, now: float) -> float:
        """When the first candidate may be tried: now, or later."""
        return max(now, min(map(self.rested, self.left)))

    def rests_of_others(self, candidate: int) -> tuple[Rest, ...]:
        """All rests but that of this candidate."""
        return tuple(rest for rest in self.rests if rest.candidate != candidate)

    def forgiven(self) -> Machine:
        """Who refused a login may be tried again; who asked to be left alone is left alone."""
        return replace(self, rests=tuple(rest for rest in self.rests if rest.asked))
