"""A ProxyCommand that says nothing, maybe since somebody logs in with a browser: the fallback has
its turn after `connect_timeout`, and the program goes on, once."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.supervisor.scene import SOON, Scene, hello, local, scene
from tests.support.here import here
from tests.support.processes import command_line, descendants
from tests.support.waiting import eventually_async
from tunnelctl.spec.host import Host
from tunnelctl.sshd.server import EmbeddedServer
from tunnelctl.state.documents.snapshot import HostState

SECONDS = 2.0  # until a silent program counts as that


class Browser:
    """Where somebody logs in; each program that waits for that leaves a line."""

    def __init__(self, folder: Path) -> None:
        self._door = folder / "browser"
        self._started = folder / "started"
        self._started.touch()
        os.mkfifo(self._door)

    def command(self, then: str) -> tuple[str, ...]:
        """A program that waits, and does `then`."""
        asks = f"echo x >> {self._started}; read -r answer < {self._door}"
        return ("sh", "-c", f"{asks}; test $answer = go && exec {then}")

    def answer(self, word: str) -> None:
        """Let the program that waits go on: `go` on, or `fail`."""
        self._door.write_text(f"{word}\n")

    @property
    def started(self) -> int:
        """How many were started."""
        return len(self._started.read_text()) // 2

    @property
    def running(self) -> list[int]:
        """Those that wait now."""
        return [pid for pid in descendants(os.getpid()) if str(self._door) in command_line(pid)]


@asynccontextmanager
async def waiting_for(browser: Browser) -> AsyncIterator[tuple[Scene, Host]]:
    """A scene whose server is behind a silent program, with another server as its fallback."""
    async with scene() as s:
        other = EmbeddedServer(s.reactor)
        await other.start()
        try:
            fallback = other.client_host(Host("spare", "", reconnect=SOON))
            host = s.host(
                proxy_command=browser.command("socat STDIO TCP:%h:%p"),
                fallback=(fallback,),
                connect_timeout=SECONDS,
            )
            yield s, host
            await s.supervisor.close(10)
        finally:
            await other.close()


async def _on_fallback(s: Scene, host: Host) -> None:
    await s.supervisor.up(s.profile(local(), host=host), here())
    await eventually_async(lambda: s.host_status().fallback == "spare", "the spare serves")
    assert b"Hello" in await hello(s.port("web"))


async def test_the_fallback_serves_meanwhile_and_the_host_once_it_answers(tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    async with waiting_for(browser) as (s, host):
        await _on_fallback(s, host)
        status = s.host_status()
        assert status.returning  # it is still tried
        assert status.last_error is not None
        assert "proxy_command sh: no output for 2" in status.last_error.message
        assert "check for a browser window" in status.last_error.hint
        assert browser.started == len(browser.running) == 1
        browser.answer("go")
        await eventually_async(lambda: s.host_status().fallback is None, "it is home")
        assert browser.started == 1
        assert b"Hello" in await hello(s.port("web"))


async def test_a_program_that_fails_then_is_tried_again_later(tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    async with waiting_for(browser) as (s, host):
        await _on_fallback(s, host)
        browser.answer("fail")
        await eventually_async(lambda: browser.started == 2, "it is tried again")
        assert s.host_status().fallback == "spare"
        assert s.host_status().reconnects == 0


async def test_the_host_itself_is_used_where_no_fallback_can_be_reached(tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    async with waiting_for(browser) as (s, host):
        nobody = replace(host.fallback[0], port=1)
        await s.supervisor.up(s.profile(local(), host=replace(host, fallback=(nobody,))), here())
        # The fallback is tried again while the program is silent, which goes on.
        await eventually_async(
            lambda: sum("spare" in e.message for e in s.events if e.name == "server") > 1,
            "the spare is tried twice",
        )
        browser.answer("go")
        await s.until_host(HostState.UP)
        assert s.host_status().fallback is None
        assert browser.started == 1


async def test_one_before_a_hop_holds_up_no_fallback_either(tmp_path: Path) -> None:
    """Nor of two hosts that share the hop, of which one began it."""
    browser = Browser(tmp_path)
    async with waiting_for(browser) as (s, host):
        hop = replace(host, name="gateway", fallback=())
        behind = replace(host, proxy_command=(), proxy_jump=(hop,))
        other = replace(behind, name="other")
        profile = replace(s.profile(local(), host=behind), hosts=(behind, other))
        await s.supervisor.up(profile, here())
        for name in ("server", "other"):
            await eventually_async(
                lambda name=name: s.host_status(name).fallback == "spare",  # type: ignore[misc]  # a lambda's default
                "the spare serves",
            )
            error = s.host_status(name).last_error
            assert error is not None
            assert error.message.startswith("hop gateway (")
        assert browser.started == 1


async def test_status_says_what_is_waited_for_where_there_is_no_fallback(tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    async with waiting_for(browser) as (s, host):
        await s.supervisor.up(s.profile(local(), host=replace(host, fallback=())), here())

        def told() -> str:
            error = s.host_status().last_error
            return "" if error is None else error.message

        await eventually_async(told, "it says why it is not up")
        assert s.host_status().state is HostState.CONNECTING
        assert "no output for 2 s (limit 600 s)" in told()
        assert any("no output" in e.message for e in s.events if e.name == "server")
        browser.answer("go")
        status = await s.until_host(HostState.UP)
        assert status.last_error is None
        assert browser.started == 1


async def test_down_ends_the_program(tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    async with waiting_for(browser) as (s, host):
        await _on_fallback(s, host)
        await s.supervisor.down("dev", 0)
        await eventually_async(lambda: not browser.running, "it has ended")


async def test_a_silent_fallback_holds_up_no_host_that_is_back(tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    async with waiting_for(browser) as (s, host):
        silent = replace(host, fallback=())
        await s.server.kill()
        back = replace(host, proxy_command=(), fallback=(silent,), connect_timeout=10.0)
        await s.supervisor.up(s.profile(local(), host=back), here())
        await eventually_async(lambda: browser.started == 1, "the spare is tried")
        await s.server.start()
        await s.until_host(HostState.UP)
        assert s.host_status().fallback is None
        assert browser.started == 1
