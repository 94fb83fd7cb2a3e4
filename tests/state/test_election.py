"""Several machines and a model of etcd, driven through random histories: never two holders.

Clocks have any offset and differ in rate by up to a tenth; requests and answers are lost, delayed
and overtake each other; machines stop and go on; the store loses its majority and gets it back.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from tunnelctl.state.election import (
    EVENTS,
    FIRST_TURN,
    JOINING,
    TABLE,
    Cut,
    Deadline,
    Election,
    ElectionState,
    Event,
    Free,
    Granted,
    HandOver,
    Look,
    Refused,
    Release,
    Renewed,
    Serve,
    StoreSilent,
    Take,
    UnwantedHere,
    WantedHere,
    next_state,
    serves_until,
)

LEASE = 10.0
MACHINES = st.integers(0, 2)
RATES = st.one_of(st.sampled_from([0.9, 1.1]), st.floats(0.9, 1.1))


@dataclass
class Store:
    """One key and the leases, by the time of the store's own clock."""

    rate: float
    now: float = 0.0
    has_quorum: bool = True
    revision: int = 1
    leases: dict[int, float] = field(default_factory=dict)
    key: tuple[str, int, int] | None = None  # machine, lease, token
    released: bool = False  # the last key was deleted by its holder
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def advance(self, seconds: float) -> None:
        self.now += seconds * self.rate
        if self.has_quorum:
            for lease in [one for one, end in self.leases.items() if end <= self.now]:
                self.revoke(lease)

    def revoke(self, lease: int) -> None:
        del self.leases[lease]
        self.revision += 1
        if self.key is not None and self.key[1] == lease:
            self.key = None

    def recover(self) -> None:
        """A new leader starts all leases anew."""
        self.has_quorum = True
        self.leases = dict.fromkeys(self.leases, self.now + LEASE)


@dataclass
class Request:
    """Under way to the store, or back once it has an answer."""

    machine: Machine
    kind: str
    sent: float
    lease: int | None
    answer: tuple[int | None, tuple[str, int, int] | None, int] | None = None
    released: bool = False


@dataclass
class Machine:
    """One machine: its clock, its election, and what it serves."""

    name: str
    rate: float
    offset: float
    keep: bool
    rank: int
    election: Election = field(init=False)
    lease: int | None = None
    until: float = 0.0
    is_stopped: bool = False
    true: float = 0.0
    served: int | None = None  # the token
    out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.election = Election(self.name, LEASE, self.keep)

    @property
    def now(self) -> float:
        return self.offset + self.true * self.rate

    def handle(self, event: Event) -> None:
        self.election, actions = next_state(self.election, event, self.now)
        for action in actions:
            match action:
                case Serve(token):
                    self.served = token
                case Cut():
                    self.served = None
                case Take():
                    self.out.append("take")
                case Release(token):
                    self.out.append(f"release {token}")
                case Look():
                    pass  # they look all the time
        assert (self.served is not None) is self.election.serves
        assert self.served is None or self.served == self.election.token

    def turn(self) -> None:
        """What the loop does first."""
        if self.election.state is ElectionState.HOLDING and self.now >= self.election.until:
            self.handle(Deadline())


class Fleet(RuleBasedStateMachine):
    """The history of one profile."""

    keep = False

    @initialize(
        store=RATES,
        rates=st.lists(RATES, min_size=3, max_size=3),
        offsets=st.lists(st.floats(0, 1e6), min_size=3, max_size=3),
    )
    def begin(self, store: float, rates: list[float], offsets: list[float]) -> None:
        self.store = Store(store)
        self.machines = [
            Machine(f"m{at}", rate, offset, self.keep, at)
            for at, (rate, offset) in enumerate(zip(rates, offsets, strict=True))
        ]
        for machine in self.machines:
            machine.handle(WantedHere())
        self.requests: list[Request] = []
        self.echoes: list[Request] = []
        self.newest = 0
        self.peace_brings_one_holder()

    # --- time --------------------------------------------------------------------------------

    @rule(seconds=st.one_of(st.floats(0.01, 1), st.floats(1, 2 * LEASE)))
    def time_passes(self, seconds: float) -> None:
        steps = max(1, int(seconds / 0.25))
        for _ in range(steps):
            for machine in self.machines:
                machine.true += seconds / steps
                if not machine.is_stopped:
                    machine.turn()
            self.store.advance(seconds / steps)
            self.never_two_holders()

    @rule(at=MACHINES)
    def stop(self, at: int) -> None:
        self.machines[at].is_stopped = True

    @rule(at=MACHINES)
    def go_on(self, at: int) -> None:
        self.machines[at].is_stopped = False
        self.machines[at].turn()

    @rule(seconds=st.integers(1, 15), cut_off=st.sets(MACHINES, max_size=2))
    def life_goes_on(self, seconds: int, cut_off: set[int]) -> None:
        """Each machine asks every second, except those that do not reach the store."""
        for _ in range(seconds):
            for at, machine in enumerate(self.machines):
                if at not in cut_off and not machine.is_stopped:
                    self.send(machine, "look")
                    self.exchange(machine)
            self.time_passes(1.0)

    @rule(at=MACHINES, there=st.floats(0, 4), back=st.floats(0, 8))
    def an_answer_takes_its_time(self, at: int, there: float, back: float) -> None:
        """The keepalive reaches the store late, and its answer is later still."""
        machine = self.machines[at]
        if machine.is_stopped:
            return
        self.send(machine, "look")
        request = self.requests[-1]
        self.time_passes(there)
        self.carry_out(request)
        self.time_passes(back)
        self.exchange(machine)

    def exchange(self, machine: Machine) -> None:
        """Everything that a machine asked is answered, and what it asks then."""
        while mine := [one for one in self.requests if one.machine is machine]:
            self.requests.remove(mine[0])
            if mine[0].answer is None:
                self.carry_out(mine[0])
            self.deliver(mine[0])

    # --- requests ----------------------------------------------------------------------------

    @rule(at=MACHINES)
    def ask(self, at: int) -> None:
        """Keepalive and transaction."""
        machine = self.machines[at]
        if not machine.is_stopped:
            self.send(machine, "look")

    def send(self, machine: Machine, kind: str) -> None:
        machine.turn()
        self.requests.append(Request(machine, kind, machine.now, machine.lease))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.requests))
        if request.answer is None:
            self.carry_out(request)

    @precondition(lambda self: self.echoes)
    @rule(data=st.data())
    def arrive_again(self, data: st.DataObject) -> None:
        """It was sent to two members."""
        request = data.draw(st.sampled_from(self.echoes))
        self.echoes.remove(request)
        self.carry_out(replace(request, answer=(None, None, 0)))

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self.requests))
        if not request.machine.is_stopped:
            self.requests.remove(request)
            self.deliver(request)

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """The answer never comes; the request may still arrive."""
        request = data.draw(st.sampled_from(self.requests))
        if not request.machine.is_stopped:
            if data.draw(st.booleans()) and request.answer is None:
                self.carry_out(request)
            self.requests.remove(request)
            self.silent(request.machine)

    def silent(self, machine: Machine) -> None:
        machine.turn()
        machine.handle(StoreSilent())
        self.flush(machine)

    def carry_out(self, request: Request) -> None:
        if request.kind != "look" and request.answer is None:
            self.echoes.append(request)
        store, lease = self.store, request.lease
        if not store.has_quorum:
            return
        if request.kind == "look":
            if lease is None:
                lease = next(store.numbers)
            elif lease not in store.leases:
                request.answer = (None, store.key, store.revision)
                return
            store.leases[lease] = store.now + LEASE
        elif lease not in store.leases:
            request.answer = (None, store.key, store.revision)
            return
        elif request.kind == "take" and store.key is None:
            store.revision += 1
            store.key = (request.machine.name, lease or 0, store.revision)
            store.released = False
        elif store.key is not None and request.kind == f"release {store.key[2]}":
            store.revision += 1
            store.key, store.released = None, True
        request.answer = (lease, store.key, store.revision)
        request.released = store.released

    def deliver(self, request: Request) -> None:
        machine = request.machine
        machine.turn()
        if request.answer is None:
            self.silent(machine)
            return
        lease, key, revision = request.answer
        if lease is None:  # it has ended
            if machine.lease == request.lease:
                machine.lease = None
                machine.handle(Deadline())
        elif request.kind == "look":
            if machine.lease in (None, lease):
                machine.lease = lease
                machine.until = max(machine.until, serves_until(request.sent, LEASE))
                machine.handle(self.seen(machine, key, revision, released=request.released))
        elif request.kind == "take":
            machine.handle(self.seen(machine, key, revision, granted=True))
        self.flush(machine)

    def seen(
        self,
        machine: Machine,
        key: tuple[str, int, int] | None,
        revision: int,
        *,
        granted: bool = False,
        released: bool = False,
    ) -> Event:
        if key is None:
            joining = machine.now + JOINING * LEASE  # others join again and again
            free = Free(machine.rank, revision, joining, released)
            return StoreSilent() if granted else free
        name, lease, token = key
        if lease != machine.lease:
            return Refused(name, token, revision)
        return (Granted if granted else Renewed)(token, machine.until, revision)

    def flush(self, machine: Machine) -> None:
        for kind in machine.out:
            self.send(machine, kind)
        machine.out.clear()

    # --- orders and faults -------------------------------------------------------------------

    @rule(at=MACHINES, event=st.sampled_from([HandOver(), UnwantedHere(), WantedHere()]))
    def order(self, at: int, event: Event) -> None:
        machine = self.machines[at]
        if not machine.is_stopped:
            machine.turn()
            machine.handle(event)
            self.flush(machine)

    @rule(at=MACHINES)
    def off_and_on(self, at: int) -> None:
        """It is given up, and wanted again before the store hears of it; then the others look."""
        machine = self.machines[at]
        if machine.is_stopped:
            return
        self.order(at, UnwantedHere())
        self.order(at, WantedHere())
        self.send(machine, "look")
        look = self.requests.pop()
        self.carry_out(look)
        self.deliver(look)
        for request in self.requests:
            if request.kind.startswith("release") and request.answer is None:
                self.carry_out(request)
        for other in self.machines:
            if other is not machine and not other.is_stopped:
                self.send(other, "look")
                self.exchange(other)

    @rule()
    def lose_quorum(self) -> None:
        self.store.has_quorum = False

    @rule()
    def regain_quorum(self) -> None:
        if not self.store.has_quorum:
            self.store.recover()

    # --- what must hold ----------------------------------------------------------------------

    @invariant()
    def never_two_holders(self) -> None:
        if not hasattr(self, "machines"):
            return
        serving = [one for one in self.machines if one.served is not None and not one.is_stopped]
        if not self.keep:
            assert len(serving) <= 1, serving
        for machine in serving:
            if machine.election.state is ElectionState.HOLDING:
                assert machine.served is not None
                assert machine.served >= self.newest, "a token fell"
                self.newest = machine.served

    @rule()
    def peace_brings_one_holder(self) -> None:
        """Everything works, for as long as several leases."""
        for machine in self.machines:
            machine.is_stopped = False
            machine.turn()
        if not self.store.has_quorum:
            self.store.recover()
        for machine in self.machines:
            machine.handle(WantedHere())
        for _ in range(int(2.5 * LEASE)):
            for machine in self.machines:
                self.send(machine, "look")
                self.exchange(machine)
            self.time_passes(1.0)
        assert self.store.key is not None
        serving = [one for one in self.machines if one.served is not None]
        assert [one.served for one in serving] == [self.store.key[2]]
        assert serving[0].name == self.store.key[0]


class KeepingFleet(Fleet):
    """`on_store_loss: keep`: two may serve for a while, and only one of them knows that it is the
    one."""

    keep = True


TestFleet = Fleet.TestCase
TestFleet.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestKeepingFleet = KeepingFleet.TestCase
TestKeepingFleet.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)


def test_every_state_has_a_row_and_every_event_a_decision() -> None:
    assert set(TABLE) == set(ElectionState)
    decided = {event for row in TABLE.values() for event in row}
    assert decided == set(EVENTS)


def taking(*, keep: bool = False) -> Election:
    """A machine that asked for the key at its turn, 0 s."""
    election, _ = next_state(Election("m1", LEASE, keep), WantedHere(), -1.0)
    election, _ = next_state(election, Free(0, revision=5), -1.0)
    election, actions = next_state(election, Free(0, revision=5), 0.0)
    assert actions == (Take(),)
    return election


def holding(*, keep: bool = False) -> Election:
    """A machine that holds the key until 8 s."""
    election, actions = next_state(taking(keep=keep), Granted(6, 8.0, revision=6), 0.1)
    assert actions == (Serve(6),)
    return election


def test_a_renewal_that_comes_after_the_deadline_does_not_prevent_the_cut() -> None:
    """A process that was stopped finds both; the deadline comes first."""
    election, actions = next_state(holding(), Renewed(6, 30.0, revision=9), 20.0)
    assert actions == (Cut(), Serve(6))
    assert election.state is ElectionState.HOLDING


def test_a_grant_that_is_older_than_its_deadline_is_not_served() -> None:
    election, actions = next_state(taking(), Granted(6, 8.0, revision=6), 9.0)
    assert election.state is ElectionState.STANDBY
    assert Serve(6) not in actions


def test_an_observation_that_was_overtaken_is_ignored() -> None:
    before = holding()
    assert next_state(before, Free(0, revision=5), 1.0) == (before, ())


@pytest.mark.parametrize(
    ("keep", "state", "actions"),
    [(False, ElectionState.STANDBY, (Cut(),)), (True, ElectionState.ALONE, ())],
)
def test_at_the_deadline_a_holder_stops_or_says_that_it_is_not_sure(
    keep: bool, state: ElectionState, actions: tuple[object, ...]
) -> None:
    election, done = next_state(holding(keep=keep), Deadline(), 8.0)
    assert (election.state, done) == (state, actions)


def test_a_key_that_was_given_up_is_not_served_again_under_its_token() -> None:
    """A request to delete it may still be under way."""
    election, actions = next_state(holding(), UnwantedHere(), 1.0)
    assert actions == (Cut(), Release(6))
    election, _ = next_state(election, WantedHere(), 1.1)
    election, actions = next_state(election, Renewed(6, 9.0, revision=7), 1.2)
    assert (election.state, actions) == (ElectionState.STANDBY, (Release(6),))
    _, actions = next_state(election, Renewed(8, 9.0, revision=8), 1.3)
    assert actions == (Serve(8),)


def test_who_hands_over_lets_another_go_first() -> None:
    election, actions = next_state(holding(), HandOver(), 1.0)
    assert actions == (Cut(), Release(6))
    election, actions = next_state(election, Free(0, revision=7), 1.1)
    assert actions == (Look(1.0 + LEASE),)
    election, _ = next_state(election, Free(0, revision=7), 1.0 + LEASE)
    _, actions = next_state(election, Free(0, revision=7), 2.0 + LEASE)
    assert actions == (Take(),)


def test_candidates_take_turns() -> None:
    election, _ = next_state(Election("m1", LEASE), WantedHere(), 0.0)
    _, (first,) = next_state(election, Free(0, revision=5), 1.0)
    election, (look,) = next_state(election, Free(1, revision=5), 1.0)
    assert isinstance(first, Look)
    assert isinstance(look, Look)
    assert look.at > first.at > 1.0  # the last holder sees first that its key is gone
    _, actions = next_state(election, Free(1, revision=5), look.at)
    assert actions == (Take(),)


def test_a_key_that_was_given_up_is_taken_at_once() -> None:
    election, _ = next_state(Election("m1", LEASE), WantedHere(), 0.0)
    election, _ = next_state(election, Refused("m2", 5, revision=5), 0.0)
    _, actions = next_state(election, Free(0, revision=6, released=True), 1.0)
    assert actions == (Take(),)
    _, (look,) = next_state(election, Free(1, revision=6, released=True), 1.0)
    assert isinstance(look, Look)
    assert look.at > 1.0  # the others still have their turns


def test_at_the_start_of_a_fleet_the_first_machine_waits_for_others_to_join() -> None:
    alone, _ = next_state(Election("m1", LEASE), WantedHere(), 0.0)
    alone, actions = next_state(alone, Free(0, revision=5, joining_until=3.0), 0.0)
    assert actions == (Look(3.0),)
    _, actions = next_state(alone, Free(1, revision=6, joining_until=4.0), 1.0)
    (look,) = actions
    assert isinstance(look, Look)
    assert look.at > 4.0  # the one that comes first in the order takes it then
    _, actions = next_state(alone, Free(0, revision=6, joining_until=4.0), 4.0)
    assert actions == (Take(),)


def test_machines_that_join_again_and_again_delay_nobody_beyond_a_lease() -> None:
    election, _ = next_state(Election("m1", LEASE), WantedHere(), 0.0)
    election, _ = next_state(election, Free(0, revision=5, joining_until=3.0), 0.0)
    _, actions = next_state(election, Free(0, revision=9, joining_until=99.0), LEASE)
    assert actions == (Take(),)


def test_nobody_is_waited_for_once_a_holder_was_seen() -> None:
    election, _ = next_state(Election("m1", LEASE), WantedHere(), 0.0)
    election, _ = next_state(election, Refused("m2", 5, revision=5), 0.0)
    _, actions = next_state(election, Free(0, revision=6, joining_until=99.0), 1.0)
    assert actions == (Look(1.0 + FIRST_TURN),)


def test_a_machine_whose_file_differs_takes_nothing() -> None:
    election, _ = next_state(Election("m1", LEASE), WantedHere(), 0.0)
    _, actions = next_state(election, Free(None, revision=5), 100.0)
    assert actions == ()
