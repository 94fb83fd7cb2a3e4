"""`ps --watch` in a real terminal, in a pipe, and frame by frame."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.cli.test_commands import GONE
from tests.support.profiles import EMBEDDED
from tests.support.services import EchoService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.tmux import Tmux
from tests.support.waiting import eventually
from tests.support.world import World

# The shell stays to show what the command left behind.
_SHELL = ("sh", "-c", 'trap : INT; "$@"; echo "code=$?"; exec sleep 600', "sh")
_RETRY = re.compile(r"retry in (\d+)s \(#\d+\)")


def watching(world: World, *words: str, columns: int = 80, **environ: str) -> Tmux:
    command = (*_SHELL, sys.executable, "-m", "tunnelctl", "ps", "-w", *words)
    return Tmux(command, world.home, {**world.environ, **environ}, columns, 24)


@pytest.fixture
def busy(world: World, sshd: OpenSSHServer) -> Iterator[World]:
    """A world with a forward that works, and one whose host cannot be reached."""
    with EchoService() as echo:
        world.tunnel(sshd, echo=f"local: 0, to: {echo.port}")
        world.profile("gone", GONE.replace("user: me", "user: me, reconnect: {min: 8s, max: 8s}"))
        world.ok("up", "dev", "-d")
        world.run("up", "gone", "-d", "--wait-timeout", "1s")
        yield world


def test_at_eighty_columns(busy: World) -> None:
    with watching(busy) as tmux:
        eventually(lambda: "retry in" in "".join(tmux.screen()), "the table is shown")
        screen = tmux.screen()
        header, first, second, *below = screen
        assert header.split()[:2] == ["NAME", "TYPE"]
        assert header.endswith("IN/OUT/s  AGE")
        assert (first.split()[0], second.split()[0]) == ("gone/x", "dev/echo")
        assert any("gone" in line for line in below)
        assert max(map(len, screen)) <= 80
        assert not tmux.shows_cursor()
        assert tmux.coloured()

        def seconds() -> int:
            found = _RETRY.search("\n".join(tmux.screen()))
            return int(found[1]) if found else 0

        last = eventually(lambda: (left := seconds()) > 1 and left, "a retry is waited for")
        eventually(lambda: 0 < seconds() < last, "the seconds are counted down")

        with connect(int(busy.forward("dev", "echo")["listen"].rpartition(":")[2])) as client:
            client.sendall(b"x" * 90_000)
            received = 0
            while received < 90_000:
                received += len(client.recv(65536))
            eventually(lambda: re.search(r" 1 +\d+k/\d+k ", tmux.screen()[2]), "bytes a second")
        eventually(lambda: re.search(r" 0 +- ", tmux.screen()[1]), "no more bytes")

        busy.ok("down", "dev")
        eventually(lambda: "dev/echo" not in "".join(tmux.screen()), "what is down has left")
        tmux.resize(50, 24)

        def fits() -> bool:
            # tmux folds at once what is there; the command draws anew a little later.
            _, row, *_ = shown = tmux.screen()
            return row.startswith("gone/x") and max(map(len, shown)) <= 50

        eventually(fits, "it fits the smaller window")
        tmux.press("C-c")
        eventually(lambda: "code=130" in tmux.screen(), "it ends")
        assert tmux.shows_cursor()
        assert any(line.startswith("gone/x") for line in tmux.screen()), "the last frame stays"


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_without_colour(busy: World, variable: str) -> None:
    """A dumb terminal gets one table below the other."""
    value = {"NO_COLOR": "1", "TERM": "dumb"}[variable]
    command = ("env", f"{variable}={value}", sys.executable, "-m", "tunnelctl", "ps", "-w", "dev")
    with Tmux((*_SHELL, *command), busy.home, busy.environ, 100, 24) as tmux:
        eventually(lambda: "dev/echo" in "".join(tmux.screen()), "the table is shown")
        assert not tmux.coloured()
        assert tmux.shows_cursor() is (variable == "TERM")


def test_ps_itself_fits_its_terminal(busy: World) -> None:
    command = (*_SHELL, sys.executable, "-m", "tunnelctl", "ps", "dev")
    with Tmux(command, busy.home, busy.environ, 60, 24) as tmux:
        eventually(lambda: "code=0" in tmux.screen(), "it ends")
        header, row, *_ = tmux.screen()
        assert header.startswith("NAME")
        assert row.startswith("dev/echo")
        assert "up" in row.split()


def test_a_pipe_gets_one_table_after_another(world: World) -> None:
    world.profile("dev", EMBEDDED)
    world.ok("up", "dev", "-d")
    process = world.start("ps", "--watch")
    assert process.stdout is not None
    try:
        first = [process.stdout.readline() for _ in range(3)]
        assert [line.split()[:1] for line in first] == [["NAME"], ["dev/hello"], []]
        world.ok("down", "dev")
        assert process.stdout.readline().split()[:1] == ["NAME"]
    finally:
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert "\x1b" not in "".join(first) + output
    assert process.returncode == 130
    assert errors.strip() == "tunnelctl: interrupted"


def test_a_program_gets_one_document_a_line(world: World) -> None:
    world.profile("dev", EMBEDDED)
    world.ok("up", "dev", "-d")
    process = world.start("ps", "--watch", "--json", "dev/hello")
    assert process.stdout is not None
    try:
        (profile,) = json.loads(process.stdout.readline())["profiles"]
        assert [forward["name"] for forward in profile["forwards"]] == ["hello"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def test_a_daemon_that_goes_away_and_comes_back(world: World) -> None:
    world.profile("dev", EMBEDDED)
    world.ok("up", "dev", "-d")
    with watching(world) as tmux:
        eventually(lambda: "dev/hello" in "".join(tmux.screen()), "the table is shown")
        world.kill_daemon()
        eventually(lambda: tmux.screen()[1:] == ["waiting for a daemon"], "only that is told")
        assert tmux.screen()[0].startswith("tunnelctl: the daemon ")
        world.ok("up", "dev", "-d")
        eventually(lambda: re.search("dev/hello .* up ", "\n".join(tmux.screen())), "the next one")


def test_a_pipe_has_no_table_of_a_daemon_that_went_away(world: World) -> None:
    world.profile("dev", EMBEDDED)
    world.ok("up", "dev", "-d")
    table, json_lines = world.start("ps", "-w"), world.start("ps", "-w", "--json")
    for process in (table, json_lines):
        assert process.stdout is not None
        process.stdout.readline()
    world.kill_daemon()
    _, said = json_lines.communicate(timeout=20)
    assert (json_lines.returncode, said) == (3, "tunnelctl: the daemon has stopped\n")
    try:
        assert table.stdout is not None
        assert any(line == "waiting for a daemon\n" for line in table.stdout)
        world.ok("up", "dev", "-d")
        assert any(line.startswith("dev/hello") for line in table.stdout)
    finally:
        table.send_signal(signal.SIGINT)
        table.communicate(timeout=20)


def test_without_a_daemon_it_ends(world: World) -> None:
    assert world.run("ps", "-w").returncode == 3
