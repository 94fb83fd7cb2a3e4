"""The packet layer that paramiko's Transport talks to, in two phases.

Blocking: until authentication has succeeded, the Transport's thread reads and writes the socket
here, within one deadline. Parked: from then on the event loop owns the socket. The thread waits
in `read_message` for the messages of key exchange that the loop hands it, one at a time; what it
sends, and the ciphers that it makes, go back to the loop in order. So NEWKEYS switches ciphers
at the right byte, and no cipher state is ever touched by two threads.

Must never read a length or a line without a limit, nor wait without a deadline.
"""

from __future__ import annotations

import contextlib
import queue
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

import paramiko
from paramiko.common import MSG_NAMES
from paramiko.packet import NeedRekeyException, Packetizer

from tunnelctl import clock
from tunnelctl.ssh.failures import DeadlinePassed
from tunnelctl.ssh.packets.chacha import ChaChaKeys
from tunnelctl.ssh.packets.ciphers import (
    SEQUENCE_MASK,
    GcmOpener,
    GcmSealer,
    Mac,
    MacOpener,
    MacSealer,
    Opener,
    Sealer,
)
from tunnelctl.wire.messages import Message, ProtocolError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# A handshake's messages are short. Room for long ones would be cut down to these, again and again,
# and leave holes in the memory that many logins at once have spread over.
_RECEIVE_SIZE = 8 * 1024
# RFC 4253 section 4.2 allows 255 bytes a line; servers send longer ones before the version.
_LINE_MAX = 8 * 1024
_FIRST_BLOCK = 8
# What a server may send before it has let us in: keys, banners and questions are a few dozen
# messages. Without a limit it could keep a thread at work for as long as the handshake may take.
_PACKETS_BEFORE_LOGIN = 4_096
_BYTES_BEFORE_LOGIN = 16 << 20
# RFC 4250 section 4.1.2: transport layer messages of algorithm negotiation and of key exchange.
_OF_KEX = (20, 49)


class LoopSide(Protocol):
    """What the parked thread tells the event loop; every method may be called from the thread."""

    def post_message(self, payload: bytes) -> None:
        """Send this message of key exchange."""

    def post_sealer(self, sealer: Sealer) -> None:
        """Seal everything after this with the new keys."""

    def post_opener(self, opener: Opener) -> None:
        """Open everything after this with the new keys."""

    def post_sequence_reset(self, outbound: bool) -> None:
        """Strict key exchange: count packets from zero again."""

    def post_ready(self) -> None:
        """The thread is done with the message it was handed."""

    def post_ended(self) -> None:
        """The thread leaves, because of an error or because it was told to."""


class _Command(Enum):
    REKEY = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class _Handed:
    """A message that the loop handed to the thread."""

    payload: bytes
    sequence: int


@dataclass(slots=True)
class PacketState:
    """What changes hands with the socket: ciphers, sequence numbers and bytes already read."""

    sealer: Sealer
    opener: Opener
    sent: int = 0
    received: int = 0
    unread: bytes = b""


class SshPacketizer(Packetizer):
    """Replaces paramiko's packetizer whole; see the module's text for its two phases."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.deadline: float | None = None
        self.skips_write = False  # the next `write_all` was done by somebody else
        self._sock = sock
        self._is_closed = False
        self._unsent: OSError | None = None  # why nothing more can be sent
        self._state = PacketState(MacSealer(None, 8, None), MacOpener(None, 8, None))
        self._buffer = bytearray()
        self._sending = threading.Lock()
        self._packets_before_login = self._bytes_before_login = 0
        self._asked_in = False
        self._authenticated = False
        self._loop_side: LoopSide | None = None
        self._handed: queue.SimpleQueue[_Handed | _Command] = queue.SimpleQueue()
        self._has_handed = False  # the thread is at work on a message of the loop's
        self._rekey_wanted = False
        self._skips = False
        self._new_directions = 0
        self._on_parked: Callable[[], None] | None = None
        self._parked = False

    # The loop's side.

    def take_over(self, loop_side: LoopSide) -> PacketState:
        """Give the socket's packets to the loop, once `is_parked`."""
        state, self._loop_side = self._state, loop_side
        state.unread = bytes(self._buffer)
        self._buffer.clear()
        self._on_parked = None
        return state

    def when_parked(self, callback: Callable[[], None]) -> None:
        """Call back, from some thread, when the Transport's thread leaves the socket alone."""
        self._on_parked = callback
        if self._parked:
            callback()

    def hand(self, payload: bytes, sequence: int) -> None:
        """Let the thread handle one message; it answers with `post_ready`."""
        self._handed.put(_Handed(payload, sequence))

    def rekey(self) -> None:
        """Let the thread start a key exchange."""
        self._rekey_wanted = True
        self._handed.put(_Command.REKEY)

    def end(self) -> None:
        """Let the parked thread leave."""
        self._handed.put(_Command.END)

    # What the Transport calls.

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    def close(self) -> None:
        """Close the socket, which ends any wait, and let a parked thread leave."""
        self._is_closed = True
        if self._loop_side is not None:
            self._loop_side.post_ended()
        else:
            with contextlib.suppress(OSError):  # never connected, or closed already
                self._sock.shutdown(socket.SHUT_RDWR)
            self._sock.close()
        self.end()

    def need_rekey(self) -> bool:
        """Whether the Transport shall start a key exchange."""
        return self._rekey_wanted

    def start_handshake(self, timeout: float) -> None:
        """Our own deadline covers more than paramiko's timer."""

    def handshake_timed_out(self) -> bool:
        """See start_handshake."""
        return False

    def complete_handshake(self) -> None:
        """See start_handshake."""

    def set_keepalive(self, interval: float, callback: Callable[[], Any]) -> None:
        """The loop keeps the link alive; paramiko's timer would never run."""

    def set_outbound_compressor(self, compressor: object) -> None:
        """Refused: compression is never offered."""
        raise paramiko.SSHException("compression was not agreed on")

    def set_inbound_compressor(self, compressor: object) -> None:
        """Refused: compression is never offered."""
        raise paramiko.SSHException("compression was not agreed on")

    def reset_seqno_out(self) -> None:
        """Strict key exchange (OpenSSH PROTOCOL section 1.10)."""
        if self._loop_side is not None:
            self._loop_side.post_sequence_reset(outbound=True)
        else:
            self._state.sent = 0

    def reset_seqno_in(self) -> None:
        """Strict key exchange (OpenSSH PROTOCOL section 1.10)."""
        if self._loop_side is not None:
            self._loop_side.post_sequence_reset(outbound=False)
        else:
            self._state.received = 0

    def skip_guess(self) -> None:
        """The next message is a wrong guess of the peer's: pass it over (RFC 4253 section 7)."""
        self._skips = True

    def set_outbound_cipher(
        self,
        block_engine: Any,
        block_size: int,
        mac_engine: Any,
        mac_size: int,
        mac_key: Any,
        sdctr: bool = False,
        etm: bool = False,
        aead: bool = False,
        iv_out: bytes | None = None,
    ) -> None:
        """New keys for what we send."""
        sealer: Sealer
        if aead:
            assert iv_out is not None
            is_chacha = isinstance(block_engine, ChaChaKeys)
            sealer = block_engine.sealer() if is_chacha else GcmSealer(block_engine, iv_out)
        else:
            sealer = MacSealer(block_engine, block_size, Mac(mac_key, mac_engine, mac_size, etm))
        if self._loop_side is not None:
            self._loop_side.post_sealer(sealer)
        else:
            self._state.sealer = sealer
        self._renewed(1)

    def set_inbound_cipher(
        self,
        block_engine: Any,
        block_size: int,
        mac_engine: Any,
        mac_size: int,
        mac_key: Any,
        etm: bool = False,
        aead: bool = False,
        iv_in: bytes | None = None,
    ) -> None:
        """New keys for what we receive."""
        opener: Opener
        if aead:
            assert iv_in is not None
            is_chacha = isinstance(block_engine, ChaChaKeys)
            opener = block_engine.opener() if is_chacha else GcmOpener(block_engine, iv_in)
        else:
            opener = MacOpener(block_engine, block_size, Mac(mac_key, mac_engine, mac_size, etm))
        if self._loop_side is not None:
            self._loop_side.post_opener(opener)
        else:
            self._state.opener = opener
        self._renewed(2)

    def _renewed(self, direction: int) -> None:
        self._new_directions |= direction
        if self._new_directions == 3:
            self._new_directions = 0
            self._rekey_wanted = False

    def send_message(self, data: paramiko.Message) -> None:
        """Send one message of the handshake, or hand it to the loop."""
        payload = data.asbytes()
        if self._loop_side is not None:
            self._loop_side.post_message(payload)
            return
        if payload[0] == Message.USERAUTH_REQUEST:
            self._asked_in = True  # before the answer can be there
        # A server may ask for new keys while another thread of ours is logging in.
        with self._sending:
            state = self._state
            packet = state.sealer.seal(payload, state.sent)
            state.sent = (state.sent + 1) & SEQUENCE_MASK
            self.write_all(packet)
        if payload[0] == Message.USERAUTH_SUCCESS:  # we are the server, and let the client in
            self._authenticated = True

    def read_message(self) -> tuple[int, paramiko.Message]:
        """The next message for the Transport's thread.

        Raises:
            EOFError: the connection ended.
            SSHException: it broke the protocol or the deadline.
        """
        payload, sequence = self._read_message()
        # What may come at any time is not the guess (OpenSSH dispatch.c, ssh_dispatch_run).
        while self._skips and payload[0] > Message.DEBUG:
            self._skips = False
            payload, sequence = self._read_message()
        if payload[0] == Message.USERAUTH_SUCCESS:
            if not self._asked_in:
                raise paramiko.SSHException("a login that was not asked for")
            self._authenticated = True
        if _OF_KEX[0] <= payload[0] <= _OF_KEX[1] and payload[0] not in MSG_NAMES:
            # paramiko looks its name up, and would end with a KeyError.
            raise paramiko.SSHException(f"message {payload[0]} has no place in a key exchange")
        message = paramiko.Message(payload[1:])
        message.seqno = sequence
        return payload[0], message

    def _read_message(self) -> tuple[bytes, int]:
        return self._read_handed() if self._authenticated else self._read_packet()

    def _read_handed(self) -> tuple[bytes, int]:
        if not self._parked:
            self._parked = True
            if (tell := self._on_parked) is not None:
                tell()
        elif self._loop_side is not None and self._has_handed:
            # Once for each message that was handed, or the loop would open the packet after
            # NEWKEYS with the old keys: a command to start the exchange paused nothing.
            self._loop_side.post_ready()
        handed = self._handed.get()
        self._has_handed = isinstance(handed, _Handed)
        if handed is _Command.REKEY:
            raise NeedRekeyException
        if not isinstance(handed, _Handed):
            raise EOFError
        return handed.payload, handed.sequence

    def _read_packet(self) -> tuple[bytes, int]:
        """One packet, blocking, while no loop owns the socket."""
        state = self._state
        try:
            self._fill(_FIRST_BLOCK)
            while not (size := self._packet_size()):
                self._fill(len(self._buffer) + 1)
            self._fill(size)
            packet = bytes(self._buffer[:size])
            del self._buffer[:size]
            room = memoryview(bytearray(size))
            payload = bytes(state.opener.open(memoryview(packet), 0, size, state.received, room))
        except ProtocolError as error:
            raise paramiko.SSHException(str(error)) from None
        self._count(size)
        sequence = state.received
        state.received = (state.received + 1) & SEQUENCE_MASK
        return payload, sequence

    def _count(self, size: int) -> None:
        self._packets_before_login += 1
        self._bytes_before_login += size
        if (
            self._packets_before_login > _PACKETS_BEFORE_LOGIN
            or self._bytes_before_login > _BYTES_BEFORE_LOGIN
        ):
            raise paramiko.SSHException("the peer says too much before the login is over")

    def _packet_size(self) -> int:
        state, came = self._state, len(self._buffer)
        return state.opener.size(memoryview(self._buffer), 0, came, state.received)

    def readline(self, timeout: float) -> str:
        """One line of the peer's banner, without its end."""
        while b"\n" not in self._buffer:
            if len(self._buffer) > _LINE_MAX:
                raise paramiko.SSHException("the peer sent a banner line without an end")
            self._fill(len(self._buffer) + 1)
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        return line.rstrip(b"\r").decode("utf-8", "replace")

    def _fill(self, count: int) -> None:
        """Read until `count` bytes lie in the buffer."""
        while len(self._buffer) < count:
            self._wait(select.POLLIN)
            try:
                received = self._sock.recv(_RECEIVE_SIZE)
            except (BlockingIOError, TimeoutError):
                continue
            if not received:
                raise self._unsent or EOFError
            self._buffer += received

    def write_all(self, out: ReadableBuffer) -> None:
        """Send all of `out`, blocking.

        To a peer that has left nothing is sent, and its last words are still to be read: they say
        why. The read that finds no more of them raises the error.
        """
        if self.skips_write:
            self.skips_write = False
            return
        view = memoryview(out)
        while view and self._unsent is None:
            self._wait(select.POLLOUT)
            try:
                view = view[self._sock.send(view) :]
            except (BlockingIOError, TimeoutError):
                continue
            except (BrokenPipeError, ConnectionResetError) as error:
                self._unsent = error

    def _wait(self, event: int) -> None:
        """Wait for the socket until the deadline."""
        if self._is_closed:
            raise EOFError
        poll = select.poll()
        poll.register(self._sock, event)
        while not poll.poll(self._milliseconds_left()):
            # It may have been put off meanwhile: a person is asked.
            if self._milliseconds_left() == 0.0:
                raise DeadlinePassed("the handshake took too long")
        if self._is_closed:
            raise EOFError

    def _milliseconds_left(self) -> float | None:
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - clock.monotonic()) * 1000
