"""The two directions of a relay by themselves: they go only where the drawing has an arrow, ask for
one turn at a time, and lose no byte."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.net.buffers import SLOT_DATA
from tunnelctl.ssh.link.flows import FromSocket, Reading, ToSocket, Writing, last_bytes

READING = {
    (Reading.NEW, Reading.OPENING),
    (Reading.OPENING, Reading.READING),
    (Reading.READING, Reading.IDLE),
    (Reading.READING, Reading.WAITING),
    (Reading.READING, Reading.STARVED),
    (Reading.READING, Reading.ENDED),
    (Reading.IDLE, Reading.READING),
    (Reading.WAITING, Reading.READING),
    (Reading.STARVED, Reading.WAITING),
    *((state, Reading.CLOSED) for state in Reading),
}
WRITING = {
    (Writing.OPEN, Writing.DRAINING),
    (Writing.OPEN, Writing.CUT),
    (Writing.DRAINING, Writing.FINISHED),
    (Writing.DRAINING, Writing.CLOSING),
    (Writing.FINISHED, Writing.ENDED),
    (Writing.CLOSING, Writing.ENDED),
    *((state, Writing.CLOSED) for state in Writing),
}
# What the world does, and what a read comes to.
EVENTS = st.sampled_from(["open", "readable", "window", "turn", "close"])
READS = st.sampled_from(["drained", "more", "full", "starved", "fin"])


class Reader:
    """A relay's use of the half: turns are asked for, and a read is done when it says so."""

    def __init__(self) -> None:
        self.half = FromSocket()
        assert self.half.watch()
        assert not self.half.watch()  # once
        self.turns = 0
        self.reads = 0
        self.states = [self.half.state]

    def _now(self) -> None:
        self.states.append(self.half.state)

    def happen(self, event: str, read: str) -> None:
        half = self.half
        match event:
            case "open" if half.state is Reading.OPENING:
                half.open()
                self._read(read)
            case "readable" if half.readable():
                self._read(read)
            case "window" if half.feed():
                self.turns += 1
            case "turn" if self.turns:
                self.turns -= 1
                if half.turn():
                    self._read(read)
            case "close":
                half.close()
        self._now()

    def _read(self, read: str) -> None:
        self._now()
        self.reads += 1
        match read:
            case "drained":
                self.half.drained()
            case "more" | "full":
                self.half.wait()
                self.turns += 1
            case "starved":
                self.half.starve()
            case "fin":
                self.half.end()


@given(st.lists(st.tuples(EVENTS, READS), max_size=40))
def test_reading_goes_by_the_drawing(history: list[tuple[str, str]]) -> None:
    reader = Reader()
    for event, read in history:
        state, reads = reader.half.state, reader.reads
        reader.happen(event, read)
        # It reads once for an event, and never after FIN, nor once the socket is closed.
        assert reader.reads - reads in (0, 1)
        if state in (Reading.ENDED, Reading.CLOSED, Reading.STARVED):
            assert reader.reads == reads
        # There is a turn to come exactly while it waits for one; a closed one is only passed over.
        if reader.half.state is not Reading.CLOSED:
            assert reader.turns == (reader.half.state is Reading.WAITING)
        # Between two events it is not reading: whoever began has said how it ended.
        assert reader.half.state is not Reading.READING
    steps = {(a, b) for a, b in pairwise(reader.states) if a is not b}
    assert steps <= READING


def test_a_turn_that_comes_after_the_end_is_passed_over() -> None:
    half = FromSocket()
    half.open()
    half.wait()
    half.close()
    assert not half.turn()
    assert half.state is Reading.CLOSED


WRITES = st.lists(
    st.tuples(st.just("data"), st.sampled_from([b"x", b"yz" * 40, b"a" * SLOT_DATA]))
    | st.tuples(st.just("take"), st.sampled_from([1, 100, SLOT_DATA, 10 * SLOT_DATA]))
    | st.tuples(st.sampled_from(["eof", "close", "drop"]), st.none()),
    max_size=40,
)


@given(WRITES)
def test_writing_goes_by_the_drawing_and_keeps_every_byte(
    history: list[tuple[str, bytes | int | None]],
) -> None:
    half, came, taken = ToSocket(), bytearray(), bytearray()
    states, fins, ends = [half.state], 0, 0
    for event, argument in history:
        match event:
            case "data" if half.state is Writing.OPEN:
                assert isinstance(argument, bytes)
                came += argument
                is_new, pieces = half.keep(memoryview(argument)), len(half.pending)
                assert is_new == (pieces == 1 and half.pending[0] == argument) or pieces > 1
            case "take" if half.pending:
                assert isinstance(argument, int)
                first = half.pending[0]
                taken += first[:argument]
                del first[:argument]
                if not first:
                    half.pending.popleft()
            case "eof":
                half.eof()
            case "close":
                half.close()
            case "drop":
                half.drop()
        states.append(half.state)
        if half.finish():
            fins += 1
            assert half.has_sent_fin
            assert taken == came  # FIN comes after every byte
        states.append(half.state)
        if half.is_last():
            ends += 1
            assert taken == came
            half.drop()
        states.append(half.state)
        if half.is_closed:
            assert not half.pending
    steps = {(a, b) for a, b in pairwise(states) if a is not b}
    assert steps <= WRITING
    assert fins <= 1
    assert ends <= 1
    # Nothing was kept twice or out of order.
    assert came.startswith(taken)


def test_a_slow_reader_gets_everything_then_fin_then_the_end() -> None:
    half = ToSocket()
    half.keep(memoryview(b"last words"))
    half.eof()
    half.close()
    assert not half.finish()
    assert not half.is_last()
    half.pending.popleft()
    assert half.finish()
    assert not half.finish()  # FIN is sent once
    assert half.is_last()


def test_a_channel_that_is_closed_long_after_eof_ends_then() -> None:
    half = ToSocket()
    half.eof()
    assert half.finish()
    assert not half.is_last()
    half.close()
    assert not half.finish()
    assert half.is_last()


def test_small_pieces_are_kept_in_large_ones() -> None:
    half = ToSocket()
    for _ in range(SLOT_DATA):
        half.keep(memoryview(b"xy"))
    assert [len(piece) for piece in half.pending] == [SLOT_DATA, SLOT_DATA]


def test_close_alone_is_no_fin_and_an_end_all_the_same() -> None:
    half = ToSocket()
    half.close()
    assert half.was_cut
    assert not half.finish()
    assert half.is_last()
    half.end()
    assert half.has_sent_fin
    assert not half.was_cut


@given(st.lists(st.binary(max_size=5)), st.integers(0, 30))
def test_the_last_bytes_of_many_views(parts: list[bytes], count: int) -> None:
    whole = b"".join(parts)
    count = min(count, len(whole))
    kept = last_bytes([memoryview(part) for part in parts], count)
    assert b"".join(kept) == whole[len(whole) - count :]
