"""Jump hosts: links for reaching other hosts, shared by all hosts that name them.

Owns the pool of these links, and the channels through them, each bridged to a socket so that the
next handshake sees a normal connection. A hop is a host with its own way (`proxy_jump` has the hops
before it), so equal chains are equal hosts. Must never keep an unused hop, and never blame one hop
for a failure of another.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Final

from tunnelctl.errors import Code, Failure
from tunnelctl.net.threads import shielded
from tunnelctl.spec.endpoint import LOOPBACK
from tunnelctl.spec.host import Host
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.record import Record, Traffic
from tunnelctl.ssh.link.relay import Relay
from tunnelctl.ssh.reach import sentences
from tunnelctl.ssh.sentences import excerpt, peer_silent
from tunnelctl.ssh.silence import OnSilence, unheard
from tunnelctl.ssh.software import Software
from tunnelctl.wire import messages
from tunnelctl.wire.refusals import Refusal, in_words, refusal

# A live hop answers the request that it gets after an interval of silence; after so many silent
# intervals it is dead.
_SILENT_INTERVALS: Final = 1.75

# Makes the link to a hop.
Make = Callable[[OnSilence], Coroutine[Any, Any, Link]]

# The codes for a refusal of a hop to connect; any other cause is unreachable.
_CODES: Final = {
    Refusal.REFUSED: Code.CONNECTION_REFUSED,
    Refusal.TIMED_OUT: Code.TIMED_OUT,
    Refusal.NO_NAME: Code.NAME_NOT_FOUND,
}


class Hops:
    """The jump links of a supervisor, by host. Used from the loop's thread only."""

    def __init__(self) -> None:
        self._hops: dict[Host, _Hop] = {}

    async def lease(
        self, host: Host, scope: object, make: Make, on_silence: OnSilence = unheard
    ) -> HopLease:
        """A link to `host` that the caller uses until it closes the lease.

        An existing link is shared, one that is being made is awaited; otherwise `make` makes it.
        `on_silence` gets what is reported for the attempt, whoever began it. `scope` stands for the
        secrets and answers that `make` uses: if somebody else's login fails, the caller tries with
        its own.

        Raises:
            Failure: as `make`.
        """
        while True:
            hop = self._hops.get(host)
            if hop is None or hop.is_over:
                hop = self._hops[host] = _Hop(host, scope, make, self._forget)
            hop.users += 1
            hop.told.append(on_silence)
            try:
                link = await shielded(hop.attempt)
            except Failure as failure:
                await hop.leave()
                if hop.scope == scope or failure.retryable:
                    raise
            except BaseException:
                await hop.leave()
                raise
            else:
                return HopLease(hop, link)
            finally:
                hop.told.remove(on_silence)

    def _forget(self, hop: _Hop) -> None:
        if self._hops.get(hop.host) is hop:
            del self._hops[hop.host]


class _Hop:
    """One jump link, being made or up, and its number of users."""

    def __init__(
        self,
        host: Host,
        scope: object,
        make: Make,
        forget: Callable[[_Hop], None],
    ) -> None:
        self.host = host
        self.scope = scope
        self.users = 0
        self.told: list[OnSilence] = []  # by waiting user
        work = make(self._silent)
        self.attempt = asyncio.get_running_loop().create_task(work, name=f"hop {host.name}")
        self._forget = forget

    def _silent(self, failure: Failure) -> None:
        for tell in tuple(self.told):
            tell(failure)

    @property
    def is_over(self) -> bool:
        """Whether it failed, or was up and has ended."""
        if not self.attempt.done():
            return False
        if self.attempt.cancelled() or self.attempt.exception() is not None:
            return True
        return self.attempt.result().closed.done()

    def release(self) -> None:
        """One user less; the last one ends it."""
        self.users -= 1
        if self.users:
            return
        self._forget(self)
        if not self.attempt.done():
            self.attempt.cancel()
        elif not self.attempt.cancelled() and self.attempt.exception() is None:
            self.attempt.result().close()

    async def leave(self) -> None:
        """As `release`, for a user that waited for the attempt; waits for its end."""
        self.release()
        if not self.users and not self.attempt.done():
            await asyncio.wait((self.attempt,))


class HopLease:
    """A `Way`: the use of a jump link by one host behind it."""

    def __init__(self, hop: _Hop, link: Link) -> None:
        self._hop = hop
        self._link = link
        self._bridge: _Bridge | None = None
        self._is_closed = False
        self._lost: Failure | None = None  # why the hop ended, if it ended before the lease

    def open(self, host: Host, on_open: Callable[[], None]) -> socket.socket:
        """A socket connected to `host` through the hop; bytes wait for the channel, for which
        `on_open` is called.

        If the hop cannot connect to it, the socket ends, and `explain` gives the reason.
        """
        ours, theirs = socket.socketpair()
        for sock in (ours, theirs):
            sock.setblocking(False)
        self._bridge = _Bridge(self._hop.host, host, self._link, theirs, on_open)
        return ours

    def explain(self, failure: Failure) -> Failure:
        """See Way. The failed hop is searched from here down to the nearest one."""
        link = self._link
        self._look()
        if self._lost is not None:
            return self._lost
        if self._bridge is not None and self._bridge.refusal is not None:
            return self._bridge.refusal
        interval = link.settings.server_alive_interval
        if failure.code not in (Code.PEER_SILENT, Code.TIMED_OUT):
            return failure
        if interval > 0 and link.liveness.silence > interval * _SILENT_INTERVALS:
            return link.explain(peer_silent(*link.settings.peer, link.liveness.silence))
        if self._bridge is not None and not self._bridge.is_open:
            return self._bridge.too_slow(failure)
        return failure

    @property
    def has_failed(self) -> bool:
        """See Way: the hop's own link ended."""
        self._look()
        return self._lost is not None

    def when_known(self, then: Callable[[], None]) -> None:
        """See Way: the hop's link knows at once."""
        then()

    def on_lost(self, lost: Callable[[Failure], None]) -> None:
        """Call `lost` when the hop ends, because everything through it has ended too."""
        self._link.closed.add_done_callback(lambda closed: lost(closed.result()))

    def close(self) -> None:
        """See Way."""
        if self._is_closed:
            return
        self._look()
        self._is_closed = True
        if self._bridge is not None:
            self._bridge.abort()
        self._hop.release()

    async def wait_closed(self) -> None:
        """See Way."""
        if not self._hop.users:
            await self._link.wait_thread()

    def _look(self) -> None:
        if not self._is_closed and self._link.closed.done():
            self._lost = self._link.closed.result()


class _Bridge(Relay):
    """Between the socket of the next handshake and a channel to its host."""

    tells_cuts = False  # SSH has end signals of its own

    def __init__(
        self, hop: Host, host: Host, link: Link, sock: socket.socket, on_open: Callable[[], None]
    ) -> None:
        # The bytes through a hop are counted by the forwards that they belong to.
        super().__init__(link.reactor, link, sock, Record(Traffic()), self._refused)
        self.is_open = False
        self.refusal: Failure | None = None
        self._hop = hop
        self._host = host
        self._on_open = on_open
        # RFC 4254 section 7.2 wants the originator: this machine.
        self.open("direct-tcpip", messages.tcpip_open(host.hostname, host.port, LOOPBACK, 0))

    def opened(self) -> None:
        self.is_open = True
        self._on_open()
        super().opened()

    def too_slow(self, failure: Failure) -> Failure:
        """The deadline of the next handshake passed while the hop was still connecting."""
        return sentences.hop_too_slow(self._hop, self._host, failure.hints)

    def _refused(self, reason: int, description: str) -> bytes:
        software = self._link.info.software
        self.refusal = _refusal(self._hop, software, self._host, reason, excerpt(description))
        return b""


def _refusal(hop: Host, software: Software, host: Host, reason: int, text: str) -> Failure:
    """The failure of a hop that does not connect to `host`."""
    cause = refusal(reason, text)
    said = in_words(reason, text)
    if cause in (Refusal.PROHIBITED, Refusal.UNKNOWN_TYPE):
        hint = software.decides("AllowTcpForwarding, PermitOpen, DisableForwarding", "-j")
        return sentences.hop_forbids(hop, host, said, hint)
    return sentences.hop_cannot_connect(hop, host, _CODES.get(cause, Code.UNREACHABLE), said)
