"""What OpenSSH's own regression tests put a forwarder through, put to ours: chains of forwards,
dynamic ones in both directions, and every mixture of what a server may forbid."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from itertools import pairwise, product
from pathlib import Path

import pytest

from tests.support.clients import exchange
from tests.support.ports import free_port
from tests.support.services import EchoService, Received, Stream, connect, receive
from tests.support.socks import Asked, ask4, ask5
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import rule, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Side
from tunnelctl.spec.host import Host
from tunnelctl.spec.permit import parse_permit

MIB = 1024 * 1024
_DEPTH = 9


async def there_and_back(connection: socket.socket, stream: Stream) -> Received:
    """Send a stream to an echo, end it, and see what comes back; closes."""
    with connection:
        back = in_thread(receive, connection)
        await in_thread(stream.send, connection)
        connection.shutdown(socket.SHUT_WR)
        return await back


# forwarding.sh


@pytest.mark.parametrize("chain", ["L", "R", "LR"])
async def test_chains_of_forwards_on_one_link(sshd: OpenSSHServer, chain: str) -> None:
    sizes = [6 * MIB, 0, 1, 70_000, 300_000, 1, 0]
    streams = [Stream(size, seed=number) for number, size in enumerate(sizes)]
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            port = echo.port
            for kind in chain[::-1] * _DEPTH:
                port = await (tunnel.local(port) if kind == "L" else tunnel.remote(port))
            received = await asyncio.gather(
                *(there_and_back(connect(port), stream) for stream in streams)
            )
            assert received == [Received(s.size, s.sha256, "fin") for s in streams]
            counters = [tunnel.forward(n).counters for n in range(_DEPTH * len(chain))]
            await eventually_async(lambda: not any(c.open for c in counters), "all are over")
            assert [(c.total, c.failed) for c in counters] == [(len(sizes), 0)] * len(counters)


async def test_a_chain_over_unix_sockets_and_links_of_their_own(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    stream = Stream(6 * MIB)
    paths = [Endpoint(path=str(tmp_path / f"{number}.sock")) for number in range(3)]
    port = Endpoint(LOOPBACK, free_port())
    with EchoService() as echo:
        # Each leads to the one before it.
        places = [Endpoint(LOOPBACK, echo.port), *paths, port]
        async with AsyncExitStack() as links:
            for number, (target, listen) in enumerate(pairwise(places)):
                tunnel = await links.enter_async_context(tunnel_to(sshd.host()))
                side = Side.THERE if number % 2 else Side.HERE
                await tunnel.add(rule(side, 0, target, listen=listen))
            received = await there_and_back(connect(port.port), stream)
            assert received == Received(stream.size, stream.sha256, "fin")


# dynamic-forward.sh


@pytest.mark.parametrize("side", list(Side))
async def test_dynamic_forwards_by_name_and_address(sshd: OpenSSHServer, side: Side) -> None:
    def ask(version: str, host: str) -> Asked:
        return (ask5 if version == "5" else ask4)(proxy, host, echo.port)

    kinds = [("4", "127.0.0.1"), ("4a", "localhost"), ("5", "127.0.0.1"), ("5", "localhost")]
    streams = [Stream(MIB, seed=number) for number in range(len(kinds))]
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as tunnel:
            if side is Side.HERE:
                proxy = await tunnel.local(None)
            else:
                lines = (f"127.0.0.1:{echo.port}", f"localhost:{echo.port}")
                proxy = await tunnel.remote(None, permit=tuple(map(parse_permit, lines)))
            asked = await asyncio.gather(*(in_thread(ask, *kind) for kind in kinds))
            assert [one.code for one in asked] == [90, 90, 0, 0]
            received = await asyncio.gather(
                *(
                    there_and_back(one.connection, stream)
                    for one, stream in zip(asked, streams, strict=True)
                )
            )
            assert received == [Received(s.size, s.sha256, "fin") for s in streams]


# forward-control.sh


@pytest.mark.parametrize("allow", ["yes", "no", "local", "remote"])
async def test_every_mixture_of_what_a_server_may_forbid(sshd: OpenSSHServer, allow: str) -> None:
    """One sshd, a port for each mixture of PermitOpen and PermitListen."""
    with EchoService() as echo:
        wanted = free_port()
        opens = {"any": True, f"127.0.0.1:{echo.port}": True, "127.0.0.1:1": False, "none": False}
        listens = {"any": True, f"127.0.0.1:{wanted}": True, "127.0.0.1:1": False, "none": False}
        mixtures = list(product(opens, listens))
        ports = [sshd.port, *(free_port() for _ in mixtures[1:])]
        sshd.reconfigure(
            f"AllowTcpForwarding {allow}",
            *(f"Port {port}" for port in ports[1:]),
            *(
                line
                for port, (permit_open, permit_listen) in zip(ports, mixtures, strict=True)
                for line in (
                    f"Match LocalPort {port}",
                    f"PermitOpen {permit_open}",
                    f"PermitListen {permit_listen}",
                )
            ),
        )
        for port, (permit_open, permit_listen) in zip(ports, mixtures, strict=True):
            host = sshd.host(port=port, host_key_alias=sshd.pattern)
            assert await what_is_allowed(host, echo.port, wanted) == (
                allow in ("yes", "local") and opens[permit_open],
                allow in ("yes", "remote") and listens[permit_listen],
            ), (allow, permit_open, permit_listen)


async def test_every_mixture_of_what_a_key_may_do(sshd: OpenSSHServer) -> None:
    """The same by options in authorized_keys, where sshd_config allows all."""
    key = sshd.authorized_keys.read_text()
    with EchoService() as echo:
        wanted = free_port()
        right, wrong = f"127.0.0.1:{echo.port}", "127.0.0.1:1"
        for options, allowed in {
            "": (True, True),
            f'permitopen="{wrong}"': (False, True),
            f'permitopen="{wrong}",permitopen="{right}"': (True, True),
            'permitlisten="127.0.0.1:1"': (True, False),
            f'permitlisten="127.0.0.1:1",permitlisten="127.0.0.1:{wanted}"': (True, True),
            f'permitopen="{wrong}",permitlisten="127.0.0.1:1"': (False, False),
            "no-port-forwarding": (False, False),
            "restrict": (False, False),
            "restrict,port-forwarding": (True, True),
        }.items():
            sshd.authorized_keys.write_text(f"{options} {key}")
            assert await what_is_allowed(sshd.host(), echo.port, wanted) == allowed, options


async def what_is_allowed(host: Host, target: int, listen: int) -> tuple[bool, bool]:
    """Whether a local forward to `target` and a remote one on `listen` work; each refusal must
    have its reason, and leave the link as it was."""
    async with tunnel_to(host) as tunnel:
        with connect(await tunnel.local(target)) as connection:
            try:
                local = await in_thread(exchange, connection, b"hello") == b"hello"
            except ConnectionResetError:
                local = False
        denied = [failure for failure in tunnel.failures if failure.code is Code.FORWARD_DENIED]
        assert len(denied) == len(tunnel.failures) == (not local)
        for failure in denied:
            assert f"server does not allow connections to 127.0.0.1:{target}" in failure.message
            assert "AllowTcpForwarding, PermitOpen" in failure.hint
        try:
            port = await tunnel.remote(target, port=listen)
        except Failure as failure:
            refusal: Failure | None = failure
        else:
            refusal = None
            with connect(port) as connection:
                assert await in_thread(exchange, connection, b"hello") == b"hello"
        if refusal is not None:
            assert refusal.code is Code.FORWARD_DENIED
            assert f"refused to listen on 127.0.0.1:{listen}" in refusal.message
            assert "AllowTcpForwarding, PermitListen" in refusal.hint
        assert not tunnel.link.closed.done()
        return local, refusal is None
