"""One channel: its two windows, and who has said EOF and CLOSE (RFC 4254 section 5).

Owns the rules of a channel's life. Must never let a message out that the rules forbid: no data
after EOF, nothing at all after CLOSE, never more than the peer's window.
"""

from __future__ import annotations

from collections.abc import Callable

from tunnelctl.wire import messages
from tunnelctl.wire.messages import U32_MAX, ProtocolError
from tunnelctl.wire.window import PACKET_MAX, ReceiveWindow, RoundTrip


class ChannelHandler:
    """What happens to a channel, as events. Each does nothing unless a subclass handles it.

    After `open_failed` or `closed`, and once the handler itself has closed the channel, nothing
    more comes.
    """

    def opened(self) -> None:
        """The peer confirmed the open: data may be sent. Not for a channel that was accepted."""

    def open_failed(self, reason: int, description: str) -> None:
        """The peer refused the open; the channel is gone. Not for a channel that was accepted."""

    def data(self, data: memoryview) -> None:
        """Bytes came; the view lives until this returns. Give them back with `Channel.consumed`
        when they were passed on: until then they count against the peer's window."""

    def stderr(self, data: bytes) -> None:
        """Standard error of a session came. It is given back without being asked for."""

    def eof(self) -> None:
        """The peer sends no more; the other direction stays open."""

    def closed(self) -> None:
        """The peer closed the channel, or the connection is lost."""

    def window_opened(self) -> None:
        """There is room to send again."""


class Channel:
    """The state of one channel, after it was asked for or accepted."""

    __slots__ = (
        "_forget",
        "_send",
        "close_received",
        "close_sent",
        "confirmed",
        "eof_received",
        "eof_sent",
        "handler",
        "local_id",
        "packet",
        "receive_window",
        "remote_id",
        "send_packet_max",
        "send_window",
    )

    def __init__(
        self,
        local_id: int,
        handler: ChannelHandler,
        send: Callable[[bytes], None],
        forget: Callable[[Channel], None],
        round_trip: RoundTrip,
    ) -> None:
        self.local_id = local_id
        self.remote_id = -1
        self.packet = -1  # the number of the packet that asked for it
        self.handler = handler
        self._send = send
        self._forget = forget
        self.confirmed = False
        self.send_window = 0
        self.send_packet_max = 0
        self.receive_window = ReceiveWindow(round_trip)
        self.eof_sent = self.eof_received = False
        self.close_sent = self.close_received = False

    # What we do.

    def asked_for(self, packet: int) -> None:
        """The peer was asked to open it, in the packet of this number."""
        self.packet = packet

    def sendable(self) -> int:
        """How many bytes the window lets us send now; 0 after EOF or CLOSE."""
        if self.eof_sent or self.close_sent or not self.confirmed:
            return 0
        return self.send_window

    def sent(self, count: int) -> None:
        """Take `count` bytes off the window: they are on their way."""
        self.send_window -= count

    def send_data(self, data: bytes | memoryview) -> int:
        """Send as much of `data` as the window takes; how many bytes that was."""
        done = 0
        while done < len(data) and (room := min(self.sendable(), self.send_packet_max)):
            piece = data[done : done + room]
            self._send(messages.channel_data(self.remote_id, piece))
            self.sent(len(piece))
            done += len(piece)
        return done

    def send_eof(self) -> None:
        """Say that we send no more. Says it once, and never after CLOSE."""
        if self.confirmed and not (self.eof_sent or self.close_sent):
            self.eof_sent = True
            self._send(messages.channel_eof(self.remote_id))

    def close(self) -> None:
        """Say CLOSE, once. The number is free again when the peer has said it too.

        An open that is not confirmed yet is closed as soon as the confirmation comes.
        """
        if self.close_sent:
            return
        self.close_sent = True
        if self.confirmed:
            self._send(messages.channel_close(self.remote_id))

    def request(self, name: str, data: bytes = b"") -> None:
        """Ask something of the far end of a session, which gives no reply; nothing after CLOSE."""
        if self.confirmed and not self.close_sent:
            self._send(messages.channel_request(self.remote_id, name, data))

    def consumed(self, count: int, *, keeps_up: bool = True) -> None:
        """Give `count` bytes back to the peer's window: they were passed on, not only queued.

        `keeps_up` says that nothing is left that waits for the reader.
        """
        grant = self.receive_window.give_back(count, keeps_up=keeps_up)
        if grant and not (self.close_sent or self.eof_received or self.close_received):
            self._send(messages.channel_window_adjust(self.remote_id, grant))

    # What the peer does. Called by the connection.

    def on_confirmed(self, remote_id: int, window: int, packet_max: int) -> None:
        """The peer gave its number, window and packet size."""
        if self.confirmed:
            raise ProtocolError("a channel was confirmed twice")
        self.begin(remote_id, window, packet_max)
        if self.close_sent:  # abandoned while it was being opened
            self._send(messages.channel_close(remote_id))
        else:
            self.handler.opened()

    def begin(self, remote_id: int, window: int, packet_max: int) -> None:
        """Both sides know of the channel: bytes may flow."""
        if packet_max == 0:
            raise ProtocolError("the peer accepts no data in a channel (maximum packet size 0)")
        self.remote_id, self.send_window = remote_id, window
        # A packet that we may send is bounded by our own slots too.
        self.send_packet_max = min(packet_max, PACKET_MAX)
        self.confirmed = True

    def on_data(self, data: memoryview) -> None:
        """Bytes came; they must fit the window that we gave."""
        self._take(len(data))
        # No bytes are no news, and cost no window: a handler must not be made to keep them.
        if data and not self.close_sent:
            self.handler.data(data)

    def on_extended_data(self, data: bytes) -> None:
        """Standard error came; it is credited at once, whatever becomes of it."""
        self._take(len(data))
        if data and not self.close_sent:
            self.handler.stderr(data)
        self.consumed(len(data))

    def _take(self, count: int) -> None:
        self.receive_window.take(count)
        if self.eof_received or self.close_received:
            raise ProtocolError("the peer sent data in a channel after its end")

    def on_window_adjust(self, count: int) -> None:
        """The peer takes `count` more bytes."""
        if self.send_window + count > U32_MAX:
            raise ProtocolError("the peer widened the window of a channel past 2^32-1")
        self.send_window += count
        if not self.close_sent:
            self.handler.window_opened()

    def on_eof(self) -> None:
        """The peer sends no more."""
        if self.eof_received:
            return
        self.eof_received = True
        if not self.close_sent:
            self.handler.eof()

    def on_close(self) -> None:
        """The peer closed: answer with CLOSE if we have not, and let go of the number."""
        if self.close_received:
            raise ProtocolError("a channel was closed twice")
        self.close_received = True
        abandoned = self.close_sent
        if not self.close_sent:
            self.close_sent = True
            self._send(messages.channel_close(self.remote_id))
        self._forget(self)
        if not abandoned:
            self.handler.closed()

    def on_lost(self) -> None:
        """The connection is gone."""
        abandoned = self.close_sent
        self.close_sent = self.close_received = True
        if not abandoned:
            self.handler.closed()
