"""The state of a profile, computed from its parts.

Must never be stored as a value of its own: it is computed when it is needed.
"""

from __future__ import annotations

from collections.abc import Iterable

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.snapshot import (
    FAILED_FOR_GOOD,
    ForwardState,
    HostState,
    ProfileState,
    Wanted,
)

_AT_REST = frozenset({HostState.IDLE, HostState.CONNECTING, HostState.AUTHENTICATING})


@dataclass(frozen=True, slots=True)
class CountedPart:
    """The contribution of a host or a required forward to the state of its profile."""

    up: bool
    troubled: bool  # it failed since it was last up, and is tried again
    hopeless: bool  # it failed, and cannot come up until somebody acts


@dataclass(frozen=True, slots=True)
class Summary:
    """Several parts together. The owner of the parts keeps it, so that a change of one part does
    not visit a thousand others."""

    all_up: bool = True
    some_up: bool = False
    some_troubled: bool = False
    some_hopeless: bool = False


def summary(parts: Iterable[CountedPart]) -> Summary:
    """The summary of these parts."""
    found = tuple(parts)
    return Summary(
        all(part.up for part in found),
        any(part.up for part in found),
        any(part.troubled for part in found),
        any(part.hopeless for part in found),
    )


class PartsTally:
    """Parts by name, and the summary of all of them: the cost of a change does not depend on the
    number of parts."""

    def __init__(self) -> None:
        self._parts: dict[str, CountedPart] = {}
        self._up = self._troubled = self._hopeless = 0

    def put(self, name: str, part: CountedPart | None) -> None:
        """Set the part of that name; None removes it."""
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
    """The summary of all parts that these summaries cover."""
    found = tuple(summaries)
    return Summary(
        all(each.all_up for each in found),
        any(each.some_up for each in found),
        any(each.some_troubled for each in found),
        any(each.some_hopeless for each in found),
    )


def host_part(state: HostState, attempts: int, *, lazy: bool = False) -> CountedPart:
    """The part for a host; `attempts` are its failed attempts in a row. A lazy host that is idle,
    or connects for its first client, counts as up: its listeners are bound.
    """
    up = state is HostState.UP or (lazy and attempts == 0 and state in _AT_REST)
    return CountedPart(
        up=up,
        troubled=attempts > 0 and not up,
        hopeless=state in FAILED_FOR_GOOD,
    )


def forward_part(state: ForwardState, retried: bool) -> CountedPart:
    """The part for a required forward; `retried`: whether a failed one is tried again."""
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
