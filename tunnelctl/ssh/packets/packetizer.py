"""The packet layer under paramiko's Transport, in two phases.

Blocking: until authentication has succeeded, the Transport's thread reads and writes the socket
here, within one deadline. Parked: from then on the event loop owns the socket. The thread waits in
`read_message` for the messages of key exchange, which the loop passes to it one at a time; the
messages that it sends and the ciphers that it makes go back to the loop in order. So NEWKEYS
switches ciphers at the right byte, and no cipher state is ever used by two threads.

Owns the phase. The waits are in `blocking.py`, the interface to the loop in `handover.py`. Must
never let the thread use the socket once the loop has it.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.common import MSG_NAMES
from paramiko.packet import NeedRekeyException, Packetizer

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.packets.blocking import BlockingSocket
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
from tunnelctl.ssh.packets.handover import Direction, LoopSide, PacketState
from tunnelctl.wire.messages import Message, ProtocolError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_FIRST_BLOCK = 8
# Limit of what a server may send before the login has succeeded: keys, banners and questions are a
# few dozen messages. Without a limit it could keep a thread busy until the deadline.
_PACKETS_BEFORE_LOGIN = 4_096
_BYTES_BEFORE_LOGIN = 16 << 20
# RFC 4250 section 4.1.2: transport layer messages of algorithm negotiation and of key exchange.
_OF_KEX = (20, 49)


class _Command(Enum):
    REKEY = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class _Handed:
    """A message that the loop passed to the thread."""

    payload: bytes
    sequence: int


class SshPacketizer(Packetizer):
    """Replaces paramiko's packetizer as a whole; see the module's text for the two phases."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.skips_write = False  # the next `write_all` was already done elsewhere
        self._socket = BlockingSocket(sock)
        self._is_closed = False
        self._state = PacketState(MacSealer(None, 8, None), MacOpener(None, 8, None))
        self._sending = threading.Lock()
        self._packets_before_login = self._bytes_before_login = 0
        self._asked_in = False
        self._authenticated = False
        self._loop_side: LoopSide | None = None
        self._handed: queue.SimpleQueue[_Handed | _Command] = queue.SimpleQueue()
        self._has_handed = False  # the thread handles a message of the loop
        self._rekey_wanted = False
        self._skips = False
        self._renewed = Direction(0)  # directions whose keys the exchange under way has made
        self._on_parked: Callable[[], None] | None = None
        self._parked = False

    # Called by the loop.

    def take_over(self, loop_side: LoopSide) -> PacketState:
        """Hand the socket's packets over to the loop, once `is_parked`."""
        state, self._loop_side = self._state, loop_side
        state.unread = self._socket.take(len(self._socket.buffer))
        self._on_parked = None
        return state

    def when_parked(self, callback: Callable[[], None]) -> None:
        """Call back, from any thread, when the Transport's thread no longer uses the socket."""
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
        """Let the parked thread end."""
        self._handed.put(_Command.END)

    # Called by the Transport.

    @property
    def deadline(self) -> float | None:
        """The time of `clock.monotonic` at which every wait ends."""
        return self._socket.deadline

    @deadline.setter
    def deadline(self, moment: float | None) -> None:
        self._socket.deadline = moment

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._is_closed

    def close(self) -> None:
        """Close the socket, which ends any wait, and let a parked thread end."""
        self._is_closed = True
        if self._loop_side is not None:
            self._loop_side.post_ended()
        else:
            self._socket.close()
        self.end()

    def need_rekey(self) -> bool:
        """Whether the Transport is to start a key exchange."""
        return self._rekey_wanted

    def start_handshake(self, timeout: float) -> None:
        """No effect: our own deadline covers more than paramiko's timer."""

    def handshake_timed_out(self) -> bool:
        """See start_handshake."""
        return False

    def complete_handshake(self) -> None:
        """See start_handshake."""

    def set_keepalive(self, interval: float, callback: Callable[[], Any]) -> None:
        """No effect: the loop keeps the link alive, and paramiko's timer would never run."""

    def set_outbound_compressor(self, compressor: object) -> None:
        """Refused: compression is never offered."""
        raise paramiko.SSHException("compression was not agreed on")

    def set_inbound_compressor(self, compressor: object) -> None:
        """Refused: compression is never offered."""
        raise paramiko.SSHException("compression was not agreed on")

    def reset_seqno_out(self) -> None:
        """See PacketState.reset_sequence."""
        self._reset_sequence(Direction.OUTBOUND)

    def reset_seqno_in(self) -> None:
        """See PacketState.reset_sequence."""
        self._reset_sequence(Direction.INBOUND)

    def _reset_sequence(self, direction: Direction) -> None:
        if self._loop_side is not None:
            self._loop_side.post_sequence_reset(direction)
        else:
            self._state.reset_sequence(direction)

    def skip_guess(self) -> None:
        """The next message is a wrong guess of the peer: ignore it (RFC 4253 section 7)."""
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
        """New keys for outbound packets."""
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
        self._has_new_keys(Direction.OUTBOUND)

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
        """New keys for inbound packets."""
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
        self._has_new_keys(Direction.INBOUND)

    def _has_new_keys(self, direction: Direction) -> None:
        self._renewed |= direction
        if self._renewed == Direction.OUTBOUND | Direction.INBOUND:
            self._renewed = Direction(0)
            self._rekey_wanted = False

    def send_message(self, data: paramiko.Message) -> None:
        """Send one message of the handshake, or pass it to the loop."""
        payload = data.asbytes()
        if self._loop_side is not None:
            self._loop_side.post_message(payload)
            return
        if payload[0] == Message.USERAUTH_REQUEST:
            self._asked_in = True  # before the answer can arrive
        # A server may start a key exchange while another thread of ours is logging in.
        with self._sending:
            state = self._state
            packet = state.sealer.seal(payload, state.sent)
            state.sent = (state.sent + 1) & SEQUENCE_MASK
            self.write_all(packet)
        # We are the server, and the client has logged in.
        if payload[0] == Message.USERAUTH_SUCCESS:
            self._authenticated = True

    def read_message(self) -> tuple[int, paramiko.Message]:
        """The next message for the Transport's thread.

        Raises:
            EOFError: the connection ended.
            SSHException: it broke the protocol or the deadline.
        """
        payload, sequence = self._read_message()
        # A message that may come at any time is not the guess (OpenSSH dispatch.c,
        # ssh_dispatch_run).
        while self._skips and payload[0] > Message.DEBUG:
            self._skips = False
            payload, sequence = self._read_message()
        if payload[0] == Message.USERAUTH_SUCCESS:
            if not self._asked_in:
                raise paramiko.SSHException("a login that was not asked for")
            self._authenticated = True
        if _OF_KEX[0] <= payload[0] <= _OF_KEX[1] and payload[0] not in MSG_NAMES:
            # paramiko looks its name up, and would fail with a KeyError.
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
            # Once for each message that was passed, or the loop would open the packet after NEWKEYS
            # with the old keys. A command to start the exchange paused nothing.
            self._loop_side.post_ready()
        handed = self._handed.get()
        self._has_handed = isinstance(handed, _Handed)
        if handed is _Command.REKEY:
            raise NeedRekeyException
        if not isinstance(handed, _Handed):
            raise EOFError
        return handed.payload, handed.sequence

    def _read_packet(self) -> tuple[bytes, int]:
        """One packet, blocking, before the loop owns the socket."""
        state = self._state
        try:
            self._socket.fill(_FIRST_BLOCK)
            while not (size := self._packet_size()):
                self._socket.fill(len(self._socket.buffer) + 1)
            self._socket.fill(size)
            packet = self._socket.take(size)
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
        """The length in bytes of the packet that has begun; 0 if too few bytes have arrived."""
        state, buffer = self._state, self._socket.buffer
        return state.opener.size(memoryview(buffer), 0, len(buffer), state.received)

    def readline(self, timeout: float) -> str:
        """One line of the peer's banner, without its line end."""
        return self._socket.line()

    def write_all(self, out: ReadableBuffer) -> None:
        """Send all of `out`, blocking, unless that was already done elsewhere."""
        if self.skips_write:
            self.skips_write = False
        else:
            self._socket.write(out)
