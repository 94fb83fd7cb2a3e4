"""The connection protocol of one SSH link: channels by number, and requests answered in order.

Owns the channel table and the queue of global requests that wait for a reply (RFC 4254 section 4:
replies come in the order of the requests). Both ends use the same code; the `Acceptor` decides what
an end accepts. Must never pass bytes to the wrong channel: a message for a number that is not open
ends the connection.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tunnelctl.wire import messages
from tunnelctl.wire.channel import Channel, ChannelHandler
from tunnelctl.wire.messages import U32_MAX, Message, OpenFailure, ProtocolError, Reader
from tunnelctl.wire.window import PACKET_MAX, WINDOW, RoundTrip

# Called with the data of the reply, or None for a refusal.
OnReply = Callable[[bytes | None], None]
# Sends a message that asks for something; calls back with the sequence number of its packet.
Ask = Callable[[bytes, Callable[[int], None]], None]

# A channel type that does not exist: it is requested in order to be refused.
_NO_KIND: Final = "alive@tunnelctl"

_TWO: Final = struct.Struct(">II")
_FOUR: Final = struct.Struct(">IIII")
_DATA: Final = struct.Struct(">BII")
_DATA_SIZE: Final = _DATA.size
_CHANNEL_DATA: Final = int(Message.CHANNEL_DATA)


class IncomingOpen:
    """A channel that the peer requests. Exactly one of `accept` and `reject` must follow."""

    def __init__(
        self, connection: Connection, kind: str, remote: tuple[int, int, int], data: Reader
    ) -> None:
        self.kind = kind
        self.data = data
        self._connection = connection
        self._remote = remote
        self._answered = False

    @property
    def window(self) -> int:
        """The initial window of the peer, in bytes."""
        return self._remote[1]

    @property
    def answered(self) -> bool:
        """Whether it was accepted or rejected, or its connection is lost."""
        return self._answered or self._connection.is_lost

    def accept(self, handler: ChannelHandler) -> Channel:
        """Confirm the open; data may flow at once, and `handler.opened` is not called."""
        self._answered = True
        return self._connection.confirm(self._remote, handler)

    def reject(self, reason: OpenFailure, description: str) -> None:
        """Refuse the open, with a description for the peer's log."""
        if not self.answered:
            self._answered = True
            self._connection.send(
                messages.channel_open_failure(self._remote[0], reason, description)
            )


class Acceptor(Protocol):
    """The policy of this end for requests of the other."""

    def channel_open(self, incoming: IncomingOpen) -> None:
        """The peer requests a channel: accept or reject it, now or later."""

    def global_request(self, name: str, data: Reader) -> bytes | None:
        """The peer sent a global request: return the data of the reply, or None to refuse."""


@dataclass(eq=False, slots=True)
class Request:
    """A global request. `is_unknown`: the peer refused it as an unknown message."""

    name: str
    on_reply: OnReply
    packet: int = -1  # its sequence number, once it has one
    is_unknown: bool = False

    def sent(self, packet: int) -> None:
        """It was sent in the packet of this number."""
        self.packet = packet


@dataclass(eq=False, slots=True)
class _Sign:
    """A sign of life that is awaited: the answer to a channel of an unknown type."""

    number: int
    on_answer: Callable[[], None]


class Connection:
    """Both directions of RFC 4254, over a function that sends whole messages."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        acceptor: Acceptor,
        round_trip: RoundTrip,
        ask: Ask | None = None,
    ) -> None:
        self.send = send
        self._ask = ask or (lambda message, _: send(message))
        self.channels: dict[int, Channel] = {}
        self.is_lost = False
        self.has_carried = False  # whether a channel was ever open
        self._refused_last = False  # whether the peer's last message refused an open of ours
        self._acceptor = acceptor
        self._round_trip = round_trip
        self.unused_since = round_trip.clock()  # when it last became without channels
        self._pending: deque[Request] = deque()
        self._sign: _Sign | None = None
        self._next_id = 0

    # Our requests.

    def open_channel(self, kind: str, data: bytes, handler: ChannelHandler) -> Channel:
        """Request a channel; the handler gets `opened` or `open_failed`, or `closed` at once if the
        connection is lost."""
        channel = self._new_channel(handler)
        if self.is_lost:
            self._forget(channel)
            channel.on_lost()
            return channel
        message = messages.channel_open(kind, channel.local_id, WINDOW, PACKET_MAX, data)
        self._ask(message, channel.asked_for)
        return channel

    def request(self, name: str, data: bytes, on_reply: OnReply) -> Request:
        """Send a global request that wants a reply (RFC 4254 section 4); a lost connection refuses
        it."""
        request = Request(name, on_reply)
        if self.is_lost:
            on_reply(None)
            return request
        self._pending.append(request)
        self._ask(messages.global_request(name, True, data), request.sent)
        return request

    def ask_for_sign(self, on_answer: Callable[[], None]) -> None:
        """Make the peer answer something, whatever that is; at most two answers are awaited.

        Replies to global requests come in order, and some servers give none at all; if one is
        awaited already, a channel of an unknown type is requested instead.
        """
        if self.is_lost:
            return
        if not self._pending:
            # OpenSSH refuses the request of that name, which is a sign of life.
            self.request("keepalive@openssh.com", b"", lambda _reply: on_answer())
        elif self._sign is None:
            self._sign = _Sign(self._take_number(), on_answer)
            self.send(messages.channel_open(_NO_KIND, self._sign.number, WINDOW, PACKET_MAX, b""))

    @property
    def awaits_reply(self) -> bool:
        """Whether the peer has not answered all global requests."""
        return bool(self._pending)

    @property
    def is_at_open(self) -> bool:
        """Whether the last exchange was an open of ours, refused just now or not answered."""
        return self._refused_last or bool(self._unconfirmed())

    def confirm(self, remote: tuple[int, int, int], handler: ChannelHandler) -> Channel:
        """Accept a channel that the peer requested with its number, window and packet size."""
        self.has_carried = True
        channel = self._new_channel(handler)
        channel.begin(*remote)
        self.send(
            messages.channel_open_confirmation(remote[0], channel.local_id, WINDOW, PACKET_MAX)
        )
        return channel

    @property
    def oldest_request(self) -> Request | None:
        """The global request that the peer has to answer next, or None."""
        return self._pending[0] if self._pending else None

    def lose(self) -> None:
        """The link is gone: every channel gets `closed`, every request a refusal."""
        if self.is_lost:
            return
        self.is_lost = True
        channels, self.channels = list(self.channels.values()), {}
        pending, self._pending = self._pending, deque()
        for channel in channels:
            channel.on_lost()
        for request in pending:
            request.on_reply(None)

    def _new_channel(self, handler: ChannelHandler) -> Channel:
        # Numbers increase and are not reused at once, so that a late message for an old channel can
        # only meet a number that is not open.
        number = self._take_number()
        channel = Channel(number, handler, self.send, self._forget, self._round_trip)
        self.channels[number] = channel
        return channel

    def _take_number(self) -> int:
        while self._next_id in self.channels or self._is_sign(self._next_id):
            self._next_id = (self._next_id + 1) & U32_MAX
        number, self._next_id = self._next_id, (self._next_id + 1) & U32_MAX
        return number

    def _is_sign(self, number: int) -> bool:
        return self._sign is not None and self._sign.number == number

    def _take_sign(self) -> None:
        sign, self._sign = self._sign, None
        assert sign is not None
        sign.on_answer()

    def _forget(self, channel: Channel) -> None:
        self.channels.pop(channel.local_id, None)
        if not self.channels:
            self.unused_since = self._round_trip.clock()

    # Messages of the peer.

    def receive(self, message: memoryview) -> bool:
        """Handle one message of the connection protocol; returns whether its type is known.

        Raises:
            ProtocolError: the peer broke the protocol; the connection must end.
        """
        kind = message[0]
        if kind == _CHANNEL_DATA:
            self._on_data(message)
            return True
        self._refused_last = False
        handle = _HANDLERS.get(kind)
        if handle is None:
            return False
        handle(self, Reader(message, 1))
        return True

    def _on_data(self, message: memoryview) -> None:
        try:
            _, recipient, count = _DATA.unpack_from(message)
        except struct.error:
            raise ProtocolError("a data message is shorter than its fields") from None
        data = message[_DATA_SIZE:]
        if len(data) != count:
            raise ProtocolError("a data message is not as long as it says")
        channel = self.channels.get(recipient)
        if channel is None:
            channel = self._channel(recipient)  # names the violation
        channel.on_data(data)

    def _channel(self, number: int) -> Channel:
        channel = self.channels.get(number)
        if channel is None:
            raise ProtocolError(f"the peer named channel {number}, which is not open")
        return channel

    def _unconfirmed(self) -> list[Channel]:
        """The channels that we requested, and that the peer has not answered."""
        return [one for one in self.channels.values() if one.receiving.is_opening]

    def _open(self, number: int) -> Channel:
        channel = self._channel(number)
        if channel.receiving.is_opening:
            raise ProtocolError(f"the peer used channel {number} before confirming it")
        return channel

    def _on_global_request(self, reader: Reader) -> None:
        name, want_reply = reader.text(), reader.boolean()
        reply = self._acceptor.global_request(name, reader)
        if not want_reply:
            return
        if reply is None:
            self.send(bytes((Message.REQUEST_FAILURE,)))
        else:
            self.send(bytes((Message.REQUEST_SUCCESS,)) + reply)

    def unimplemented(self, packet: int) -> None:
        """The peer does not know the message in the packet of this number (RFC 4253 section 11.4).
        The request in it counts as refused.

        TinySSH gives the number of the next packet; but it answers in order.
        """
        asked: list[Request | Channel] = [*self._pending]
        asked += self._unconfirmed()
        meant = (one for one in asked if packet - one.packet in (0, 1))
        one = min(meant, key=lambda one: one.packet, default=None)
        if isinstance(one, Request):
            self._pending.remove(one)
            one.is_unknown = True
            one.on_reply(None)
        elif one is not None:
            self._refused(one, OpenFailure.UNKNOWN_CHANNEL_TYPE, "it knows no channels")

    def _take_pending(self) -> Request:
        if not self._pending:
            raise ProtocolError("the peer answered a request that was not made")
        return self._pending.popleft()

    def _on_request_success(self, reader: Reader) -> None:
        self._take_pending().on_reply(reader.rest())

    def _on_request_failure(self, reader: Reader) -> None:
        self._take_pending().on_reply(None)

    def _on_channel_open(self, reader: Reader) -> None:
        kind = reader.text()
        remote = (reader.u32(), reader.u32(), reader.u32())
        if remote[2] == 0:
            raise ProtocolError("the peer accepts no data in a channel (maximum packet size 0)")
        self._acceptor.channel_open(IncomingOpen(self, kind, remote, reader))

    def _on_open_confirmation(self, reader: Reader) -> None:
        number, remote, window, packet_max = reader.numbers(_FOUR)
        if self._is_sign(number):
            raise ProtocolError("the peer opened a channel of a kind that it cannot know")
        self._channel(number).on_confirmed(remote, window, packet_max)
        self.has_carried = True

    def _on_open_failure(self, reader: Reader) -> None:
        number = reader.u32()
        if self._is_sign(number):
            self._take_sign()
            return
        channel = self._channel(number)
        if not channel.receiving.is_opening:
            raise ProtocolError("a channel was refused after it was confirmed")
        self._refused_last = True
        self._refused(channel, reader.u32(), reader.text())

    def _refused(self, channel: Channel, reason: int, description: str) -> None:
        self._forget(channel)
        channel.on_refused(reason, description)

    def _on_window_adjust(self, reader: Reader) -> None:
        number, count = reader.numbers(_TWO)
        self._open(number).on_window_adjust(count)

    def _on_extended_data(self, reader: Reader) -> None:
        channel = self._open(reader.u32())
        reader.u32()  # the data type, of which RFC 4254 defines only stderr
        channel.on_extended_data(reader.string())

    def _on_eof(self, reader: Reader) -> None:
        self._open(reader.u32()).on_eof()

    def _on_close(self, reader: Reader) -> None:
        self._open(reader.u32()).on_close()

    def _on_channel_request(self, reader: Reader) -> None:
        # OpenSSH's servers may ask for signs of life this way; any answer counts.
        channel = self._open(reader.u32())
        reader.text()
        if reader.boolean() and not channel.sending.has_left:
            self.send(messages.channel_failure(channel.remote_id))

    def _on_channel_reply(self, reader: Reader) -> None:
        raise ProtocolError("the peer answered a channel request that was not made")


_HANDLERS: Final[dict[int, Callable[[Connection, Reader], None]]] = {
    Message.GLOBAL_REQUEST: Connection._on_global_request,
    Message.REQUEST_SUCCESS: Connection._on_request_success,
    Message.REQUEST_FAILURE: Connection._on_request_failure,
    Message.CHANNEL_OPEN: Connection._on_channel_open,
    Message.CHANNEL_OPEN_CONFIRMATION: Connection._on_open_confirmation,
    Message.CHANNEL_OPEN_FAILURE: Connection._on_open_failure,
    Message.CHANNEL_WINDOW_ADJUST: Connection._on_window_adjust,
    Message.CHANNEL_EXTENDED_DATA: Connection._on_extended_data,
    Message.CHANNEL_EOF: Connection._on_eof,
    Message.CHANNEL_CLOSE: Connection._on_close,
    Message.CHANNEL_REQUEST: Connection._on_channel_request,
    Message.CHANNEL_SUCCESS: Connection._on_channel_reply,
    Message.CHANNEL_FAILURE: Connection._on_channel_reply,
}
