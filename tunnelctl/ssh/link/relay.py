"""Bytes between one local socket and one SSH channel, both ways.

Owns the socket from the moment it is given one. Half-close is kept in both directions. The
promise is that a stream that was cut never looks complete: the socket sees FIN only where the
far side sent EOF, or CLOSE on a link that lives (RFC 4254 section 5.3; Go's x/crypto and Twisted
send nothing else), after everything that came before it. It sees a reset in every other case.
Credit goes back to the peer when the socket took the bytes, so a slow reader holds up its own
sender and nobody else. Which state each direction is in is in `flows.py`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from tunnelctl.net.buffers import SLOT_DATA, SLOTS
from tunnelctl.net.endings import (
    close_in_order,
    is_unsent,
    probe_often,
    reset,
    send_fin,
    take_leave,
)
from tunnelctl.net.gathering import widen
from tunnelctl.net.reactor import FAILED, GONE, HANGUP, READABLE, WRITABLE, Handler, Reactor
from tunnelctl.net.unread import LastByte, can_tell
from tunnelctl.ssh.link.flows import FromSocket, Reading, ToSocket, Writing, last_bytes
from tunnelctl.ssh.link.link import Link
from tunnelctl.wire.channel import Channel, ChannelHandler
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.halves import Phase

# Fewer than IOV_MAX, which sendmsg(2) takes at most.
_VIEWS_A_SEND: Final = 512
# Where several streams wait for the link: small shares, or whoever has most to send takes most.
_SLOTS_A_TURN: Final = 2
# Looked up once: they are asked for with every event of a socket.
_OPENING: Final = Reading.OPENING
_CLOSED: Final = Reading.CLOSED
# Seconds between looks at a reader that does not have everything yet.
_LOOK_FIRST: Final = 0.02
_LOOK_LAST: Final = 1.0


class Traffic:
    """Counts what passes, seen from the socket. This one does not."""

    def from_socket(self, count: int) -> None:
        """Bytes went from the socket into the channel."""

    def to_socket(self, count: int) -> None:
        """Bytes went from the channel into the socket."""


class Relay(ChannelHandler, Handler):
    """Handles the events of the channel, and those of the socket (`reactor.Handler`).

    `on_end(relay)` is called once, when both are done with. `on_refused(reason, description)`
    comes before it when the peer refused to open the channel; what it returns is the socket's
    last word before FIN, and nothing means a reset.
    """

    tells_cuts = True  # where it takes some doing (net/unread.py)

    def __init__(
        self,
        reactor: Reactor,
        link: Link,
        sock: socket.socket,
        traffic: Traffic,
        on_end: Callable[[Relay], None],
        on_refused: Callable[[int, str], bytes] | None = None,
    ) -> None:
        self._reactor = reactor
        self._link = link
        self._stream = link.stream
        self._sock = sock
        self._fd = sock.fileno()
        self._traffic = traffic
        self._on_end = on_end
        self._on_refused = on_refused
        self._channel: Channel | None = None
        self._from_socket = FromSocket()
        self._to_socket = ToSocket()
        self._greeting = self._early = b""
        keeps = self.tells_cuts and reactor.is_edge_triggered and can_tell(sock)
        self._last_byte = LastByte(sock) if keeps else None

    def open(self, kind: str, data: bytes, *, greeting: bytes = b"", early: bytes = b"") -> None:
        """Ask the peer for a channel; bytes flow when it confirms. A client that goes meanwhile is
        not waited for.

        `greeting` goes to the socket first, `early` is what the socket sent already.
        """
        self._greeting, self._early = greeting, early
        self._watch()
        self._channel = self._link.connection.open_channel(kind, data, self)

    def accept(self, incoming: IncomingOpen) -> None:
        """Accept a channel that the peer asked for; the socket is connected already."""
        self._channel = incoming.accept(self)
        self.opened()

    def adopt(self, channel: Channel, early: bytes) -> None:
        """Take over a channel that is open, with what came over it already."""
        self._channel = channel
        channel.handler = self
        self.opened()
        if early:
            self.data(memoryview(early))
            self._deliver()
        if channel.receiving.phase is Phase.ENDED:
            self.eof()

    def abort(self) -> None:
        """End both sides at once: CLOSE to the peer, a reset to the socket."""
        if not self._to_socket.is_closed:
            self._local_failed()

    # The channel.

    def opened(self) -> None:
        self._watch()
        self._from_socket.open()
        if self._greeting:
            with contextlib.suppress(OSError):  # a socket that is gone says so when it is read
                self._sock.send(self._greeting)
        self._pump()

    def _watch(self) -> None:
        if self._from_socket.watch():
            self._reactor.register(self._fd, self)

    def open_failed(self, reason: int, description: str) -> None:
        farewell = self._on_refused(reason, description) if self._on_refused else b""
        if farewell:
            take_leave(self._sock, farewell)
        self._end(by_reset=not farewell)

    def data(self, data: memoryview) -> None:
        to_socket = self._to_socket
        if to_socket.pending:
            self._keep(data)
            return
        if not to_socket.arrived:
            self._stream.after_read(self._deliver)
        to_socket.arrived.append(data)

    def _deliver(self) -> None:
        """Give the socket everything that came with one read, in as few sends as can be."""
        to_socket = self._to_socket
        arrived, to_socket.arrived = to_socket.arrived, []
        for start in range(0, len(arrived), _VIEWS_A_SEND):
            views = arrived[start : start + _VIEWS_A_SEND]
            left = self._send(views) if not to_socket.pending else sum(map(len, views))
            if to_socket.state is Writing.CLOSED:
                return
            for view in last_bytes(views, left) if left else ():
                self._keep(view)

    def _keep(self, data: memoryview) -> None:
        """Until the socket takes it."""
        if self._to_socket.keep(data):
            self._reactor.expect_writable(self._fd)

    def eof(self) -> None:
        self._deliver()
        self._to_socket.eof()
        self._settle()

    def closed(self) -> None:
        self._deliver()
        if self._to_socket.is_closed:
            return
        if self._link.connection.is_lost:
            self._end(by_reset=True)
        else:
            self._to_socket.close()
            self._settle()

    def window_opened(self) -> None:
        if self._from_socket.feed():
            self._reactor.soon(self._resume)

    # The socket.

    def ready(self, events: int) -> None:
        """See reactor.Handler."""
        flow = self._from_socket
        if flow.state is _CLOSED:
            return
        if events & FAILED:
            self._local_failed()
            return
        if flow.state is _OPENING:
            self._waits(events)
            return
        if events & WRITABLE and self._to_socket.pending:
            self._flush()
        if events & READABLE:
            if events & HANGUP:
                flow.has_fin = True
            if flow.readable():
                self._pump()

    def _waits(self, events: int) -> None:
        """Something happened before the channel was there: what there is to read is read then."""
        if events & GONE:
            self._local_failed()
        elif events & HANGUP:
            self._from_socket.has_fin = True
            probe_often(self._sock)

    def _go_on(self) -> None:
        """Read on in another turn, so that others get theirs."""
        self._from_socket.wait()
        self._reactor.soon(self._resume)

    def _resume(self) -> None:
        if self._from_socket.turn():
            self._pump()

    def _pump(self) -> None:
        """Move one batch from the socket into the channel, and say what comes after it."""
        flow, channel = self._from_socket, self._channel
        assert channel is not None  # as long as it is not closed
        if self._stream.is_blocked:
            flow.wait()
            self._stream.park(self._resume)
            return
        sending = channel.sending
        room = sending.room()
        if not room:
            flow.starve()
            return
        if self._early:
            sent = channel.send_data(self._early)
            self._early = self._early[sent:]
            self._traffic.from_socket(sent)
            self._go_on()
            return
        try:
            count, asked = self._receive(room, sending.packet_max)
        except (BlockingIOError, InterruptedError):
            self._drained()
            return
        except OSError:
            self._local_failed()
            return
        if not count:
            flow.end()
            channel.send_eof()
            self._end_if_done()
            return
        sending.sent(count)
        self._traffic.from_socket(count)
        self._stream.send_slots(channel.remote_id, count)
        flow.is_bulk = count >= SLOT_DATA
        if flow.is_bulk and not flow.is_wide:
            flow.is_wide = True
            widen(self._sock)
        if count < asked and not flow.has_fin:
            self._drained()
        else:
            self._go_on()

    def _receive(self, room: int, packet_max: int) -> tuple[int, int]:
        """Read into the slots; how many bytes came, and how many could have."""
        slots = self._reactor.buffers.plain
        if self._from_socket.is_bulk and room >= 2 * SLOT_DATA and packet_max >= SLOT_DATA:
            batch = min(_SLOTS_A_TURN if self._stream.is_contended else SLOTS, room // SLOT_DATA)
            return self._sock.recvmsg_into(slots.first[batch])[0], batch * SLOT_DATA
        asked = min(room, packet_max, SLOT_DATA)
        if self._last_byte is not None:
            view = slots.data[0][:asked]
            return self._last_byte.receive(view, has_ended=self._from_socket.has_fin), asked
        return self._sock.recv_into(slots.data[0], asked), asked

    def _drained(self) -> None:
        self._from_socket.drained()
        self._reactor.expect_readable(self._fd)

    def _send(self, views: Sequence[memoryview | bytearray]) -> int:
        """Give bytes to the socket; how many are left."""
        try:
            if len(views) == 1:
                size, taken = len(views[0]), self._sock.send(views[0])
            else:
                size, taken = sum(map(len, views)), self._sock.sendmsg(views)
        except (BlockingIOError, InterruptedError):
            return sum(map(len, views))
        except OSError:
            self._local_failed()
            return 0
        if self._channel is not None:
            self._channel.consumed(
                taken, keeps_up=taken == size and len(self._to_socket.pending) <= 1
            )
        self._traffic.to_socket(taken)
        return size - taken

    def _flush(self) -> None:
        pending = self._to_socket.pending
        while pending:
            first = pending[0]
            left = self._send([first])
            if self._to_socket.is_closed:
                return
            if left:
                del first[:-left]
                self._reactor.expect_writable(self._fd)
                return
            pending.popleft()
        self._settle()

    # The end.

    def _settle(self) -> None:
        """What is due once the socket took all that came before EOF or CLOSE."""
        if self._to_socket.finish():
            self._finish_writing()
        if self._to_socket.is_last():
            self._end_at_close()

    def _finish_writing(self) -> None:
        """The far side sent EOF and the socket has everything before it: FIN."""
        if not self._from_socket.has_ended:  # else closing it is the FIN
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._local_failed()
                return
        self._end_if_done()

    def _end_at_close(self) -> None:
        """The far side sent CLOSE and the socket has everything before it: FIN.

        What becomes of the link meanwhile does not matter: nothing more was to come over it.
        OpenSSH drains, too, and then sends FIN (nchan.c, chan_rcvd_oclose).
        """
        # Our own relay on the other side says EOF before CLOSE wherever its socket ended in order,
        # so its CLOSE alone means that the socket broke.
        if not (self._to_socket.was_cut and self._link.info.software.is_tunnelctl):
            self._to_socket.end()
            send_fin(self._sock)
        self._end_when_sent(_LOOK_FIRST)

    def _end_when_sent(self, wait: float) -> None:
        """Close once the reader has everything; look again in `wait` seconds if it has not.

        A reset drops what the kernel has not delivered, and it also closes with one where bytes
        came that nobody read. A slow reader is waited for as long as it lives.
        """
        if self._to_socket.is_closed:
            return
        by_reset = self._to_socket.was_cut
        if is_unsent(self._sock) and (by_reset or not self._from_socket.has_ended):
            look = partial(self._end_when_sent, min(2 * wait, _LOOK_LAST))
            self._reactor.loop.call_later(wait, look)
        else:
            self._end(by_reset=by_reset)

    def _end_if_done(self) -> None:
        if self._from_socket.has_ended and self._to_socket.has_sent_fin:
            assert self._channel is not None
            self._channel.close()
            self._end(by_reset=False)

    def _local_failed(self) -> None:
        """The socket broke; there is no EOF to pass on, only the end."""
        if self._channel is not None:
            self._channel.close()
        self._end(by_reset=True)

    def _end(self, *, by_reset: bool) -> None:
        if self._to_socket.is_closed:
            return
        self._from_socket.close()
        self._to_socket.drop()
        self._reactor.unregister(self._fd)
        if by_reset:
            reset(self._sock)
        else:
            close_in_order(self._sock)
        # Each holds the other: without this only a garbage collection would let go of the two.
        self._channel = None
        self._on_end(self)
