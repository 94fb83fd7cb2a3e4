"""Key exchange on an open link: the loop's side of the Transport's thread.

Owns the limits after which keys are exchanged, the time limit of an exchange, and the order in
which the thread's messages, ciphers and answers reach the stream. Must never let the stream decrypt
a packet before the thread is done with the message before it: that may switch the keys.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from tunnelctl.errors import Failure
from tunnelctl.ssh import sentences
from tunnelctl.ssh.link.info import LinkSettings
from tunnelctl.ssh.packets.ciphers import Opener, Sealer
from tunnelctl.ssh.packets.handover import Direction, PacketState
from tunnelctl.ssh.packets.stream import PacketStream
from tunnelctl.ssh.packets.transport import SshTransport
from tunnelctl.wire.messages import Message

# RFC 5647 and OpenSSH (packet.c, ssh_set_newkeys): 2^32 blocks of 16 bytes under one key.
_BYTES_MAX: Final = 1 << 36
# Packets must stay well below 2^32, after which sequence numbers repeat (RFC 4344 section 3.1).
_PACKETS_MAX: Final = 1 << 31
_SECONDS_MAX = 60.0


class Rekeying:
    """A `LoopSide` for one link. Used from the loop's thread only, except the `post_` methods.

    `make_stream` makes the stream from the state that the thread hands over. `close(failure)` ends
    the link.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transport: SshTransport,
        settings: LinkSettings,
        make_stream: Callable[[PacketState], PacketStream],
        close: Callable[[Failure], None],
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._settings = settings
        self._limit = min(settings.rekey_limit or _BYTES_MAX, _BYTES_MAX)
        self._close = close
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self.stream = make_stream(transport.packetizer.take_over(self))

    @property
    def is_under_way(self) -> bool:
        """Whether keys are being exchanged."""
        return self._timer is not None

    def close(self) -> None:
        """The link is over: the thread ends, and what it still posts is dropped. Idempotent."""
        self._is_over = True
        self._stop_timer()
        self._transport.packetizer.end()

    def begin_if_due(self) -> None:
        """Start a key exchange if the keys in use have reached a limit. Called with every
        packet."""
        stream = self.stream
        if (
            stream.bytes_received + stream.bytes_sent > self._limit
            or stream.packets_received > _PACKETS_MAX
        ) and self._timer is None:
            self._start_timer()
            self._transport.packetizer.rekey()

    def receive(self, kind: int, payload: memoryview, sequence: int) -> None:
        """A message of key exchange came, in the packet of this sequence number."""
        if kind == Message.KEXINIT:
            self._start_timer()
        # The thread may switch keys before the next packet can be opened.
        self.stream.pause()
        self._transport.packetizer.hand(bytes(payload), sequence)

    def _start_timer(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_SECONDS_MAX, self._timed_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _timed_out(self) -> None:
        self._close(sentences.rekey_timed_out(*self._settings.peer, _SECONDS_MAX))

    # Posts of the thread, in order.

    def _post(self, callback: Callable[[], None]) -> None:
        def guarded() -> None:
            if not self._is_over:
                callback()

        with contextlib.suppress(RuntimeError):  # the loop is closed, and the link with it
            self._loop.call_soon_threadsafe(guarded)

    def post_message(self, payload: bytes) -> None:
        """See LoopSide."""

        def send() -> None:
            self.stream.send_now(payload)
            if payload[0] == Message.KEXINIT:
                self.stream.hold()

        self._post(send)

    def post_sealer(self, sealer: Sealer) -> None:
        """See LoopSide."""
        self._post(lambda: self.stream.use_sealer(sealer))

    def post_opener(self, opener: Opener) -> None:
        """See LoopSide."""

        def use() -> None:
            self.stream.use_opener(opener)
            # The peer's NEWKEYS ends the exchange: ours was sent before it (RFC 4253 section 7.3).
            self._stop_timer()

        self._post(use)

    def post_sequence_reset(self, direction: Direction) -> None:
        """See LoopSide."""
        self._post(lambda: self.stream.reset_sequence(direction))

    def post_ready(self) -> None:
        """See LoopSide."""
        self._post(self.stream.unpause)

    def post_ended(self) -> None:
        """See LoopSide."""

        def ended() -> None:
            cause = self._transport.saved_exception
            why = "" if cause is None else str(cause)
            self._close(sentences.rekey_failed(*self._settings.peer, why))

        self._post(ended)
