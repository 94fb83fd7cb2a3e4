"""One end of RFC 4254 facing a peer that says anything, while we go on with our own work.

What must hold, whatever comes: no exception but ProtocolError; windows within their bounds; no
bytes for a handler that has left, nor after its end; everybody hears the end once; and of ours, no
data after EOF and nothing after CLOSE.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from fuzz.script import Script
from tunnelctl.wire import messages
from tunnelctl.wire.channel import Channel, ChannelHandler
from tunnelctl.wire.connection import Connection, IncomingOpen
from tunnelctl.wire.messages import U32_MAX, Message, OpenFailure, ProtocolError, Reader
from tunnelctl.wire.window import PACKET_MAX, WINDOW, WINDOW_LIMIT, RoundTrip

_NUMBERS = (0, 1, 2, 3, 0x7FFF_FFFF, U32_MAX)
_SIZES = (0, 1, PACKET_MAX, PACKET_MAX + 1, WINDOW, U32_MAX)
_PACKETS_MAX = 100
_ENDS = frozenset({"closed", "refused"})


class _Client(ChannelHandler):
    """The handler of one channel."""

    def __init__(self) -> None:
        self.at: Channel | None = None
        self.held = 0
        self.has_left = False
        self.events: set[str] = set()

    @property
    def channel(self) -> Channel:
        """The channel that it handles."""
        assert self.at is not None
        return self.at

    def hear(self, event: str) -> None:
        assert not self.has_left, f"{event} for somebody who has left"
        assert event not in self.events, f"{event} twice"
        assert not self.events & _ENDS, f"{event} after the end"
        self.events.add(event)

    def opened(self) -> None:
        self.hear("opened")

    def open_failed(self, reason: int, description: str) -> None:
        assert "opened" not in self.events
        self.hear("refused")

    def data(self, data: memoryview) -> None:
        assert data, "no bytes are no news"
        assert not self.has_left
        assert not self.events & (_ENDS | {"eof"}), "data after the end"
        self.held += len(data)

    def eof(self) -> None:
        self.hear("eof")

    def closed(self) -> None:
        self.hear("closed")

    def window_opened(self) -> None:
        assert not self.has_left
        assert not self.events & _ENDS


class _Scene:
    """The connection, those who use it, and what they may do next."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.now = 1.0
        self.clients: list[_Client] = []
        self.asked: list[IncomingOpen] = []
        self.replies: list[bytes | None] = []
        self.requests = 0
        self.connection = Connection(self._sent, self, RoundTrip(lambda: self.now, 0.1))
        self.steps: tuple[Callable[[], None], ...] = (
            self.peer_says_anything,
            self.peer_says_what_looks_right,
            self.peer_sends_data,
            self.peer_confirms,
            self.open,
            self.accept,
            self.reject,
            self.send,
            self.pass_on,
            self.end,
            self.leave,
            self.request,
            self.wait,
        )

    # What the connection asks of its surroundings.

    def _sent(self, message: bytes) -> None:
        assert not self.connection.is_lost
        if message[0] == Message.CHANNEL_DATA:
            assert 9 < len(message) <= 9 + PACKET_MAX

    def channel_open(self, incoming: IncomingOpen) -> None:
        self.asked.append(incoming)

    def global_request(self, name: str, data: Reader) -> bytes | None:
        return data.rest() if name == "echo" else None

    # What the peer does.

    def peer_says_anything(self) -> None:
        self._receive(self.script.take(self.script.number(1)) or b"\0")

    def peer_says_what_looks_right(self) -> None:
        kind = 80 + self.script.number(1) % 21
        fields = self.script.take(self.script.number(1))
        self._receive(bytes((kind,)) + messages.u32(self.script.choose(_NUMBERS)) + fields)

    def peer_sends_data(self) -> None:
        number, size = self.script.choose(_NUMBERS), self.script.number(2)
        self._receive(messages.channel_data(number, bytes(size)))

    def peer_confirms(self) -> None:
        fields = (self.script.choose(_NUMBERS) for _ in range(4))
        self._receive(struct.pack(">BIIII", Message.CHANNEL_OPEN_CONFIRMATION, *fields))

    def _receive(self, message: bytes) -> None:
        is_known = self.connection.receive(memoryview(message))
        assert is_known or not 90 <= message[0] <= 100

    # What we do.

    def open(self) -> None:
        client = _Client()
        self.clients.append(client)
        client.at = self.connection.open_channel("direct-tcpip", b"", client)

    def accept(self) -> None:
        if self.asked:
            client = _Client()
            self.clients.append(client)
            client.at = self.asked.pop(0).accept(client)

    def reject(self) -> None:
        if self.asked:
            self.asked.pop(0).reject(OpenFailure.CONNECT_FAILED, "no")

    def _somebody(self) -> _Client | None:
        return self.script.choose(self.clients) if self.clients else None

    def send(self) -> None:
        size = self.script.choose(_SIZES[:-1])
        if client := self._somebody():
            # A peer may want its bytes one by one, and gets them: that is slow, and no fault.
            size = min(size, _PACKETS_MAX * client.channel.sending.packet_max)
            room = client.channel.sendable()
            assert client.channel.send_data(bytes(size)) == min(size, room)

    def pass_on(self) -> None:
        keeps_up = bool(self.script.number(1) & 1)
        if client := self._somebody():
            count, client.held = client.held, 0
            client.channel.consumed(count, keeps_up=keeps_up)

    def end(self) -> None:
        if client := self._somebody():
            client.channel.send_eof()
            assert client.channel.sendable() == 0 or client.channel.receiving.is_opening

    def leave(self) -> None:
        if client := self._somebody():
            client.has_left = True
            client.channel.close()
            assert client.channel.sendable() == 0

    def request(self) -> None:
        self.requests += 1
        self.connection.request("echo", b"", self.replies.append)

    def wait(self) -> None:
        self.now += self.script.number(1) / 100

    # What must hold.

    def check(self) -> None:
        for client in self.clients:
            channel, window = client.channel, client.channel.receiving.window
            assert 0 <= channel.sending.window <= U32_MAX
            assert WINDOW <= window.size <= WINDOW_LIMIT
            assert -(window.size // 10) <= window.open <= window.size
            if not channel.sending.has_left:
                assert client.held + window.open <= window.size
            if client.events & _ENDS:
                assert channel.sending.has_left
                assert channel.local_id not in self.connection.channels or (
                    self.connection.channels[channel.local_id] is not channel
                )
        assert len(self.replies) <= self.requests

    def lose(self) -> None:
        self.connection.lose()
        assert not self.connection.channels
        assert all(client.has_left or client.events & _ENDS for client in self.clients)
        assert len(self.replies) == self.requests


def run(data: bytes) -> None:
    """One connection, from its first channel to its end."""
    scene = _Scene(Script(data))
    try:
        while not scene.script.is_over:
            scene.script.choose(scene.steps)()
            scene.check()
    except ProtocolError:
        pass
    scene.lose()
