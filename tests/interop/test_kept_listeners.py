"""A server that refuses to cancel a listener still holds it when the forward is opened again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.ports import free_port
from tests.support.servers import require
from tests.support.servers.dropbear import DropbearServer
from tests.support.servers.erlang import ErlangServer
from tests.support.services import EchoService, Received, SourceService, Stream, connect, receive
from tests.support.tunnel import tunnel_to
from tests.support.world import World, tunnel_text
from tunnelctl.errors import Code, Failure

pytestmark = pytest.mark.interop


def test_a_reload_gives_dropbears_listener_another_target(world: World) -> None:
    require(DropbearServer)
    server = DropbearServer(world.home / "server")
    server.start()
    stream = Stream(100_000)
    port = free_port()
    try:
        with EchoService() as first, SourceService(stream) as second:
            host = server.host_yaml(ssh_config="false")
            for target in (first, second):
                rule = f"remote: {port}, to: {target.port}"
                world.profile("dev", tunnel_text(host, web=rule))
                world.ok(*(("up", "dev", "-d") if target is first else ("reload",)))
            assert world.forward("dev", "web")["state"] == "up"
            assert world.host("dev")["reconnects"] == 0
            with connect(port) as client:
                assert receive(client) == Received(stream.size, stream.sha256, "fin")
            world.ok("down", "dev")
    finally:
        server.stop()


async def test_a_listener_that_serves_nobody_is_not_taken_for_a_forward(tmp_path: Path) -> None:
    require(ErlangServer)
    server = ErlangServer(tmp_path / "server")
    server.start()
    port = free_port()
    try:
        with EchoService() as echo:
            async with tunnel_to(server.host()) as tunnel:
                await tunnel.remote(echo.port, port=port)
                await tunnel.forward().close(0)
                with pytest.raises(Failure) as denied:
                    await tunnel.remote(echo.port, port=port)
                assert denied.value.code is Code.FORWARD_DENIED
                assert "of a forward that was closed" in denied.value.message
                assert "tunnelctl restart" in denied.value.hint
    finally:
        server.stop()
