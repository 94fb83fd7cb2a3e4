"""What a forward says of a target that a server cannot, or will not, connect to: any server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.hostile import Peer, ScriptedServer
from tests.support.ports import free_port
from tests.support.servers import running
from tests.support.servers.asyncssh import AsyncsshServer
from tests.support.servers.base import Server
from tests.support.servers.conch import ConchServer
from tests.support.servers.dropbear import DropbearServer
from tests.support.servers.erlang import ErlangServer
from tests.support.servers.go import GoServer
from tests.support.servers.openssh import OpenSSHAnywhere
from tests.support.servers.paramiko import ParamikoServer
from tests.support.services import connect, receive
from tests.support.socks import ask5
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, rule, tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Side
from tunnelctl.spec.host import Host
from tunnelctl.wire import messages
from tunnelctl.wire.socks import Reply

NO_NAME = "no-such-host.invalid"
# Those whose text says so; paramiko's has none, and Conch accepts first and dials then.
TELL = [OpenSSHAnywhere, DropbearServer, AsyncsshServer, ErlangServer, GoServer]
OPENSSH_WORDS = ("sshd_config", "StreamLocal", "AllowTcpForwarding", "PermitOpen", "PermitListen")


def end_of(port: int) -> str:
    """How a client's connection ends; a reset may come with the connection itself."""
    try:
        with connect(port) as connection:
            return receive(connection).end
    except ConnectionResetError:
        return "reset"


async def failure_of(tunnel: Tunnel, target: Endpoint) -> Failure:
    """What is said of a client whose target is `target`; it is reset."""
    where = await tunnel.add(rule(Side.HERE, 0, target))
    before = len(tunnel.failures)
    assert await in_thread(end_of, where.port) == "reset"
    assert len(tunnel.failures) == before + 1
    return tunnel.failures[-1]


@pytest.mark.parametrize("kind", TELL)
async def test_a_refusal_and_a_name_are_told_apart(kind: type[Server], tmp_path: Path) -> None:
    with running(kind, tmp_path) as server:
        async with tunnel_to(server.host()) as tunnel:
            refused = await failure_of(tunnel, Endpoint(LOOPBACK, free_port()))
            assert refused.code is Code.TARGET_REFUSED
            assert refused.message.endswith("through server: connection refused")
            unknown = await failure_of(tunnel, Endpoint(NO_NAME, 80))
            assert unknown.code is Code.TARGET_UNREACHABLE
            assert f"cannot reach {NO_NAME}:80 through server: " in unknown.message
            assert "refused" not in unknown.message


async def test_a_server_without_a_word_is_said_to_have_none(tmp_path: Path) -> None:
    with running(ParamikoServer, tmp_path) as server:
        async with tunnel_to(server.host()) as tunnel:
            failure = await failure_of(tunnel, Endpoint(LOOPBACK, free_port()))
            assert failure.code is Code.TARGET_UNREACHABLE
            assert failure.message.endswith(": the server does not say why")


@pytest.mark.parametrize("reason", [1, 2, 3, 4, 99])
async def test_no_message_ends_where_the_servers_words_should_be(reason: int) -> None:
    def script(peer: Peer) -> None:
        peer.send(messages.channel_open_failure(peer.asked_to_open(), reason, ""))
        peer.send(messages.disconnect(11, ""))

    with ScriptedServer(script) as server:
        async with tunnel_to(server.host_with()) as tunnel:
            failure = await failure_of(tunnel, Endpoint("db.internal", 5432))
            assert failure.message.endswith(": the server does not say why")
            assert not any(word in failure.hint for word in OPENSSH_WORDS)
            lost = await asyncio.wait_for(asyncio.shield(tunnel.link.closed), 20)
            assert lost.message.endswith(": the server disconnected")


@pytest.mark.parametrize("kind", TELL)
async def test_a_hop_tells_a_refusal_from_a_name(kind: type[Server], tmp_path: Path) -> None:
    with running(kind, tmp_path) as server:
        hop = server.host(name="hop")
        async with tunnel_to(None) as tunnel:
            for hostname, port, code in (
                (LOOPBACK, free_port(), Code.CONNECTION_REFUSED),
                (NO_NAME, 22, Code.NAME_NOT_FOUND),
            ):
                inner = Host("inner", hostname, port=port, proxy_jump=(hop,))
                with pytest.raises(Failure) as failed:
                    await tunnel.connect(inner)
                assert failed.value.code is code
                assert failed.value.message.startswith("hop hop (")


@pytest.mark.parametrize("kind", [DropbearServer, ConchServer, ErlangServer, GoServer])
async def test_a_server_without_unix_sockets_is_not_told_of_options_that_it_has_not(
    kind: type[Server], tmp_path: Path
) -> None:
    with running(kind, tmp_path) as server:
        async with tunnel_to(server.host()) as tunnel:
            failure = await failure_of(tunnel, Endpoint(path="/run/docker.sock"))
            assert failure.code is Code.FORWARD_DENIED
            assert not failure.message.endswith(": ")
            assert not any(word in failure.hint for word in OPENSSH_WORDS)
            with pytest.raises(Failure) as denied:
                await tunnel.add(
                    rule(Side.THERE, 0, 9, listen=Endpoint(path=f"{tmp_path}/there.sock"))
                )
            assert denied.value.code is Code.FORWARD_DENIED
            assert tunnel.link.info.server in denied.value.hint
            assert not any(word in denied.value.hint for word in OPENSSH_WORDS)


async def test_opensshs_own_options_are_named_to_openssh(tmp_path: Path) -> None:
    with running(OpenSSHAnywhere, tmp_path) as server:
        async with tunnel_to(server.host()) as tunnel:
            failure = await failure_of(tunnel, Endpoint(path=f"{tmp_path}/nobody.sock"))
            assert "AllowStreamLocalForwarding" in failure.hint


@pytest.mark.parametrize("kind", TELL)
async def test_a_socks_client_is_told_the_same(kind: type[Server], tmp_path: Path) -> None:
    with running(kind, tmp_path) as server:
        async with tunnel_to(server.host()) as tunnel:
            asked = await in_thread(ask5, await tunnel.local(None), LOOPBACK, free_port())
            assert asked.code == Reply.CONNECTION_REFUSED
            asked.connection.close()
            asked = await in_thread(ask5, await tunnel.local(None), NO_NAME, 80)
            assert asked.code == Reply.HOST_UNREACHABLE
            asked.connection.close()
            await eventually_async(lambda: tunnel.forward().counters.open == 0, "all are gone")
