"""What a listener waits for, a name or a disk, nobody else waits for."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.supervisor.scene import Scene, client, echo_service, hello, local, scene
from tests.support.here import here
from tests.support.ports import free_port
from tests.support.waiting import eventually_async
from tunnelctl.forward import listening
from tunnelctl.net.addresses import PortHolder
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.state.documents.snapshot import ForwardState

NAME = "listen.example"


class Held:
    """A call that waits until it is let go."""

    def __init__(self, function: Callable[..., Any], applies: Callable[..., bool]) -> None:
        self.calls = 0
        self._function = function
        self._applies = applies
        self._may = threading.Event()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        if self._applies(*arguments):
            self.calls += 1
            assert threading.current_thread() is not threading.main_thread(), "on the loop"
            self._may.wait(30)
        return self._function(*arguments, **named)

    def let_go(self) -> None:
        """Whoever waits goes on, and nobody waits any more."""
        self._may.set()


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    """One that takes its time for NAME, which is this machine."""

    def look_up(host: str, *rest: Any, **named: Any) -> Any:
        return real(LOOPBACK if host == NAME else host, *rest, **named)

    real = socket.getaddrinfo
    held = Held(look_up, lambda host, *_: host == NAME)
    monkeypatch.setattr(socket, "getaddrinfo", held)
    yield held
    held.let_go()


async def others_are_served(s: Scene) -> None:
    async with echo_service() as echo:
        await s.supervisor.up(
            s.profile(local("other", target=Endpoint(LOOPBACK, echo)), name="second"), here()
        )
        await eventually_async(lambda: s.status("second").state == "up", "it is up")
        port = s.status("second").forwards[0].listen.rpartition(":")[2]
        async with client(int(port)) as one:
            assert await one.echo(b"meanwhile") == b"meanwhile"


async def test_a_resolver_that_takes_its_time(resolver: Held) -> None:
    port = free_port()
    async with scene() as s:
        rule = local(listen=Endpoint(NAME, port), expose=True)
        await s.supervisor.up(s.profile(rule), here())
        await others_are_served(s)
        assert s.forward("web").state is ForwardState.PENDING
        resolver.let_go()
        await s.until_forward("web", ForwardState.UP)
        assert b"Hello" in await hello(port)
    assert resolver.calls == 1


async def test_one_that_is_taken_down_meanwhile_leaves_nothing(resolver: Held) -> None:
    port = free_port()
    async with scene() as s:
        rule = local(listen=Endpoint(NAME, port), expose=True)
        await s.supervisor.up(s.profile(rule), here())
        await eventually_async(lambda: resolver.calls, "it is looked up")
        await s.supervisor.down("dev", 0)
        resolver.let_go()
        await eventually_async(lambda: _is_free(port), "nobody listens")


async def test_a_disk_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "web.sock"
    held = Held(listening._bind_unix, lambda path: True)
    monkeypatch.setattr(listening, "_bind_unix", held)
    async with scene() as s:
        rule = local(listen=Endpoint(path=str(path)))
        await s.supervisor.up(s.profile(rule), here())
        await others_are_served(s)
        held.let_go()
        await s.until_forward("web", ForwardState.UP)
        assert path.is_socket()
    assert not path.exists()


def test_one_whose_loop_has_ended_meanwhile_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "web.sock"
    held = Held(listening._bind_unix, lambda path: True)
    monkeypatch.setattr(listening, "_bind_unix", held)

    async def up_and_away() -> None:
        async with scene() as s:
            await s.supervisor.up(s.profile(local(listen=Endpoint(path=str(path)))), here())
            await eventually_async(lambda: held.calls, "it is being bound")

    asyncio.run(up_and_away())
    (thread,) = (one for one in threading.enumerate() if one.name.startswith("listen on"))
    held.let_go()
    thread.join(30)
    assert not thread.is_alive()
    assert not path.exists()


async def test_a_busy_port_of_a_machine_with_many_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who holds it is looked up in /proc, which takes a second where there are thousands."""
    held = Held(lambda *_: PortHolder("pid 7 (postgres)"), lambda *_: True)
    monkeypatch.setattr("tunnelctl.forward.unavailable.port_holder", held)
    with socket.create_server((LOOPBACK, 0)) as taken:
        async with scene() as s:
            rule = local(port=taken.getsockname()[1])
            await s.supervisor.up(s.profile(rule), here())
            await others_are_served(s)
            held.let_go()
            failed = await s.until_forward("web", ForwardState.FAILED)
            assert failed.last_error is not None
            assert "pid 7 (postgres)" in failed.last_error.message


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0
