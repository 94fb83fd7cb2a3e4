"""`top` with a real daemon: by its keys, and once each in the terminals that people have."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot

from tests.support.processes import children
from tests.support.services import EchoService, connect
from tests.support.tmux import Tmux
from tests.support.waiting import eventually, eventually_async
from tests.support.world import World, private_world
from tests.top.screens import text_of
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths
from tunnelctl.spec.environment import Environment
from tunnelctl.top.app import Top

# The shell stays to show what the command left behind.
_SHELL = ("sh", "-c", 'trap : INT; "$@"; echo "code=$?"; exec sleep 600', "sh")
# SGR (ECMA-48): 30 to 38 and so on are colours, 39 and 49 the terminal's own; 7 is reverse video.
_COLOUR = re.compile(r"\x1b\[(\d+;)*(3[0-8]|4[0-8]|9\d|10\d)[;m]")
_REVERSE = re.compile(r"\x1b\[(\d+;)*7[;m]")

GONE = """\
version: 1
hosts:
  gone: {hostname: 127.0.0.1, port: 1, user: me, reconnect: {min: 8s, max: 8s}}
forwards:
  x: {local: 0, to: 9, via: gone}
"""
DEV = """\
version: 1
hosts:
  bastion: {{embedded: true}}
forwards:
  echo: {{local: 0, to: {port}, via: bastion}}
  web: {{local: 0, to: "hello:80", via: bastion, inspect: http}}
"""


@pytest.fixture(scope="module")
def busy() -> Iterator[World]:
    """A daemon with a profile that works, and one whose host cannot be reached."""
    with private_world() as world, EchoService() as echo:
        world.profile("dev", DEV.format(port=echo.port))
        world.profile("gone", GONE)
        world.ok("up", "dev", "-d")
        world.run("up", "gone", "-d", "--wait-timeout", "1s")
        yield world


@asynccontextmanager
async def running(world: World) -> AsyncIterator[tuple[Pilot[None], Callable[[], str]]]:
    """`top` in this process, and what it shows."""
    client = Client(Paths.from_environ(world.environ))
    app = Top(client, lambda: Environment(world.environ))
    async with app.run_test(size=(100, 24)) as pilot:
        await eventually_async(lambda: "dev/echo" in text_of(app), "the rows are shown")
        yield pilot, lambda: text_of(app)


def client_of(world: World) -> socket.socket:
    """A client of the forward that answers, with its first answer received."""
    address = str(world.forward("dev", "echo")["listen"])
    client = connect(int(address.rpartition(":")[2]))
    client.sendall(b"x")
    assert client.recv(1) == b"x"
    return client


async def test_the_rows_and_what_is_broken(busy: World) -> None:
    async with running(busy) as (_, shown):
        assert re.search(r"^gone/x .*retry in \ds", shown(), re.MULTILINE)
        assert re.search(r"^dev/echo .* up ", shown(), re.MULTILINE)
        mend = "tunnelctl restart gone/gone"
        await eventually_async(lambda: mend in shown(), "the command that fixes it")


async def test_a_profile_goes_down_and_comes_up(busy: World) -> None:
    async with running(busy) as (pilot, shown):
        await pilot.press("slash", *"echo", "enter", "d", "y")
        await eventually_async(lambda: "dev is down" in shown(), "it is down")
        await eventually_async(lambda: " stopped " in shown(), "it is shown as stopped")
        await pilot.press("u")
        await eventually_async(lambda: re.search(r"dev/echo .* up ", shown()), "it is up again")


async def test_one_connection_is_closed(busy: World) -> None:
    with client_of(busy) as stays, client_of(busy) as closed:
        async with running(busy) as (pilot, shown):
            await pilot.press("c")
            port = closed.getsockname()[1]
            await pilot.press("slash", *str(port), "enter")
            await eventually_async(lambda: re.search(rf":{port} .* open ", shown()), "it is shown")
            await pilot.press("x", "y")
            await eventually_async(lambda: re.search(r":\d+ .* closed", shown()), "it has ended")
        with pytest.raises(ConnectionResetError):
            closed.recv(1)
        stays.sendall(b"y")
        assert stays.recv(1) == b"y"


async def test_the_connections_have_their_process(busy: World) -> None:
    with client_of(busy):
        async with running(busy) as (pilot, shown):
            await pilot.press("c")
            await eventually_async(lambda: f"({os.getpid()}" in shown(), "this process is shown")


async def test_the_log_and_the_hosts(busy: World) -> None:
    async with running(busy) as (pilot, shown):
        await pilot.press("h")
        await eventually_async(lambda: re.search(r"dev/bastion .* ms", shown()), "a round trip")
        await pilot.press("l")
        await eventually_async(lambda: "INFO" in shown(), "the log")
        await asyncio.to_thread(busy.ok, "restart", "gone")
        await eventually_async(lambda: "gone" in shown().partition("TIME")[2], "a new line")


async def test_the_requests_of_an_inspected_forward(busy: World) -> None:
    url = f"http://{busy.forward('dev', 'web')['listen']}/some/path?x=1"
    async with running(busy) as (pilot, shown):
        await pilot.press("i")
        assert "the cursor is not on a forward with inspect: http" in shown()
        await pilot.press("down")
        await eventually_async(lambda: "the cursor is not" not in shown(), "it was of another row")
        await pilot.press("slash", *"hello:80", "enter", "i")
        await asyncio.to_thread(lambda: urllib.request.urlopen(url).close())
        await eventually_async(lambda: re.search(r"GET .* 200 .*/some/path", shown()), "a request")
        await pilot.press("enter")
        await eventually_async(lambda: "GET /some/path?x=1 HTTP/1.1" in shown(), "its head")
        assert "Hello, World!" in shown(), "its body"
        assert re.search(r"tunnelctl requests dev/web --replay \d+", shown())


async def test_a_refused_order_is_one_line(busy: World) -> None:
    file = busy.configs / "gone.yaml"
    text = file.read_text()
    async with running(busy) as (pilot, shown):
        await pilot.press("slash", *"gone", "enter", "d", "y")
        await eventually_async(lambda: "gone is down" in shown(), "it is down")
        file.write_text("version: 1\nhosts: {gone: {prot: 1}}\n")
        await pilot.press("u")
        await eventually_async(lambda: "gone.yaml" in shown(), "the reason is shown")
        assert "Traceback" not in shown()
    file.write_text(text)
    busy.run("up", "gone", "-d", "--wait-timeout", "1s")


async def test_a_daemon_that_goes_away_and_comes_back(busy: World) -> None:
    async with running(busy) as (_, shown):
        busy.kill_daemon()
        await eventually_async(lambda: "waiting for a daemon" in shown(), "it is said")
        assert "dev/echo" not in shown(), "nobody knows whether it is up"
        busy.run("up", "dev", "-d")
        await eventually_async(lambda: re.search(r"dev/echo .* up ", shown()), "the next one")


async def test_a_daemon_that_does_not_answer_for_five_seconds(world: World) -> None:
    world.unwatch()  # its loop is held up
    world.profile("dev", DEV.format(port=9))
    world.ok("up", "dev", "-d")
    pid = world.daemon_pid()
    async with running(world) as (_, shown):
        os.kill(pid, signal.SIGSTOP)
        try:
            await eventually_async(lambda: "does not answer" in shown(), "it is said", seconds=30)
            assert "dev/echo" not in shown(), "nobody knows whether it is up"
        finally:
            os.kill(pid, signal.SIGCONT)
        await eventually_async(lambda: re.search(r"dev/echo .* up ", shown()), "it is back")


def terminal(world: World, columns: int, lines: int, *environ: str) -> Tmux:
    """`top` in a real terminal, with these variables in its environment."""
    command = (*_SHELL, "env", *environ, sys.executable, "-m", "tunnelctl", "top")
    return Tmux(command, world.home, world.environ, columns, lines)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
def test_a_real_terminal(busy: World, size: tuple[int, int]) -> None:
    with terminal(busy, *size) as tmux:
        eventually(lambda: "dev/echo" in "\n".join(tmux.screen()), "the rows are shown")
        assert "? help" in tmux.screen()[-1]
        assert _COLOUR.search(tmux.drawn())
        tmux.press("h")
        eventually(lambda: "dev/bastion" in "\n".join(tmux.screen()), "the hosts are shown")
        tmux.press("q")
        eventually(lambda: "code=0" in tmux.screen(), "it ends")
        assert tmux.shows_cursor()


def test_a_signal_to_end_restores_the_terminal(busy: World) -> None:
    with terminal(busy, 80, 24) as tmux:
        eventually(lambda: "dev/echo" in "\n".join(tmux.screen()), "the rows are shown")
        assert not tmux.shows_cursor()
        (child,) = children(tmux.pid())
        os.kill(child, signal.SIGTERM)
        eventually(lambda: "code=0" in tmux.screen(), "it ends")
        assert tmux.shows_cursor()
        assert "dev/echo" not in "\n".join(tmux.screen())


def test_it_ends_with_its_terminal(busy: World) -> None:
    """At once: textual, which writes to it at its end, may wait forever."""
    with busy.terminal("top", environ={"COLUMNS": "80", "LINES": "24"}) as window:
        window.expect("dev/echo")
        assert window.hang_up() == -signal.SIGHUP


def test_no_color(busy: World) -> None:
    with terminal(busy, 80, 24, "NO_COLOR=1") as tmux:
        eventually(lambda: "dev/echo" in "\n".join(tmux.screen()), "the rows are shown")
        assert _REVERSE.search(tmux.drawn()), "the cursor can be seen"
        assert not _COLOUR.search(tmux.drawn())


def test_a_dumb_terminal_is_told_what_to_use(busy: World) -> None:
    with terminal(busy, 160, 24, "TERM=dumb") as tmux:
        eventually(lambda: "code=2" in tmux.screen(), "it ends")
        said = " ".join(tmux.screen())
        assert "top needs a terminal: TERM is dumb" in said
        assert "tunnelctl ps --watch" in said


def test_a_pipe_is_told_what_to_use(busy: World) -> None:
    done = busy.run("top")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "tunnelctl ps --watch" in line


_WITHOUT_TEXTUAL = """
import sys
sys.modules["textual"] = None
sys.stdin.isatty = sys.stdout.isatty = lambda: True
from tunnelctl.cli.main import run
sys.exit(run(["top"]))
"""


def test_without_the_extra_the_pip_command_is_named(busy: World) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TEXTUAL],
        env={**busy.environ, "TERM": "xterm"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f"{shlex.quote(sys.executable)} -m pip install 'tunnelctl[top]'" in line


def test_without_a_daemon_it_ends_as_ps_does(world: World) -> None:
    with Tmux(
        (*_SHELL, sys.executable, "-m", "tunnelctl", "top"), world.home, world.environ, 80, 24
    ) as tmux:
        eventually(lambda: "code=3" in tmux.screen(), "it ends")
