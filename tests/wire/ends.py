"""Two honest ends of RFC 4254 for the state machine in test_life.py.

Each looks at everything that it is told and at everything that leaves it, and fails at the first
thing that an honest end may not see or say.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from enum import Enum, auto

from tunnelctl.wire.channel import Channel, ChannelHandler
from tunnelctl.wire.connection import Connection, IncomingOpen
from tunnelctl.wire.messages import Message, OpenFailure, Reader
from tunnelctl.wire.window import OPENSSH_WINDOW_LIMIT, PACKET_MAX, RoundTrip, WindowBudget

_POOL = random.Random(9).randbytes(1 << 20)
_OF_A_CHANNEL = {
    Message.CHANNEL_WINDOW_ADJUST,
    Message.CHANNEL_DATA,
    Message.CHANNEL_EOF,
    Message.CHANNEL_CLOSE,
    Message.CHANNEL_REQUEST,
}


def pattern(key: int, start: int, size: int) -> bytes:
    """The bytes of a direction from `start` on: another sequence for each key."""
    begin = (start + key * 7919) % len(_POOL)
    pool = _POOL * (2 + size // len(_POOL))
    return pool[begin : begin + size]


class Manner(Enum):
    """What a side does while it is being told something, as a relay would."""

    PASSES_ON = auto()  # gives data back as it comes
    ANSWERS = auto()  # sends when it is opened and when the window opens
    ENDS_AFTER_EOF = auto()
    CLOSES_AFTER_EOF = auto()
    LEAVES_AT_DATA = auto()
    LEAVES_WHEN_OPENED = auto()


class Side(ChannelHandler):
    """One side of a channel, as its handler. `key` says which bytes it sends."""

    def __init__(self, key: int, manners: frozenset[Manner]) -> None:
        self.key = key
        self.manners = manners
        self.at: Channel | None = None
        self.other: Side | None = None
        self.sent = 0
        self.received = 0
        self.held = 0  # came, and is not given back
        self.events: list[str] = []
        self.has_left = False

    @property
    def channel(self) -> Channel:
        """The channel that it handles."""
        assert self.at is not None
        return self.at

    @property
    def is_over(self) -> bool:
        """Whether this side is closed, as far as it knows."""
        return self.channel.sending.has_left or bool({"closed", "refused"} & set(self.events))

    def send(self, size: int) -> None:
        """Send as much of `size` bytes as the window takes."""
        room = self.channel.sendable()
        # One byte more than there is room for shows whether it is kept back.
        data = pattern(self.key, self.sent, min(size, room + 1))
        done = self.channel.send_data(data)
        assert done == min(size, room)
        self.sent += done

    def pass_on(self, count: int, *, keeps_up: bool = True) -> None:
        """Give bytes back to the peer's window."""
        self.held -= count
        self.channel.consumed(count, keeps_up=keeps_up)

    def leave(self) -> None:
        """Close, and hear nothing more."""
        self.has_left = True
        self.channel.close()
        self.pass_on(self.held)  # it comes too late to be said

    def _hear(self, event: str) -> None:
        assert not self.has_left, f"{event} for somebody who has left"
        assert event not in self.events, f"{event} twice"
        assert not {"closed", "refused"} & set(self.events), f"{event} after the end"
        self.events.append(event)

    def opened(self) -> None:
        self._hear("opened")
        if Manner.ANSWERS in self.manners:
            self.send(PACKET_MAX + 1)
        if Manner.LEAVES_WHEN_OPENED in self.manners:
            self.leave()

    def open_failed(self, reason: int, description: str) -> None:
        assert (reason, description) == (OpenFailure.CONNECT_FAILED, "no")
        self._hear("refused")

    def data(self, data: memoryview) -> None:
        assert self.other is not None
        assert not self.has_left, "data for somebody who has left"
        assert not {"eof", "closed", "refused"} & set(self.events), "data after the end"
        assert data
        assert bytes(data) == pattern(self.other.key, self.received, len(data))
        self.received += len(data)
        self.held += len(data)
        assert self.received <= self.other.sent
        if Manner.PASSES_ON in self.manners:
            self.pass_on(len(data))
        if Manner.LEAVES_AT_DATA in self.manners:
            self.leave()

    def eof(self) -> None:
        self._hear("eof")
        assert self.other is not None
        assert self.received == self.other.sent, "EOF overtook data"
        if Manner.ENDS_AFTER_EOF in self.manners:
            self.channel.send_eof()
        if Manner.CLOSES_AFTER_EOF in self.manners:
            self.leave()

    def closed(self) -> None:
        self._hear("closed")

    def window_opened(self) -> None:
        assert not self.has_left, "told of a window after it has left"
        assert not {"closed", "refused"} & set(self.events)
        if Manner.ANSWERS in self.manners:
            self.send(100)


# How far a window grows: what one of these sends at once takes time.
WIDEST = OPENSSH_WINDOW_LIMIT


class Clock:
    """Seconds that pass when the machine says so."""

    def __init__(self) -> None:
        self.now = 1.0

    def __call__(self) -> float:
        return self.now


class End:
    """One end of the connection: what it sent lies in `line` until it is delivered."""

    def __init__(self, clock: Clock) -> None:
        self.line: deque[bytes] = deque()
        self.asked: deque[IncomingOpen] = deque()
        self.budget = WindowBudget()
        self.connection = Connection(self.send, self, RoundTrip(clock, 0.1, WIDEST, self.budget))
        self._ended: dict[int, Message] = {}  # by the other's number: EOF or CLOSE was sent
        self._allowed: dict[int, int] = {}  # by the other's number: what its window takes
        self._asked_window = 0  # of the open that is being accepted

    def send(self, message: bytes) -> None:
        """Look at what leaves, and put it on its way."""
        kind = Message(message[0])
        if kind in _OF_A_CHANNEL:
            (recipient,) = struct.unpack_from(">I", message, 1)
            self._check(kind, recipient, len(message) - 9)
        elif kind is Message.CHANNEL_OPEN_CONFIRMATION:
            (remote,) = struct.unpack_from(">I", message, 1)
            self._begin(remote, self._asked_window)
        self.line.append(message)

    def _check(self, kind: Message, recipient: int, size: int) -> None:
        before = self._ended.get(recipient)
        assert before is not Message.CHANNEL_CLOSE, f"{kind.name} after CLOSE"
        if kind is Message.CHANNEL_DATA:
            assert before is None, "data after EOF"
            assert 0 < size <= PACKET_MAX
            self._allowed[recipient] -= size
            assert self._allowed[recipient] >= 0, "more than the window takes"
        elif kind is Message.CHANNEL_EOF:
            assert before is None, "EOF twice"
            self._ended[recipient] = kind
        elif kind is Message.CHANNEL_CLOSE:
            self._ended[recipient] = kind

    def _begin(self, remote: int, window: int) -> None:
        """The other's number stands for a new channel from now on."""
        self._ended.pop(remote, None)
        self._allowed[remote] = window

    def receive(self, message: bytes) -> None:
        """What the other end sent; its own books are kept first."""
        kind, *numbers = message[0], *struct.unpack_from(">II", message.ljust(9, b"\0"), 1)
        if kind == Message.CHANNEL_OPEN_CONFIRMATION:
            self._begin(numbers[1], struct.unpack_from(">I", message, 9)[0])
        elif kind == Message.CHANNEL_WINDOW_ADJUST:
            channel = self.connection.channels[numbers[0]]
            self._allowed[channel.remote_id] += numbers[1]
        assert self.connection.receive(memoryview(message))

    def accept(self, side: Side) -> None:
        """Accept the oldest open."""
        incoming = self.asked.popleft()
        self._asked_window = incoming.window
        side.at = incoming.accept(side)

    def reject(self) -> None:
        """Refuse the oldest open."""
        self.asked.popleft().reject(OpenFailure.CONNECT_FAILED, "no")

    def channel_open(self, incoming: IncomingOpen) -> None:
        self.asked.append(incoming)

    def global_request(self, name: str, data: Reader) -> bytes | None:
        return data.rest() if name == "echo" else None
