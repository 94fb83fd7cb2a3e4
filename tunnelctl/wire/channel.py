"""One channel: its messages, and the events for its handler (RFC 4254 section 5).

Owns the order of a channel's messages; the states of the two directions are in `halves.py`. Must
never send a message that the rules forbid: no data after EOF, nothing after CLOSE, never more than
the peer's window.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, final

from tunnelctl.native import mypyc_attr
from tunnelctl.wire import messages
from tunnelctl.wire.halves import Phase, Receiving, Sending
from tunnelctl.wire.messages import ProtocolError
from tunnelctl.wire.window import RoundTrip

_OPEN: Final = Phase.OPEN
_CLOSED: Final = Phase.CLOSED


@mypyc_attr(allow_interpreted_subclasses=True)
class ChannelHandler:
    """The events of a channel. Each does nothing unless a subclass overrides it.

    After `open_failed` or `closed`, and after the handler itself has closed the channel, there are
    no further events.
    """

    def opened(self) -> None:
        """The peer confirmed the open: data may be sent. Not called for a channel that was
        accepted."""

    def open_failed(self, reason: int, description: str) -> None:
        """The peer refused the open; the channel is gone. Not called for a channel that was
        accepted."""

    def data(self, data: memoryview) -> None:
        """Bytes came; the view is valid until this returns. Credit them with `Channel.consumed`
        when they were passed on: until then they count against the peer's window."""

    def stderr(self, data: bytes) -> None:
        """Standard error of a session came. It is credited automatically."""

    def eof(self) -> None:
        """The peer sends no more; the other direction stays open."""

    def closed(self) -> None:
        """The peer closed the channel, or the connection is lost."""

    def window_opened(self) -> None:
        """There is room to send again."""


@final
class Channel:
    """One channel, requested or accepted, with its two directions."""

    __slots__ = (
        "_forget",
        "_send",
        "handler",
        "local_id",
        "packet",
        "receiving",
        "remote_id",
        "sending",
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
        self.packet = -1  # the sequence number of the packet that requested it
        self.handler = handler
        self.sending = Sending()
        self.receiving = Receiving(round_trip)
        self._send = send
        self._forget = forget

    # What we do.

    def asked_for(self, packet: int) -> None:
        """The open was sent in the packet of this number."""
        self.packet = packet

    def sendable(self) -> int:
        """How many bytes the window allows now; 0 before it is open, and after EOF or CLOSE."""
        return self.sending.room()

    def sent(self, count: int) -> None:
        """Take `count` bytes off the window, because they are on their way."""
        self.sending.sent(count)

    def send_data(self, data: bytes | memoryview) -> int:
        """Send as much of `data` as the window allows; returns the number of bytes."""
        sending, done = self.sending, 0
        while done < len(data) and (room := min(sending.room(), sending.packet_max)):
            piece = data[done : done + room]
            self._send(messages.channel_data(self.remote_id, piece))
            sending.sent(len(piece))
            done += len(piece)
        return done

    def send_eof(self) -> None:
        """Send EOF, once, and never after CLOSE."""
        if self.sending.end():
            self._send(messages.channel_eof(self.remote_id))

    def close(self) -> None:
        """Send CLOSE, once. The number is free again when the peer has sent it too.

        An unconfirmed open is closed as soon as the confirmation comes.
        """
        if self.sending.close():
            self._send(messages.channel_close(self.remote_id))

    def request(self, name: str, data: bytes = b"") -> None:
        """Send a channel request without reply to a session; nothing after CLOSE."""
        if not (self.receiving.is_opening or self.sending.has_left):
            self._send(messages.channel_request(self.remote_id, name, data))

    def consumed(self, count: int, *, keeps_up: bool = True) -> None:
        """Credit `count` bytes to the peer's window, because they were passed on, not only queued.

        `keeps_up`: nothing is left that waits for the reader.
        """
        receiving = self.receiving
        if receiving.phase is not _OPEN or self.sending.phase is _CLOSED:
            return
        grant = receiving.window.give_back(count, keeps_up=keeps_up)
        if grant:
            self._send(messages.channel_window_adjust(self.remote_id, grant))

    # Messages of the peer. Called by the connection.

    def on_confirmed(self, remote_id: int, window: int, packet_max: int) -> None:
        """The peer confirmed with its number, window and packet size."""
        if not self.receiving.is_opening:
            raise ProtocolError("a channel was confirmed twice")
        if self.begin(remote_id, window, packet_max):
            self.handler.opened()
        else:  # abandoned while it was being opened
            self._send(messages.channel_close(remote_id))

    def begin(self, remote_id: int, window: int, packet_max: int) -> bool:
        """Both sides know the channel, so data may flow. Returns whether it is still wanted."""
        is_wanted = self.sending.begin(window, packet_max)
        self.receiving.begin()
        self.remote_id = remote_id
        return is_wanted

    def on_refused(self, reason: int, description: str) -> None:
        """The peer refused to open it."""
        if self._lose():
            self.handler.open_failed(reason, description)

    def on_data(self, data: memoryview) -> None:
        """Bytes came; they must fit into the window that we gave."""
        receiving = self.receiving
        if receiving.phase is not _OPEN:  # as in `take`, without a call for every packet
            raise receiving.unexpected()
        receiving.window.take(len(data))
        # Empty data is no event, and costs no window: a handler must not have to keep it.
        if data and self.sending.phase is not _CLOSED:
            self.handler.data(data)

    def on_extended_data(self, data: bytes) -> None:
        """Standard error came; it is credited at once."""
        self.receiving.take(len(data))
        if data and self.sending.phase is not _CLOSED:
            self.handler.stderr(data)
        self.consumed(len(data))

    def on_window_adjust(self, count: int) -> None:
        """The peer accepts `count` more bytes."""
        self.sending.widen(count)
        if self.sending.phase is not _CLOSED:
            self.handler.window_opened()

    def on_eof(self) -> None:
        """The peer sends no more."""
        if self.receiving.end() and self.sending.phase is not _CLOSED:
            self.handler.eof()

    def on_close(self) -> None:
        """The peer closed: answer with CLOSE unless it was sent, and free the number."""
        self.receiving.close()
        is_news = self.sending.close()
        if is_news:
            self._send(messages.channel_close(self.remote_id))
        self._forget(self)
        if is_news:
            self.handler.closed()

    def on_lost(self) -> None:
        """The connection is gone."""
        if self._lose():
            self.handler.closed()

    def _lose(self) -> bool:
        """Whether the handler has not closed the channel, and gets events."""
        is_news = not self.sending.has_left
        self.sending.lose()
        self.receiving.lose()
        return is_news
