"""A socket to the target of a forward, for the daemon itself rather than a client.

Owns the connecting. It is not a client of the forward: not counted, not limited, not inspected.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tunnelctl.errors import Failure
from tunnelctl.forward.channel_requests import direct, open_failure, target_failure
from tunnelctl.forward.target import connect_target
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import LOOPBACK
from tunnelctl.spec.forward import Forward
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.record import Record, Traffic
from tunnelctl.ssh.link.relay import Relay


@asynccontextmanager
async def dialled_here(rule: Forward) -> AsyncIterator[socket.socket]:
    """A socket that is connected to the target from this machine; closed at the end.

    Raises:
        Failure: it cannot be connected to.
    """
    assert rule.target is not None
    try:
        sock = await connect_target(asyncio.get_running_loop(), rule.target)
    except OSError as error:
        raise target_failure(rule, rule.target, error) from None
    with sock:
        yield sock


@asynccontextmanager
async def dialled_through(
    rule: Forward, link: Link, reactor: Reactor
) -> AsyncIterator[socket.socket]:
    """The same, connected by the server of the link.

    Raises:
        Failure: the server cannot connect, which is known when the socket is used: it replaces the
            failure that the user of the socket raises.
    """
    target = rule.target
    assert target is not None
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    refused: list[Failure] = []

    def on_refused(reason: int, description: str) -> bytes:
        refused.append(open_failure(rule, target, link.info.software, reason, description))
        return b""

    relay = Relay(reactor, link, theirs, Record(Traffic()), on_refused)
    with ours:
        relay.open(*direct(target, (LOOPBACK, 0)))
        try:
            yield ours
        except Failure as failure:
            raise (refused[0] if refused else failure) from None
        finally:
            relay.abort()
