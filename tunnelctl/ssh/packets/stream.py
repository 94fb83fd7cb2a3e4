"""The packets of one link once the event loop owns its socket: received, opened, sealed, sent.

Owns the socket, the ciphers of both directions, and the bytes that are written but not yet sent.
Small messages are corked until the end of the turn; channel data goes from the local socket to this
one through sealed slots, without a copy. Must never block, and never seal a message out of the
order in which it will be sent.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from tunnelctl import clock
from tunnelctl.net.buffers import SLOT_DATA, SlotArea
from tunnelctl.net.endings import reset_when_killed
from tunnelctl.net.gathering import Gathering
from tunnelctl.net.reactor import FAILED, HANGUP, READABLE, WRITABLE, Handler, Reactor
from tunnelctl.ssh.packets.ciphers import SEQUENCE_MASK, Opener, Sealer
from tunnelctl.ssh.packets.handover import Direction, PacketState
from tunnelctl.wire.messages import ProtocolError

# More corked bytes than this are sent before the turn ends, so that many streams do not accumulate
# them.
_CORK_MAX: Final = 256 * 1024
# A peer that sends requests and never reads the replies is disconnected before they fill the
# memory: bytes that the socket does not take, and messages that wait for new keys. Channel data
# waits in its own socket.
_BACKLOG_MAX = 8 * 1024 * 1024
_HELD_MAX: Final = 32 * 1024
# Limit of packets opened in one turn: a peer may pack tens of thousands of messages into one read,
# and each takes longer than its bytes do. Bulk data comes in fewer packets, and takes less time.
_PACKETS_A_TURN: Final = 512
_SECONDS_A_TURN: Final = 0.005
_PACKETS_A_GLANCE: Final = 32  # at the clock


class PacketStream(Handler):
    """See the module's text. `receive(payload, sequence)` gets a view that is valid until it
    returns, or until `after_read` calls back. `lost(error)` is called once when the socket or the
    peer fails, or when the peer ends the stream (None).
    """

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        state: PacketState,
        receive: Callable[[memoryview, int], None],
        lost: Callable[[OSError | ProtocolError | None], None],
    ) -> None:
        self._reactor = reactor
        self._buffers = reactor.buffers
        self._sock = sock
        self._fd = sock.fileno()
        self._state = state
        self._receive = receive
        self._lost = lost
        self._stash = state.unread
        self._cork = bytearray()
        # Bytes that the socket did not take: views into borrowed areas, or bytes.
        self._unsent: deque[tuple[memoryview, SlotArea | None]] = deque()
        self._backlog = 0  # how many of them are bytes of messages
        self._parked: deque[Callable[[], None]] = deque()
        self._deliveries: list[Callable[[], None]] = []
        self._corked = False
        self._readable = True
        self._hangup = False
        # The socket has ended, and why (None: the peer ended it in order). Packets before the end
        # are opened first, because they may say why, or hold the reply that a request waits for.
        self._has_ended = False
        self._error: OSError | None = None
        self._paused = False
        self._reads_soon = False
        self._gave_way = False  # the stash may hold whole packets, for the next turn
        self._held: list[tuple[bytes, Callable[[int], None] | None]] | None = None
        self._is_closed = False
        self.bytes_sent = 0  # under the present keys
        self.bytes_received = 0  # under the present keys
        self.packets_received = 0  # under the present keys
        self.heard_at = clock.monotonic()  # time at which the peer last sent anything
        self._gathering = Gathering(reactor.loop, sock, self._overdue)
        sock.setblocking(False)
        reactor.register(self._fd, self)
        self._read_soon()

    def close(self) -> None:
        """Send as much of the corked messages as the socket takes, and close it."""
        if self._is_closed:
            return
        if self._cork and not self._unsent:
            with contextlib.suppress(OSError):
                self._sock.send(self._cork)
        self._is_closed = True
        self._gathering.close()
        self._reactor.unregister(self._fd)
        self._sock.close()
        self._parked.clear()
        while self._unsent:
            self._give_back(self._unsent.popleft()[1])

    def cut(self) -> None:
        """Close the socket with a reset; what was not sent is dropped."""
        if not self._is_closed:
            self._cork.clear()
            reset_when_killed(self._sock)
            self.close()

    # Sending.

    @property
    def is_blocked(self) -> bool:
        """Whether channel data must wait: the socket is full, or a key exchange is under way."""
        return bool(self._unsent) or self._held is not None or self._is_closed

    @property
    def is_contended(self) -> bool:
        """Whether several streams wait for room."""
        return len(self._parked) > 2

    def park(self, resume: Callable[[], None]) -> None:
        """Call `resume` once when the stream is no longer blocked, in the order of parking."""
        self._parked.append(resume)

    def send(self, payload: bytes, numbered: Callable[[int], None] | None = None) -> None:
        """Send one message of the connection protocol, at the latest at the end of the turn;
        `numbered` is called with the number of its packet."""
        if self._held is not None:
            self._held.append((payload, numbered))
            if len(self._held) > _HELD_MAX:
                self._fail_soon(_asks_too_much())
        else:
            self.send_now(payload, numbered)

    def send_now(self, payload: bytes, numbered: Callable[[int], None] | None = None) -> None:
        """As `send`, but also during a key exchange."""
        if self._is_closed:
            return
        if numbered is not None:
            numbered(self._state.sent)
        self._put(self._state.sealer.seal(payload, self._state.sent))

    def _put(self, packet: bytes) -> None:
        """Cork a packet that was just sealed."""
        self._state.sent = (self._state.sent + 1) & SEQUENCE_MASK
        self.bytes_sent += len(packet)
        self._cork += packet
        if not self._corked:
            self._corked = True
            self._reactor.at_end_of_turn(self._flush)
        elif len(self._cork) > _CORK_MAX:
            self._flush()

    def send_slots(self, recipient: int, count: int) -> None:
        """Send `count` bytes of channel data, which are in the slots of `buffers.plain`.

        Only if not `is_blocked`. A single short packet is corked, a batch is sent at once.
        """
        buffers, sealer, sequence = self._buffers, self._state.sealer, self._state.sent
        if count < SLOT_DATA:
            self._put(sealer.seal_short(buffers.plain, recipient, count, sequence))
            return
        packets, area = sealer.seal_slots(buffers, recipient, count, sequence)
        self._state.sent = (sequence + -(-count // SLOT_DATA)) & SEQUENCE_MASK
        self.bytes_sent += len(packets)
        self._move_cork()
        self._unsent.append((packets, area))
        if area is None:
            self._backlog += len(packets)
        self._flush()

    def _move_cork(self) -> None:
        if self._cork:
            self._unsent.append((memoryview(bytes(self._cork)), None))
            self._backlog += len(self._cork)
            self._cork.clear()
            if self._backlog > _BACKLOG_MAX:
                self._fail_soon(_asks_too_much())

    def _flush(self) -> None:
        """Send until nothing is left or the socket is full."""
        self._corked = False
        if self._is_closed:
            return
        if not self._unsent and self._cork:
            # The usual case: one send for the messages of a turn, without a queue.
            sent = self._try_send(self._cork)
            if sent == len(self._cork):
                self._cork.clear()
                return
            del self._cork[:sent]
        self._move_cork()
        while self._unsent:
            view, area = self._unsent[0]
            sent = self._try_send(view)
            if area is None:
                self._backlog -= sent
            if sent < len(view):
                self._unsent[0] = (view[sent:], area)
                self._reactor.expect_writable(self._fd)
                return
            self._unsent.popleft()
            self._give_back(area)

    def _try_send(self, data: memoryview | bytearray) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._cannot_send(error)
            return 0

    def _cannot_send(self, error: OSError) -> None:
        """End once the packets that the peer sent before are handled; at once if the stream is
        paused."""
        if self._paused:
            self._fail_soon(error)
        elif self._error is None:
            self._error = error
            self._readable = True
            self._read_soon()

    def _give_back(self, area: SlotArea | None) -> None:
        if area is not None:
            self._buffers.return_sealed(area)

    def _resume_parked(self) -> None:
        for _ in range(len(self._parked)):
            if self.is_blocked:
                return
            self._parked.popleft()()

    # Key exchange.

    def hold(self) -> None:
        """Our KEXINIT is sealed: messages of the connection protocol wait for the new keys."""
        if self._held is None:
            self._held = []

    def use_sealer(self, sealer: Sealer) -> None:
        """Switch to new outbound keys, and send the messages that waited for them."""
        self._state.sealer = sealer
        self.bytes_sent = 0
        held, self._held = self._held, None
        for payload, numbered in held or ():
            self.send_now(payload, numbered)
        self._resume_parked()

    def use_opener(self, opener: Opener) -> None:
        """Switch to new inbound keys."""
        self._state.opener = opener
        self.bytes_received = self.packets_received = 0

    def reset_sequence(self, direction: Direction) -> None:
        """See PacketState."""
        self._state.reset_sequence(direction)

    def pause(self) -> None:
        """Open no packets until `unpause`: the next one may need new keys."""
        self._paused = True

    def unpause(self) -> None:
        """Go on with the bytes that were received."""
        self._paused = False
        self._read_soon()

    # Receiving.

    def ready(self, events: int) -> None:
        """Handle an event of the socket from the reactor."""
        if events & WRITABLE and (self._unsent or self._parked):
            self._flush()
            self._resume_parked()
        if events & (READABLE | HANGUP | FAILED):
            self._readable = True
            if events & (HANGUP | FAILED):
                self._hangup = True
            self._read()

    def _read_soon(self) -> None:
        """Go on reading in the next turn; once, however often it is called."""
        if not self._reads_soon:
            self._reads_soon = True
            self._reactor.soon(self._read_on)

    def _read_on(self) -> None:
        self._reads_soon = False
        self._read()

    def _read(self) -> None:
        """Open the packets in the stash, then receive once; the next turn goes on if there may be
        more."""
        if self._paused or self._is_closed:
            return
        room = self._buffers.receive
        kept = len(self._stash)
        if kept:
            room[:kept] = self._stash
            self._stash = b""
        try:
            # Bytes that fill the area, after a pause or a yield, are opened first.
            fits = self._readable and kept < len(room) // 2
            end = kept + (self._fill(room[kept:] if kept else room) if fits else 0)
            opened = self._open_packets(room, end)
        except ProtocolError as error:
            self._fail(error)
            return
        if self._is_closed:
            return
        if opened < end:
            self._stash = bytes(room[opened:end])
        if self._has_ended and not self._gave_way and not self._paused:
            self._fail(self._error)
            return
        if (self._readable or self._gave_way) and not self._paused:
            self._read_soon()

    def _fill(self, room: memoryview) -> int:
        try:
            count = self._sock.recv_into(room)
        except (BlockingIOError, InterruptedError):
            self._drained()
            self._has_ended = self._error is not None
            return 0
        except OSError as error:
            self._error = self._error or error
            count = 0
        if count == 0:
            self._has_ended = True
            self._readable = False
            return 0
        if count < len(room) and not self._hangup:
            self._drained()
        self.bytes_received += count
        self.heard_at = clock.monotonic()
        self._gathering.received(count, self.heard_at)
        return count

    def _overdue(self) -> None:
        """Less arrived than the minimum that was to be gathered."""
        self._readable = True
        self._read_soon()

    def _drained(self) -> None:
        self._readable = False
        self._reactor.expect_readable(self._fd)

    def after_read(self, deliver: Callable[[], None]) -> None:
        """Call `deliver` when every packet of the read under way was passed on. Views of their
        payloads are valid until then."""
        self._deliveries.append(deliver)

    def _open_packets(self, room: memoryview, end: int) -> int:
        """Pass on the whole packets before `end`, at most as many as a turn allows; returns where
        the first packet begins that was not passed on."""
        state, opened, start = self._state, self._buffers.opened, 0
        count, turn_ends = 0, clock.monotonic() + _SECONDS_A_TURN
        self._gave_way = False
        try:
            while start < end and not self._paused and not self._is_closed:
                sequence = state.received
                size = state.opener.size(room, start, end, sequence)
                if not size or size > end - start:
                    break
                # Each payload has its own place, because it may still be needed after the next one.
                payload = state.opener.open(room, start, start + size, sequence, opened)
                state.received = (sequence + 1) & SEQUENCE_MASK
                start += size
                self._receive(payload, sequence)
                count += 1
                if count % _PACKETS_A_GLANCE == 0 and (
                    count >= _PACKETS_A_TURN or clock.monotonic() > turn_ends
                ):
                    self._gave_way = True
                    break
        finally:
            self.packets_received += count
            deliveries, self._deliveries = self._deliveries, []
            for deliver in deliveries:
                deliver()
        return start

    def _fail_soon(self, error: OSError | ProtocolError) -> None:
        """Not at once: the caller may be in the middle of sending, and must not find itself
        closed."""
        self._reactor.soon(lambda: self._fail(error))

    def _fail(self, error: OSError | ProtocolError | None) -> None:
        if not self._is_closed:
            self.close()
            self._lost(error)


def _asks_too_much() -> ProtocolError:
    return ProtocolError("the peer asks for more than it reads")
