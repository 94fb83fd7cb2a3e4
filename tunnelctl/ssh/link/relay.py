"""Bytes between one local socket and one SSH channel, both ways.

Owns the socket from the moment it gets it. Half-close is kept in both directions. A stream that was
cut never looks complete: the socket gets FIN only after EOF of the far side, or CLOSE on a live
link (RFC 4254 section 5.3; Go's x/crypto and Twisted send nothing else), after everything that came
before it. In every other case it gets a reset. Credit is returned to the peer when the socket took
the bytes, so a slow reader delays its own sender only. The states of both directions are in
`flows.py`.
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
from tunnelctl.ssh.link.record import Ending, Record
from tunnelctl.ssh.link.tap import END, show_read, show_sent, wipe
from tunnelctl.wire.channel import Channel, ChannelHandler
from tunnelctl.wire.connection import IncomingOpen
from tunnelctl.wire.halves import Phase

# Less than IOV_MAX, the limit of sendmsg(2).
_VIEWS_A_SEND: Final = 512
# With several streams waiting for the link, shares are small, or the largest sender would get most
# of it.
_SLOTS_A_TURN: Final = 2
# Looked up once, because they are needed for every event of a socket.
_OPENING: Final = Reading.OPENING
_CLOSED: Final = Reading.CLOSED
# Seconds between checks of a reader that has not read everything yet.
_LOOK_FIRST: Final = 0.02
_LOOK_LAST: Final = 1.0


class Relay(ChannelHandler, Handler):
    """Handles the events of the channel, and those of the socket (`reactor.Handler`).

    `record` gets the bytes, and is told once how both have ended. `on_refused(reason, description)`
    comes before it when the peer refused to open the channel; it returns the last bytes for the
    socket before FIN, or nothing for a reset.
    """

    tells_cuts = True  # where needed (net/unread.py)

    def __init__(
        self,
        reactor: Reactor,
        link: Link,
        sock: socket.socket,
        record: Record,
        on_refused: Callable[[int, str], bytes] | None = None,
    ) -> None:
        self._reactor = reactor
        self._link = link
        self._stream = link.stream
        self._sock = sock
        self._fd = sock.fileno()
        self._record = record
        self._total = record.total
        self._tap = record.tap
        self._on_refused = on_refused
        self._channel: Channel | None = None
        self._from_socket = FromSocket()
        self._to_socket = ToSocket()
        self._greeting = self._early = b""
        keeps = self.tells_cuts and reactor.is_edge_triggered and can_tell(sock)
        self._last_byte = LastByte(sock) if keeps else None

    def open(self, kind: str, data: bytes, *, greeting: bytes = b"", early: bytes = b"") -> None:
        """Request a channel; bytes flow when the peer confirms. If the client leaves meanwhile, it
        is closed.

        `greeting` is sent to the socket first, `early` are bytes that were read from it already.
        """
        self._greeting, self._early = greeting, early
        self._watch()
        self._channel = self._link.connection.open_channel(kind, data, self)

    def accept(self, incoming: IncomingOpen) -> None:
        """Accept a channel that the peer requested; the socket is connected already."""
        self._channel = incoming.accept(self)
        self.opened()

    def adopt(self, channel: Channel, early: bytes) -> None:
        """Take over an open channel, with the bytes that came over it already."""
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
            self._break(Ending.CLOSED)

    @property
    def is_established(self) -> bool:
        """Whether the channel was opened."""
        return self._from_socket.is_established

    # The channel.

    def opened(self) -> None:
        self._watch()
        self._from_socket.open()
        if self._greeting:
            with contextlib.suppress(OSError):  # a socket that is gone reports it when it is read
                self._sock.send(self._greeting)
        self._pump()

    def _watch(self) -> None:
        if self._from_socket.watch():
            self._reactor.register(self._fd, self)

    def open_failed(self, reason: int, description: str) -> None:
        farewell = self._on_refused(reason, description) if self._on_refused else b""
        if farewell:
            take_leave(self._sock, farewell)
        self._end(Ending.REFUSED, by_reset=not farewell)

    def data(self, data: memoryview) -> None:
        to_socket = self._to_socket
        if to_socket.pending:
            self._keep(data)
            return
        if not to_socket.arrived:
            self._stream.after_read(self._deliver)
        to_socket.arrived.append(data)

    def _deliver(self) -> None:
        """Pass everything that came with one read to the socket, in as few sends as possible."""
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
        """Keep it until the socket takes it."""
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
            self._end(Ending.LINK_LOST, by_reset=True)
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
        """An event before the channel is open: the bytes are read later."""
        if events & GONE:
            self._local_failed()
        elif events & HANGUP:
            self._from_socket.has_fin = True
            probe_often(self._sock)

    def _go_on(self) -> None:
        """Continue reading in another turn, so that others get theirs."""
        self._from_socket.wait()
        self._reactor.soon(self._resume)

    def _resume(self) -> None:
        if self._from_socket.turn():
            self._pump()

    def _pump(self) -> None:
        """Move one batch from the socket into the channel, and decide how to continue."""
        flow, channel = self._from_socket, self._channel
        assert channel is not None  # until it is closed
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
            if self._tap is not None:
                self._tap.from_socket(memoryview(self._early)[:sent])
            self._early = self._early[sent:]
            self._record.from_socket += sent
            self._total.from_socket += sent
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
            if self._tap is not None:
                self._tap.from_socket(END)
            self._end_if_done()
            return
        self._pass_on(channel, count)
        flow.is_bulk = count >= SLOT_DATA
        if flow.is_bulk and not flow.is_wide:
            flow.is_wide = True
            widen(self._sock)
        if count < asked and not flow.has_fin:
            self._drained()
        else:
            self._go_on()

    def _pass_on(self, channel: Channel, count: int) -> None:
        """Send what was read into the slots."""
        channel.sending.sent(count)
        self._record.from_socket += count
        self._total.from_socket += count
        if self._tap is not None:  # before the bytes are encrypted in place
            show_read(self._tap, self._reactor.buffers.plain.data, count)
        self._stream.send_slots(channel.remote_id, count)
        if self._tap is not None:
            wipe(self._reactor.buffers.plain.data[0][:count])

    def _receive(self, room: int, packet_max: int) -> tuple[int, int]:
        """Read into the slots; returns how many bytes came, and how many could have."""
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
        """Send bytes to the socket; returns how many are left."""
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
        self._record.to_socket += taken
        self._total.to_socket += taken
        if self._tap is not None:
            show_sent(self._tap, views, taken)
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
        """Do what is due once the socket took everything that came before EOF or CLOSE."""
        if self._to_socket.finish():
            self._finish_writing()
        if self._to_socket.is_last():
            self._end_at_close()

    def _finish_writing(self) -> None:
        """The far side sent EOF and the socket has everything before it: FIN."""
        if self._tap is not None:
            self._tap.to_socket(END)
        if not self._from_socket.has_ended:  # else closing it sends FIN
            try:
                self._sock.shutdown(socket.SHUT_WR)
            except OSError:
                self._local_failed()
                return
        self._end_if_done()

    def _end_at_close(self) -> None:
        """The far side sent CLOSE and the socket has everything before it: FIN.

        The state of the link does not matter any more, because nothing else was to come over it.
        OpenSSH also drains and then sends FIN (nchan.c, chan_rcvd_oclose).
        """
        # Our own relay on the other side sends EOF before CLOSE if its socket ended cleanly, so
        # CLOSE alone means that the socket broke.
        if not (self._to_socket.was_cut and self._link.info.software.is_tunnelctl):
            self._to_socket.end()
            send_fin(self._sock)
        self._end_when_sent(_LOOK_FIRST)

    def _end_when_sent(self, wait: float) -> None:
        """Close once the reader has everything; check again in `wait` seconds if not.

        A reset drops what the kernel has not delivered, and closing with unread bytes sends one. A
        slow reader is waited for as long as it lives.
        """
        if self._to_socket.is_closed:
            return
        by_reset = self._to_socket.was_cut
        if is_unsent(self._sock) and (by_reset or not self._from_socket.has_ended):
            look = partial(self._end_when_sent, min(2 * wait, _LOOK_LAST))
            self._reactor.loop.call_later(wait, look)
        else:
            self._end(Ending.RESET_THERE if by_reset else Ending.FIN, by_reset=by_reset)

    def _end_if_done(self) -> None:
        if self._from_socket.has_ended and self._to_socket.has_sent_fin:
            assert self._channel is not None
            self._channel.close()
            self._end(Ending.FIN, by_reset=False)

    def _local_failed(self) -> None:
        """The socket broke: end without EOF."""
        self._pass_on_rest()
        self._break(Ending.RESET_HERE if self.is_established else Ending.LEFT)

    def _pass_on_rest(self) -> None:
        """Send what came before the socket broke, as far as it goes without waiting: a server that
        answers and closes without having read the whole request resets after its answer."""
        flow, channel = self._from_socket, self._channel
        if channel is None or self._early or not flow.is_established or flow.has_ended:
            return
        flow.is_bulk, flow.has_fin = False, True
        with contextlib.suppress(OSError):  # nothing is left
            while not self._stream.is_blocked and (room := channel.sending.room()):
                count, _ = self._receive(room, channel.sending.packet_max)
                if not count:
                    return
                self._pass_on(channel, count)

    def _break(self, how: Ending) -> None:
        if self._channel is not None:
            self._channel.close()
        self._end(how, by_reset=True)

    def _end(self, how: Ending, *, by_reset: bool) -> None:
        if self._to_socket.is_closed:
            return
        self._from_socket.close()
        self._to_socket.drop()
        self._reactor.unregister(self._fd)
        if by_reset:
            reset(self._sock)
        else:
            close_in_order(self._sock)
        # Each refers to the other; this breaks the cycle.
        self._channel = None
        self._record.ended(how)
