"""The life of channels as a state machine: two honest ends, whatever they do and in whatever order
it arrives, keep every rule of RFC 4254 section 5 and every byte."""

from __future__ import annotations

import functools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.wire.ends import WIDEST, Clock, End, Manner, Side
from tunnelctl.wire.halves import Phase
from tunnelctl.wire.messages import U32_MAX
from tunnelctl.wire.window import BUDGET, PACKET_MAX, WINDOW

# One byte, around a packet, a good part of a window, more than one.
SIZES = st.sampled_from([1, 100, PACKET_MAX - 1, PACKET_MAX, PACKET_MAX + 1, 700_000, 3_000_000])
ENDS = st.sampled_from([0, 1])
WHO = st.integers(0, 10_000)
MANNERS = st.sampled_from(
    [
        frozenset[Manner](),
        frozenset({Manner.PASSES_ON, Manner.ENDS_AFTER_EOF}),
        frozenset({Manner.ANSWERS, Manner.PASSES_ON}),
        frozenset({Manner.ANSWERS, Manner.CLOSES_AFTER_EOF}),
        frozenset({Manner.LEAVES_AT_DATA}),
        frozenset({Manner.PASSES_ON, Manner.LEAVES_AT_DATA}),
        frozenset({Manner.ANSWERS, Manner.LEAVES_WHEN_OPENED}),
    ]
)
# Whether a reader keeps up, how much of what it holds it passes on, and for how many turns so.
TURNS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.3, 1.0]), st.sampled_from([1, 4])),
    min_size=1,
    max_size=4,
)
EVERYTHING = 10_000  # messages


class Life(RuleBasedStateMachine):
    """See the module's text."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.keys = 0
        self._connect()

    def _connect(self) -> None:
        self.ends = (End(self.clock), End(self.clock))
        self.all: list[Side] = []
        self.openers: dict[tuple[int, int], Side] = {}  # by end and number
        self.replies: tuple[list[object], list[object]] = ([], [])
        self.asked: tuple[list[object], list[object]] = ([], [])

    def _side(self, manners: frozenset[Manner]) -> Side:
        self.keys += 1
        side = Side(self.keys, manners)
        self.all.append(side)
        return side

    def _pick(self, who: int) -> Side:
        """One of the sides: mostly of those that are open, sometimes of those that are over."""
        over = [side for side in self.all if side.is_over]
        alive = [side for side in self.all if not side.is_over]
        likely = alive[-6:] * 3 + over[-3:]
        return likely[who % len(likely)]

    # What an end may do.

    @rule(end=ENDS, manners=MANNERS)
    def open(self, end: int, manners: frozenset[Manner]) -> None:
        side = self._side(manners)
        connection = self.ends[end].connection
        taken = set(connection.channels)
        side.at = connection.open_channel("direct-tcpip", b"", side)
        assert side.channel.local_id not in taken
        self.openers[end, side.channel.local_id] = side

    @rule(end=ENDS, manners=MANNERS)
    def accept(self, end: int, manners: frozenset[Manner]) -> None:
        if self.ends[end].asked:
            side = self._side(manners)
            taken = set(self.ends[end].connection.channels)
            self.ends[end].accept(side)
            assert side.channel.local_id not in taken
            opener = self.openers[1 - end, side.channel.remote_id]
            side.other, opener.other = opener, side

    @rule(end=ENDS, manners=MANNERS)
    def open_and_accept(self, end: int, manners: frozenset[Manner]) -> None:
        self.open(end, manners)
        self.deliver(end, EVERYTHING)
        self.accept(1 - end, manners)

    @rule(end=ENDS)
    def reject(self, end: int) -> None:
        if self.ends[end].asked:
            self.ends[end].reject()

    @rule(end=ENDS, back=st.sampled_from([0, 1, 2, U32_MAX]))
    def numbers_come_round(self, end: int, back: int) -> None:
        """As after 2^32 opens: the numbers begin again while some are in use."""
        self.ends[end].connection._next_id = back

    @precondition(lambda self: self.all)
    @rule(who=WHO, size=SIZES)
    def send(self, who: int, size: int) -> None:
        self._pick(who).send(size)

    @precondition(lambda self: self.all)
    @rule(who=WHO, share=st.sampled_from([0.1, 0.5, 1.0]), keeps_up=st.booleans())
    def pass_on(self, who: int, share: float, keeps_up: bool) -> None:
        side = self._pick(who)
        side.pass_on(round(side.held * share), keeps_up=keeps_up)

    @precondition(lambda self: self.all)
    @rule(who=WHO)
    def end_of_data(self, who: int) -> None:
        self._pick(who).channel.send_eof()

    @precondition(lambda self: self.all)
    @rule(who=WHO)
    def leave(self, who: int) -> None:
        self._pick(who).leave()

    @precondition(lambda self: self.all)
    @rule(who=WHO, ends=st.booleans())
    def leave_with_hands_full(self, who: int, ends: bool) -> None:
        """What is given back then would be enough to tell the peer, which must not be told."""
        sender = self._pick(who)
        self.exchange()  # it may wait for its confirmation
        sender.send(700_000)
        if ends:
            sender.channel.send_eof()
        self.exchange()
        if sender.other is not None:
            sender.other.leave()

    @rule(end=ENDS, known=st.lists(st.booleans(), min_size=1, max_size=4))
    def request(self, end: int, known: list[bool]) -> None:
        for is_known in known:
            data = b"%d" % len(self.asked[end])
            self.asked[end].append((data, data if is_known else None))
            name = "echo" if is_known else "unheard of"
            hear = functools.partial(self._replied, self.replies[end], data)
            self.ends[end].connection.request(name, data, hear)

    @staticmethod
    def _replied(replies: list[object], asked: bytes, reply: bytes | None) -> None:
        replies.append((asked, reply))

    # What the world may do.

    @rule(end=ENDS, count=st.sampled_from([1, 2, 5, 40, EVERYTHING]))
    def deliver(self, end: int, count: int) -> None:
        line = self.ends[end].line
        for _ in range(min(count, len(line))):
            self.ends[1 - end].receive(line.popleft())

    def exchange(self) -> None:
        """Carry messages until there are none."""
        while any(end.line for end in self.ends):
            for number in (0, 1):
                self.deliver(number, EVERYTHING)

    @rule(seconds=st.sampled_from([0.01, 0.11, 0.3]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @precondition(lambda self: self.all)
    @rule(who=WHO, turns=TURNS)
    def carry_a_lot(self, who: int, turns: list[tuple[bool, float, int]]) -> None:
        """Whole windows, in the time that widens them, to a reader that keeps up in some turns and
        passes only a share on in others."""
        sender = self._pick(who)
        for keeps_up, share, times in turns:
            self._carry(sender, keeps_up, share, times)

    def _carry(self, sender: Side, keeps_up: bool, share: float, times: int) -> None:
        reader = sender.other
        for _ in range(times):
            if reader is None or sender.is_over or reader.is_over:
                return
            sender.send(sender.channel.sendable())
            self.exchange()
            reader.pass_on(round(reader.held * share), keeps_up=keeps_up)
            self.exchange()
            self.clock.now += 0.11

    @precondition(lambda self: self.all)
    @rule(who=WHO)
    def leave_while_the_window_opens(self, who: int) -> None:
        """The peer gives back what it was sent, and does not know yet that nobody is there."""
        side = self._pick(who)
        reader = side.other
        if reader is not None:
            self.exchange()  # it may wait for its confirmation
            side.send(700_000)
            self.exchange()
            reader.pass_on(reader.held)
            side.leave()

    @precondition(lambda self: len(self.all) > 8)
    @rule()
    def lose(self) -> None:
        for end in self.ends:
            end.connection.lose()
            assert not end.connection.channels
            assert end.budget.left == BUDGET
        for side in self.all:
            assert side.channel.sending.has_left
            assert side.channel.sendable() == 0
            assert side.has_left or {"closed", "refused"} & set(side.events)
        for asked, replies in zip(self.asked, self.replies, strict=True):
            assert len(replies) == len(asked)
        self._connect()

    # What must hold at any moment.

    @invariant()
    def windows_are_kept(self) -> None:
        for side in self.all:
            assert side.channel.sending.window >= 0
            window = side.channel.receiving.window
            assert 0 <= window.open <= window.size
            assert WINDOW <= window.size <= WIDEST
            if not side.channel.sending.has_left:
                assert window.open + side.held <= window.size

    @invariant()
    def replies_come_in_order(self) -> None:
        for asked, replies in zip(self.asked, self.replies, strict=True):
            assert replies == asked[: len(replies)]

    @rule()
    def settle(self) -> None:
        """With nothing on its way, both sides of a window know the same of it."""
        self.exchange()
        for side in self.all:
            if side.is_over or side.other is None or side.other.is_over:
                continue
            assert side.received == side.other.sent
            has_ended = side.other.channel.sending.phase is Phase.ENDED
            assert ("eof" in side.events) == has_ended
            window = side.channel.receiving.window
            if not has_ended:
                assert window.open == side.other.channel.sending.window
                if not side.held:
                    assert window.open > window.size * 3 // 4

    def teardown(self) -> None:
        """Deliver everything, close everything: nothing is left."""
        self._settle_all()
        self.settle()
        for side in self.all:
            side.leave()
        self._settle_all()
        for end, asked, replies in zip(self.ends, self.asked, self.replies, strict=True):
            assert not end.connection.channels
            assert end.budget.left == BUDGET
            assert replies == asked

    def _settle_all(self) -> None:
        while any(end.line or end.asked for end in self.ends):
            for number in (0, 1):
                self.deliver(number, EVERYTHING)
                self.reject(number)


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=100, stateful_step_count=60)
