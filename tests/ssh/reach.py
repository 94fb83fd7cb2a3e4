"""Links to hosts that are behind something, as the product makes them, for tests of the ways."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from tests.ssh.clients import ignore, no_secret
from tests.support.here import here
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import SecretRef
from tunnelctl.ssh.connect import Stage, connect
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.reach.jump import Hops
from tunnelctl.ssh.turns import Turn, at_once


class Reach:
    """Makes links that share their hops, and closes them all in the end."""

    def __init__(self, reactor: Reactor, environment: Environment) -> None:
        self.reactor = reactor
        self.environment = environment
        self.hops = Hops()
        self._links: list[Link] = []

    async def link(
        self,
        host: Host,
        resolve_secret: Callable[[SecretRef], str] = no_secret,
        on_stage: Callable[[Stage], None] = ignore,
        turn: Turn = at_once,
    ) -> Link:
        """A link to `host`."""
        link = await connect(
            host,
            self.reactor,
            environment=self.environment,
            resolve_secret=resolve_secret,
            on_stage=on_stage,
            hops=self.hops,
            turn=turn,
        )
        self._links.append(link)
        return link

    async def fails(
        self,
        code: Code,
        host: Host,
        resolve_secret: Callable[[SecretRef], str] = no_secret,
        on_stage: Callable[[Stage], None] = ignore,
    ) -> Failure:
        """How connecting to `host` fails, which must be with `code`."""
        with pytest.raises(Failure) as caught:
            await self.link(host, resolve_secret, on_stage)
        assert caught.value.code is code, caught.value
        return caught.value

    async def close(self) -> None:
        """Close every link, and wait until nothing of it is left."""
        for link in self._links:
            link.close()
        await asyncio.gather(*(link.wait_thread() for link in self._links))


@asynccontextmanager
async def reach(environment: Environment | None = None) -> AsyncIterator[Reach]:
    """For the length of a block; the environment is that of this process."""
    reactor = Reactor(asyncio.get_running_loop())
    reached = Reach(reactor, environment or here())
    try:
        yield reached
    finally:
        await reached.close()
        reactor.close()


@contextmanager
def servers(directory: Path, *names: str) -> Iterator[list[OpenSSHServer]]:
    """Running OpenSSH servers, each with its own keys."""
    with ExitStack() as stack:
        made = []
        for name in names:
            server = OpenSSHServer(directory / name)
            stack.callback(server.stop)
            server.start()
            made.append(server)
        yield made


def logins(server: OpenSSHServer) -> int:
    """How many connections have logged in to the server since the test began."""
    return server.log.count("Accepted publickey")
