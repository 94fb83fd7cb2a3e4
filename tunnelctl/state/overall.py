"""The state of a profile, worked out from its parts: never set, never guessed.

Must never be kept by anyone as a truth of its own: it is computed when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tunnelctl.state.snapshot import FAILED_FOR_GOOD, ForwardState, HostState, ProfileState, Wanted

_AT_REST = frozenset({HostState.IDLE, HostState.CONNECTING, HostState.AUTHENTICATING})


@dataclass(frozen=True, slots=True)
class CountedPart:
    """What a host or a required forward means to its profile."""

    up: bool
    troubled: bool  # it failed since it was up last, and is tried again
    hopeless: bool  # it failed, and cannot come up before somebody acts


@dataclass(frozen=True, slots=True)
class Summary:
    """What several parts mean together: kept by who owns them, so that one change of one part does
    not ask a thousand others again."""

    all_up: bool = True
    some_up: bool = False
    some_troubled: bool = False
    some_hopeless: bool = False


def summary(parts: Iterable[CountedPart]) -> Summary:
    """Of these parts."""
    found = tuple(parts)
    return Summary(
        all(part.up for part in found),
        any(part.up for part in found),
        any(part.troubled for part in found),
        any(part.hopeless for part in found),
    )


class Tally:
    """Parts by name, and the summary of all of them: a part that changes costs the same however
    many others there are."""

    def __init__(self) -> None:
        self._parts: dict[str, CountedPart] = {}
        self._up = self._troubled = self._hopeless = 0

    def put(self, name: str, part: CountedPart | None) -> None:
        """The part of that name is this one from now on; None: there is none."""
        before = self._parts.pop(name, None)
        if before is not None:
            self._count(before, -1)
        if part is not None:
            self._parts[name] = part
            self._count(part, 1)

    @property
    def summary(self) -> Summary:
        """As `summary`."""
        return Summary(
            self._up == len(self._parts),
            self._up > 0,
            self._troubled > 0,
            self._hopeless > 0,
        )

    def _count(self, part: CountedPart, by: int) -> None:
        self._up += by * part.up
        self._troubled += by * part.troubled
        self._hopeless += by * part.hopeless


def combined(summaries: Iterable[Summary]) -> Summary:
    """The summary of all parts that these are summaries of."""
    found = tuple(summaries)
    return Summary(
        all(each.all_up for each in found),
        any(each.some_up for each in found),
        any(each.some_troubled for each in found),
        any(each.some_hopeless for each in found),
    )


def host_part(state: HostState, attempts: int, *, lazy: bool = False) -> CountedPart:
    """A host as a part; `attempts` are its failed tries in a row. A lazy one that rests, or comes
    for its first client, is as good as up: its listeners are bound, and nobody wanted more of it.
    """
    up = state is HostState.UP or (lazy and attempts == 0 and state in _AT_REST)
    return CountedPart(
        up=up,
        troubled=attempts > 0 and not up,
        hopeless=state in FAILED_FOR_GOOD,
    )


def forward_part(state: ForwardState, retried: bool) -> CountedPart:
    """A required forward as a part; `retried` tells whether a failed one is tried again."""
    failed = state is ForwardState.FAILED
    return CountedPart(
        up=state is ForwardState.UP, troubled=failed, hopeless=failed and not retried
    )


def profile_state(
    wanted: Wanted, parts: Summary, *, all_stopped: bool, was_up: bool
) -> ProfileState:
    """The state of a profile as a whole.

    `up` when every host is up (or lazy, and idle) and every required forward listens. `failed` when
    a part of it cannot come up by itself. `degraded` when it was up since it was asked for
    (`was_up`), or when a part is up while another is in trouble. Otherwise it is `starting`.
    """
    if wanted is Wanted.DOWN:
        return ProfileState.STOPPED if all_stopped else ProfileState.STOPPING
    if parts.some_hopeless:
        return ProfileState.FAILED
    if parts.all_up:
        return ProfileState.UP
    partly = parts.some_up and parts.some_troubled
    return ProfileState.DEGRADED if was_up or partly else ProfileState.STARTING
