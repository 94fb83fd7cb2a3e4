"""One authenticated SSH connection, as the event loop sees it.

Owns the connection protocol over a `PacketStream`, the sign of life that is asked for, the
limits after which keys are exchanged anew, and the word on why the link ended. Must never let a
silent peer pass for a living one, and never close without resetting what it carried.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.threads import ended
from tunnelctl.spec.endpoint import bracketed
from tunnelctl.spec.host import SessionType
from tunnelctl.ssh.link.way import DIRECT, Way
from tunnelctl.ssh.packets.ciphers import Opener, Sealer
from tunnelctl.ssh.packets.packetizer import PacketState
from tunnelctl.ssh.packets.stream import PacketStream
from tunnelctl.ssh.packets.transport import SshTransport
from tunnelctl.ssh.said import log_said
from tunnelctl.ssh.software import Software
from tunnelctl.wire import messages
from tunnelctl.wire.connection import Acceptor, Connection
from tunnelctl.wire.messages import (
    CONNECTION_FIRST,
    TRANSPORT_LAST,
    Message,
    ProtocolError,
    Reader,
)
from tunnelctl.wire.window import RoundTrip

# RFC 5647 and OpenSSH (packet.c, ssh_set_newkeys): 2^32 blocks of 16 bytes under one key.
_REKEY_BYTES = 1 << 36
# Packets must not come near the 2^32 after which sequence numbers repeat (RFC 4344 section 3.1).
_REKEY_PACKETS = 1 << 31
_KEX_TIMEOUT = 60.0
_FIRST_PROBES = 4
# The parked thread waits for nothing but being told to go.
_THREAD_SECONDS = 5.0
_SAID_KEPT = 8
# How long the answer to an urgent question may take: on a slow way, some round trips.
_SIGN_SECONDS = 4.0
_SIGN_ROUND_TRIPS = 8
_DISCONNECT_BY_APPLICATION = 11


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What was agreed on with the peer."""

    address: str  # where it was reached, HOST:PORT
    cipher: str
    mac: str | None  # None: the cipher authenticates by itself
    kex: str
    host_key: str  # the algorithm that it was proved with
    server: str  # its software version, without "SSH-2.0-"
    strict_kex: bool

    @property
    def software(self) -> Software:
        """`server`, and what follows from it."""
        return Software(self.server)


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """How a link is kept alive. `title` names the peer in failures; seconds and bytes.

    `address` is where the peer is, when the socket leads somewhere else first.
    """

    title: str
    address: str = ""
    server_alive_interval: float = 15.0
    server_alive_count_max: int = 3
    rekey_limit: int | None = None
    session_type: SessionType = SessionType.NONE


class Link:
    """See the module's text. Used from the loop's thread alone, but for the `post_` methods."""

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        transport: SshTransport,
        settings: LinkSettings,
        make_acceptor: Callable[[Link], Acceptor],
        way: Way = DIRECT,
    ) -> None:
        self.settings = settings
        self.reactor = reactor
        self.rtt: float | None = None  # seconds
        self.closed: asyncio.Future[Failure] = reactor.loop.create_future()
        # The peer ended it at the first channel that was asked for, or at one after it, and never
        # gave any: some servers forward nothing, and leave whoever asks.
        self.left_at_open = False
        # For how long it had no channel when the peer ended it in order, in seconds; None where it
        # had one, or ended otherwise. `last_word` is what the peer said then.
        self.left_unused: float | None = None
        self.last_word = ""
        self.info = _info(transport, settings.address or _peer(sock))
        self._way = way
        self._transport = transport
        self._loop = reactor.loop
        transport.give_up_socket()
        state = transport.packetizer.take_over(self)
        self.stream = PacketStream(reactor, sock, state, self._receive, self._stream_lost)
        self.acceptor = make_acceptor(self)
        self._round_trip = RoundTrip(clock.monotonic)
        send = self.stream.send
        self.connection = Connection(send, self.acceptor, self._round_trip, ask=send)
        self._rekeying: asyncio.TimerHandle | None = None
        self._rekey_limit = min(settings.rekey_limit or _REKEY_BYTES, _REKEY_BYTES)
        self._packets = 0
        self._said: tuple[str, ...] = ()
        self._asked = 0  # questions in a row without an answer
        self._asked_at = 0.0
        self._alive_timer: asyncio.TimerHandle | None = None
        self._judgement: asyncio.TimerHandle | None = None
        if settings.server_alive_interval > 0:
            self._alive_timer = self._loop.call_later(
                settings.server_alive_interval, self._check_alive
            )
            self.probe(_FIRST_PROBES)

    def close(self, failure: Failure | None = None) -> None:
        """End the link: channels are reset, waiting requests refused. Idempotent."""
        if self.closed.done():
            return
        if failure is None:
            failure = Failure(Code.SESSION_LOST, f"{self.settings.title}: the link was closed")
        else:
            failure = self._way.explain(failure)
        self.closed.set_result(failure)
        for timer in (self._alive_timer, self._judgement, self._rekeying):
            if timer is not None:
                timer.cancel()
        self.stream.send_now(messages.disconnect(_DISCONNECT_BY_APPLICATION, "closed by user"))
        self.stream.close()
        self.connection.lose()
        self._transport.packetizer.end()
        self._way.close()

    async def wait_thread(self) -> None:
        """Wait until the parked thread has left and nothing of the way is left, after `close`."""
        await ended(self._transport, _THREAD_SECONDS)
        await self._way.wait_closed()

    def take_said(self) -> tuple[str, ...]:
        """What the peer told in DEBUG messages since the last call, the last few of it: there
        OpenSSH says why it refuses the request that it answers next."""
        said, self._said = self._said, ()
        return said

    # Liveness.

    @property
    def silence(self) -> float:
        """Seconds since the peer last sent anything."""
        return clock.monotonic() - self.stream.heard_at

    def explain(self, failure: Failure) -> Failure:
        """What `failure` of this link comes from: something on the way to it, or itself."""
        return self._way.explain(failure)

    def probe(self, times: int = 1) -> None:
        """Ask the peer for a sign of life now; its answer measures the round trip.

        `times` asks again after each answer: of several the shortest is the way, and what is
        longer was spent waiting for a processor.
        """
        if self.closed.done() or self._rekeying is not None:
            return
        asked_at = clock.monotonic()

        def answered() -> None:
            if not self.closed.done():
                self.rtt = clock.monotonic() - asked_at
                # The shortest: what is longer was waiting behind data.
                self._round_trip.seconds = min(self.rtt, self._round_trip.seconds or self.rtt)
                # Not while a reply is due: what is asked beside it some servers leave for.
                if times > 1 and not self.connection.awaits_reply:
                    self.probe(times - 1)

        self.connection.ask_for_sign(answered)

    def ask_now(self) -> None:
        """Ask for a sign of life, and end the link when none comes within a few seconds: when the
        network has changed, silence means more than it does on a quiet day."""
        if self.closed.done() or self._judgement is not None:
            return
        seconds = max(_SIGN_SECONDS, _SIGN_ROUND_TRIPS * (self.rtt or 0.0))
        has_answered = False

        def answered() -> None:
            nonlocal has_answered
            has_answered = True

        def judge() -> None:
            self._judgement = None
            # An answer may wait behind data, which is life enough. What was on its way when we
            # asked is not. A key exchange has its own time limit.
            if not has_answered and self.silence > seconds / 2 and self._rekeying is None:
                title = self.settings.title
                message = f"{title} gave no sign of life for {seconds:.0f} s when asked for one"
                self.close(Failure(Code.PEER_SILENT, message))

        self.connection.ask_for_sign(answered)
        self._judgement = self._loop.call_later(seconds, judge)

    def _check_alive(self) -> None:
        """Every interval without a byte: ask, or give up when that was done often enough."""
        interval = self.settings.server_alive_interval
        silence = self.silence
        wait = interval
        if self.stream.heard_at > self._asked_at:
            # Not the silence alone: after an answer that came at once, a timer that comes a moment
            # late finds a whole interval of it.
            self._asked = 0
        if silence < interval:
            wait = interval - silence
        elif self._asked >= self.settings.server_alive_count_max:
            self.close(
                Failure(
                    Code.PEER_SILENT,
                    f"{self.settings.title} sent nothing for {silence:.0f} s",
                )
            )
            return
        else:
            self._asked += 1
            self._asked_at = clock.monotonic()
            self.probe()
        self._alive_timer = self._loop.call_later(max(wait, 0.001), self._check_alive)

    # Messages.

    def _receive(self, payload: memoryview, sequence: int) -> None:
        self._packets += 1
        kind = payload[0]
        if kind >= CONNECTION_FIRST:
            if not self.connection.receive(payload):
                self.stream.send(messages.unimplemented(sequence))
        else:
            self._receive_transport(kind, payload, sequence)
        if (
            self.stream.bytes_received + self.stream.bytes_sent > self._rekey_limit
            or self._packets > _REKEY_PACKETS
        ):
            self._rekey()

    def _receive_transport(self, kind: int, payload: memoryview, sequence: int) -> None:
        # What EXT_INFO tells (RFC 8308) is of use for logging in alone.
        if kind in (Message.IGNORE, Message.EXT_INFO):
            return
        if kind == Message.UNIMPLEMENTED:
            self.connection.unimplemented(Reader(payload, 1).u32())
        elif kind == Message.DISCONNECT:
            reader = Reader(payload, 1)
            reader.u32()
            self.last_word = said = _printable(reader.text())
            self._left(f"{self.settings.title} disconnected" + (f": {said}" if said else ""))
        elif kind == Message.DEBUG:
            reader = Reader(payload, 1)
            always_display, text = reader.boolean(), _printable(reader.text())
            # OpenSSH tells nothing but this of a listener that GatewayPorts put elsewhere; the
            # rest of what it says here, at every login, is for debugging.
            urgent = always_display or text.startswith("Forwarding listen address")
            level = logging.WARNING if urgent else logging.DEBUG
            log_said(self.settings.title, text, level)
            self._said = (*self._said, text)[-_SAID_KEPT:]
        elif Message.KEXINIT <= kind <= TRANSPORT_LAST:
            if kind == Message.KEXINIT:
                self._start_kex_timer()
            # The thread may switch keys before the next packet can be opened.
            self.stream.pause()
            self._transport.packetizer.hand(bytes(payload), sequence)
        else:
            self.stream.send(messages.unimplemented(sequence))

    def _stream_lost(self, error: OSError | ProtocolError | None) -> None:
        title = self.settings.title
        if isinstance(error, ProtocolError):
            self.close(Failure(Code.SESSION_LOST, f"{title}: the link broke: {error}"))
        elif error is None:
            self._left(f"{title} closed the connection")
        else:
            message = f"{title}: the connection was lost: {error.strerror or error}"
            self.close(Failure(Code.SESSION_LOST, message))

    def _left(self, message: str) -> None:
        """The peer ended the link, in order."""
        connection = self.connection
        self.left_at_open = connection.is_at_open and not connection.has_carried
        if not connection.channels and not self.left_at_open:
            self.left_unused = clock.monotonic() - connection.unused_since
        self.close(Failure(Code.SESSION_LOST, message))

    # Key exchange, which the Transport's thread does.

    def _rekey(self) -> None:
        if self._rekeying is None:
            self._start_kex_timer()
            self._transport.packetizer.rekey()

    def _start_kex_timer(self) -> None:
        if self._rekeying is None:
            self._rekeying = self._loop.call_later(_KEX_TIMEOUT, self._kex_timed_out)

    def _kex_timed_out(self) -> None:
        message = f"{self.settings.title} did not finish a key exchange in {_KEX_TIMEOUT:.0f} s"
        self.close(Failure(Code.PEER_SILENT, message))

    def _kex_done(self) -> None:
        self._packets = 0
        if self._rekeying is not None:
            self._rekeying.cancel()
            self._rekeying = None

    # What the thread posts, in order.

    def _post(self, callback: Callable[[], None]) -> None:
        def guarded() -> None:
            if not self.closed.done():
                callback()

        with contextlib.suppress(RuntimeError):  # the loop is closed, and the link with it
            self._loop.call_soon_threadsafe(guarded)

    def post_message(self, payload: bytes) -> None:
        """See packetizer.LoopSide."""

        def send() -> None:
            self.stream.send_now(payload)
            if payload[0] == Message.KEXINIT:
                self.stream.hold()

        self._post(send)

    def post_sealer(self, sealer: Sealer) -> None:
        """See packetizer.LoopSide."""

        def change(state: PacketState) -> None:
            state.sealer = sealer

        self._post(lambda: self.stream.use_sealer(change))

    def post_opener(self, opener: Opener) -> None:
        """See packetizer.LoopSide."""

        def change(state: PacketState) -> None:
            state.opener = opener

        def use() -> None:
            self.stream.use_opener(change)
            # The peer's NEWKEYS ends the exchange: ours went out before it (RFC 4253 section 7.3).
            self._kex_done()

        self._post(use)

    def post_sequence_reset(self, outbound: bool) -> None:
        """See packetizer.LoopSide."""
        self._post(lambda: self.stream.reset_sequence(outbound=outbound))

    def post_ready(self) -> None:
        """See packetizer.LoopSide."""
        self._post(self.stream.unpause)

    def post_ended(self) -> None:
        """See packetizer.LoopSide."""

        def ended() -> None:
            cause = self._transport.saved_exception
            detail = f": {cause}" if cause is not None and str(cause) else ""
            message = f"{self.settings.title}: a key exchange failed{detail}"
            self.close(Failure(Code.HANDSHAKE_FAILED, message))

        self._post(ended)


def _printable(text: str) -> str:
    """Text of the peer's, without control characters that could drive a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text.strip()[:500])


def _peer(sock: socket.socket) -> str:
    try:
        host, port = sock.getpeername()[:2]
    except OSError:  # reset since the login: the stream is about to say so
        host, port = "", 0
    return f"{bracketed(host)}:{port}"


def _info(transport: SshTransport, address: str) -> LinkInfo:
    server = transport.remote_version.split("-", 2)[-1]
    return LinkInfo(
        address=address,
        cipher=transport.local_cipher,
        mac=transport.mac_name,
        kex=transport.kex_name,
        host_key=transport.host_key_type or "",
        server=_printable(server),
        strict_kex=transport.agreed_on_strict_kex,
    )
