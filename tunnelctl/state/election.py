"""The election of the machine that runs one profile, as each machine decides it for itself.

Rule 1: whether this machine serves a profile is decided here, nowhere else. Rule 2: nothing here
reads a clock or asks the store: times are seconds of CLOCK_BOOTTIME that come with the call, what
the store says comes with events.

How it works
============

`next_state` takes an `Election`, one event and the time, and returns the next election and a tuple
of actions, as `machine.py` does for a host. The owner carries out the actions in order; `Cut` must
be done before it returns.

The store (etcd) has one key for each profile, created by a transaction under the lease of a
machine. The revision that created it is the token: a later holder has a larger one.

A holder may serve until `until`: the time at which it sent the keepalive of the last round that a
transaction confirmed, plus the time to live of the lease, less a margin (`serves_until`). The store
counts from when the keepalive arrived, which is later, so no other machine can have the key before.
Whatever event comes after `until`, the deadline is applied first.

Every observation carries the store's revision. One that is older than the newest is ignored, so
that an answer which was overtaken by another takes no key away and gives none back.

A transaction without an answer may have been carried out. The next observation tells: a key that is
ours although we only asked for it is served (`standby`) or given up (`unwanted`, `yielded`).

`python -m tools.make_fleet_states` draws docs/fleet-states.md from this table, and a test compares
the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final, get_args

from tunnelctl.quick_dataclass import dataclass

# The part of a lease in which its holder does not serve any more: for clocks whose rates differ by
# up to a tenth, and for the time that closing takes.
MARGIN: Final = 0.2
# Renewals in the time of a lease.
RENEWALS: Final = 3
# Seconds in which etcd has elected another leader: 1.1 to 2.2 s measured with its own settings, and
# a second more where votes were split.
ELECTED_WITHIN: Final = 3.0
# Seconds until the first candidate takes a key that is gone and was not given up: a holder that
# lives has seen by then that it is gone. Members of etcd that were stopped may revoke a lease that
# another leader renewed (etcd issue 15247).
FIRST_TURN: Final = 0.1
# Seconds between the turns of two candidates.
TURN: Final = 0.3
# The part of a lease in which others are expected after a machine joined at the start of a fleet,
# because the first one should not take everything.
JOINING: Final = 1 / 3


def serves_until(sent: float, lease: float) -> float:
    """Until when a holder may serve whose last confirmed keepalive was sent at `sent`, with a lease
    of so many seconds."""
    return sent + lease * (1 - MARGIN)


def renewed_every(lease: float) -> float:
    """Seconds between two renewals of a lease of so many seconds: a third, or less where etcd would
    not have time to elect another leader before the holder must stop serving."""
    return min(lease / RENEWALS, lease * (1 - MARGIN) - ELECTED_WITHIN)


class ElectionState(StrEnum):
    """The state of this machine in the election for one profile."""

    UNWANTED = "unwanted"  # it is no candidate
    STANDBY = "standby"  # another machine holds the key, or the store does not answer
    TAKING = "taking"  # it asked for the key
    HOLDING = "holding"  # it has the key, and serves
    ALONE = "alone"  # it serves, and does not know whether another machine does too
    YIELDED = "yielded"  # it gave the key up for another machine to take


# Whether this machine serves the profile.
SERVING: Final = frozenset({ElectionState.HOLDING, ElectionState.ALONE})


@dataclass(frozen=True, slots=True)
class Election:
    """One profile on one machine. `keep`: it goes on serving when the store is lost.

    `until` is the deadline of a holder, `token` the revision that created its key. `holder` and
    `holder_token` are the last known ones; an empty holder is none. `seen` is the newest revision
    of the store, `is_lost` whether the store was silent since. `free_since` is when the key was
    first seen free, `yields_until` when a machine that gave it up may take it again, `was_held`
    whether it was ever seen held. `given_up` is the token of the last key that this machine gave
    up, which it must not serve again: a request to delete that key may still be under way.
    """

    machine: str
    lease: float
    keep: bool = False
    state: ElectionState = ElectionState.UNWANTED
    until: float = 0.0
    token: int = 0
    holder: str = ""
    holder_token: int = 0
    seen: int = 0
    is_lost: bool = False
    free_since: float | None = None
    yields_until: float = 0.0
    was_held: bool = False
    given_up: int = 0

    @property
    def serves(self) -> bool:
        """Whether this machine serves the profile."""
        return self.state in SERVING


# --- events: orders, and what the store says -----------------------------------------------


@dataclass(frozen=True, slots=True)
class WantedHere:
    """The profile is wanted up on this machine, which becomes a candidate."""


@dataclass(frozen=True, slots=True)
class UnwantedHere:
    """The profile is not wanted on this machine any more, or the daemon ends."""


@dataclass(frozen=True, slots=True)
class HandOver:
    """Another machine should hold it."""


@dataclass(frozen=True, slots=True)
class Granted:
    """The transaction created the key. It may be served until `until`."""

    token: int
    until: float
    revision: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """The lease was kept alive, and a transaction found that the key still has it."""

    token: int
    until: float
    revision: int


@dataclass(frozen=True, slots=True)
class Refused:
    """Another machine has the key."""

    holder: str
    token: int
    revision: int


@dataclass(frozen=True, slots=True)
class Free:
    """Nobody has the key. `rank` is the place of this machine among the candidates, from 0; None:
    it must not take it, because its file differs. Other machines are expected to join until
    `joining_until`, which concerns a machine that has never seen a holder. `released`: the last
    holder gave it up, and had stopped serving before."""

    rank: int | None
    revision: int
    joining_until: float = 0.0
    released: bool = False


@dataclass(frozen=True, slots=True)
class StoreSilent:
    """The store did not answer in time, or had no quorum."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The time until which the holder may serve is over."""


Event = (
    WantedHere | UnwantedHere | HandOver | Deadline
    | Granted | Renewed | Refused | Free | StoreSilent
)  # fmt: skip
EVENTS: tuple[type[Event], ...] = get_args(Event)


# --- actions --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """Ask the store for its contents at this time, or earlier."""

    at: float


@dataclass(frozen=True, slots=True)
class Take:
    """Create the key if there is none; the answer is Granted, Refused or StoreSilent."""


@dataclass(frozen=True, slots=True)
class Release:
    """Delete the key if it has this token."""

    token: int


@dataclass(frozen=True, slots=True)
class Serve:
    """Bring the profile up."""

    token: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Close listeners and reset links now, before anything else happens."""


Action = Look | Take | Release | Serve | Cut
Step = tuple[Election, tuple[Action, ...]]


def next_state(election: Election, event: Event, now: float) -> Step:
    """The election after `event` at `now`, and the actions to carry out in order."""
    first: tuple[Action, ...] = ()
    if election.state is ElectionState.HOLDING and now >= election.until:
        election, first = _decided(election, Deadline(), now)
    if isinstance(event, Granted | Renewed | Refused | Free):
        if event.revision < election.seen:
            return election, first
        election = _noted(election, event)
    elif isinstance(event, StoreSilent):
        election = replace(election, is_lost=True)
    election, then = _decided(election, event, now)
    return election, first + then


def _decided(election: Election, event: Event, now: float) -> Step:
    decide = TABLE[election.state].get(type(event), _ignore)
    return decide(election, event, now)


def _noted(election: Election, event: Granted | Renewed | Refused | Free) -> Election:
    """With what the store says about the key, whatever that leads to."""
    holder, token = "", 0
    if isinstance(event, Refused):
        holder, token = event.holder, event.token
    elif not isinstance(event, Free):
        holder, token = election.machine, event.token
    free_since = election.free_since if isinstance(event, Free) else None
    return replace(
        election,
        holder=holder,
        holder_token=token,
        seen=event.revision,
        is_lost=False,
        free_since=free_since,
        was_held=election.was_held or not isinstance(event, Free),
    )


# --- decisions ------------------------------------------------------------------------------


def _ignore(election: Election, event: Event, now: float) -> Step:
    return election, ()


def _begin(election: Election, event: WantedHere, now: float) -> Step:
    return replace(election, state=ElectionState.STANDBY), (Look(now),)


def _serve(election: Election, event: Granted | Renewed, now: float) -> Step:
    """It is ours; an answer that comes after its own deadline proves nothing."""
    if event.token == election.given_up:
        return _return(replace(election, state=ElectionState.STANDBY), event, now)
    if now >= event.until:
        return replace(election, state=ElectionState.STANDBY), (Look(now),)
    holding = replace(
        election, state=ElectionState.HOLDING, token=event.token, until=event.until
    )  # fmt: skip
    return holding, (Serve(event.token),)


def _prolong(election: Election, event: Granted | Renewed, now: float) -> Step:
    until = max(election.until, event.until)
    if event.token == election.token:
        return replace(election, until=until), ()
    # Somebody deleted the key, and we created it again.
    return replace(election, until=until, token=event.token), (Serve(event.token),)


def _assure(election: Election, event: Granted | Renewed, now: float) -> Step:
    """It served alone; now it is known to be the only one."""
    if now >= event.until:
        return election, ()
    return _serve(election, event, now)


def _take_in_turn(election: Election, event: Free, now: float) -> Step:
    if event.rank is None:
        return replace(election, state=ElectionState.STANDBY, free_since=None), ()
    since = now if election.free_since is None else election.free_since
    begin = since if event.released else since + FIRST_TURN
    if not election.was_held:
        begin = max(begin, min(event.joining_until, since + election.lease))
    turn = begin + event.rank * TURN
    if now >= turn:
        return replace(election, state=ElectionState.TAKING, free_since=since), (Take(),)
    return replace(election, state=ElectionState.STANDBY, free_since=since), (Look(turn),)


def _take_after_yielding(election: Election, event: Free, now: float) -> Step:
    if now < election.yields_until:
        return election, (Look(election.yields_until),)
    return _take_in_turn(election, event, now)


def _take_back(election: Election, event: Free, now: float) -> Step:
    """It serves alone, and nobody else does."""
    return election, () if event.rank is None else (Take(),)


def _lose(election: Election, event: Free, now: float) -> Step:
    """The key was deleted while we held it: its lease was revoked, or somebody deleted it."""
    if election.keep and event.rank is not None:
        return replace(election, state=ElectionState.ALONE), (Take(),)
    return replace(election, state=ElectionState.STANDBY), (Cut(), Look(now))


def _give_way(election: Election, event: Refused, now: float) -> Step:
    """Another machine has it."""
    return replace(election, state=ElectionState.STANDBY), (Cut(),)


def _stand_by(election: Election, event: Event, now: float) -> Step:
    return replace(election, state=ElectionState.STANDBY), ()


def _expire(election: Election, event: Deadline, now: float) -> Step:
    if election.keep:
        return replace(election, state=ElectionState.ALONE), ()
    return replace(election, state=ElectionState.STANDBY), (Cut(),)


def _stop(election: Election, event: UnwantedHere, now: float) -> Step:
    unwanted = replace(election, state=ElectionState.UNWANTED, given_up=election.token)
    return unwanted, (Cut(), Release(election.token))


def _withdraw(election: Election, event: UnwantedHere, now: float) -> Step:
    """It does not serve; if it has the key without knowing it, the next look shows that."""
    return replace(election, state=ElectionState.UNWANTED), (Look(now),)


def _yield(election: Election, event: HandOver, now: float) -> Step:
    until = now + election.lease
    yielded = replace(
        election, state=ElectionState.YIELDED, yields_until=until, given_up=election.token
    )
    return yielded, (Cut(), Release(election.token))


def _return(election: Election, event: Granted | Renewed, now: float) -> Step:
    """It has the key, and must not serve."""
    return replace(election, given_up=event.token), (Release(event.token),)


# A decision takes the event that it is listed under; the type of a table cannot express that.
_Decision = Callable[[Election, Any, float], Step]

TABLE: Mapping[ElectionState, Mapping[type[Event], _Decision]] = {
    ElectionState.UNWANTED: {
        WantedHere: _begin,
        Granted: _return,
        Renewed: _return,
    },
    ElectionState.STANDBY: {
        UnwantedHere: _withdraw,
        Granted: _serve,
        Renewed: _serve,
        Free: _take_in_turn,
    },
    # Without Free: an observation from before the transaction.
    ElectionState.TAKING: {
        UnwantedHere: _withdraw,
        Granted: _serve,
        Renewed: _serve,
        Refused: _stand_by,
        StoreSilent: _stand_by,
    },
    ElectionState.HOLDING: {
        UnwantedHere: _stop,
        HandOver: _yield,
        Granted: _prolong,
        Renewed: _prolong,
        Refused: _give_way,
        Free: _lose,
        Deadline: _expire,
    },
    ElectionState.ALONE: {
        UnwantedHere: _stop,
        HandOver: _yield,
        Granted: _assure,
        Renewed: _assure,
        Refused: _give_way,
        Free: _take_back,
    },
    ElectionState.YIELDED: {
        WantedHere: _begin,
        UnwantedHere: _withdraw,
        Granted: _return,
        Renewed: _return,
        Refused: _stand_by,
        Free: _take_after_yielding,
    },
}
