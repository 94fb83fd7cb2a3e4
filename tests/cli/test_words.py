"""Words that people type for what there is an option or a signal for: `help`, `version`, `stop`."""

from __future__ import annotations

import shutil

import pytest

from tests.cli.test_streams import NOT_ASCII
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl import __version__, is_compiled


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("help", "--help"),
        ("help up", "up --help"),
        ("help service install", "service install --help"),
        ("version", "--version"),
    ],
)
def test_help_and_version_as_words(world: World, words: str, same: str) -> None:
    assert world.ok(*words.split()) == world.ok(*same.split())


def test_the_version_says_whether_the_data_path_is_compiled(world: World) -> None:
    kind = "compiled" if is_compiled() else "pure Python"
    assert world.ok("--version") == f"tunnelctl {__version__} ({kind})\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [("help srevice", "did you mean 'service'?"), ("help up x", "no such command 'x'")],
)
def test_help_for_what_there_is_not(world: World, words: str, said: str) -> None:
    done = world.run(*words.split())
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ps --bogus", "no such option '--bogus' (tunnelctl ps --help shows the usage)"),
        ("pss", "no such command 'pss'; did you mean 'ps'? (tunnelctl --help shows the usage)"),
        ("port", "missing argument 'PROFILE/FORWARD' (tunnelctl port --help shows the usage)"),
        ("port a b", "got unexpected extra argument (b) (tunnelctl port --help shows the usage)"),
        ("ps -l", "option '-l' requires an argument (tunnelctl ps --help shows the usage)"),
        (
            "logs -n x",
            "invalid value for '-n' / '--lines': 'x' is not a whole number "
            "(tunnelctl logs --help shows the usage)",
        ),
    ],
)
def test_wrong_usage_is_one_line_that_says_where_the_usage_is(
    world: World, words: str, said: str
) -> None:
    done = world.run(*words.split())
    assert done.returncode == 2
    assert done.stderr == f"tunnelctl: {said}\n"


def test_daemon_stop(world: World) -> None:
    world.profile("dev", NOT_ASCII)
    assert world.run("daemon", "stop").returncode == 3
    world.ok("up", "dev", "-d")
    pid = world.daemon_pid()
    done = world.run("daemon", "stop")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"tunnelctl: the daemon has stopped (pid {pid})",
        "tunnelctl: still wanted, and brought up by the next daemon: dev",
    ]
    eventually(lambda: not world.processes(), "nothing of it is left")
    assert world.run("ps").returncode == 3


def test_ps_by_label(world: World) -> None:
    world.profile("dev", NOT_ASCII.replace("via: demo", "via: demo, labels: {team: web}"))
    world.profile("other", NOT_ASCII)
    world.ok("up", "dev", "other", "-d")
    assert world.forward("dev", "hello")["labels"] == {"team": "web"}
    _, row = world.ok("ps", "--label", "team=web").splitlines()
    assert row.startswith("dev/hello")
    assert world.ok("ps", "--label", "team=ops").startswith("NAME")


def test_many_rows_and_reasons_are_summed_up(world: World) -> None:
    lost = "x: {local: 0, to: 1, via: lost}"
    hosts = "hosts: {demo: {embedded: true}, lost: {hostname: 192.0.2.1, identity_file: /none}}"
    rows = "\n".join(f"  f{n}: {{local: 0, to: 'hello:80', via: demo}}" for n in range(30))
    world.profile("dev", f"{hosts}\nforwards:\n  {lost}\n{rows}\n")
    world.run("up", "dev", "-d", "--wait-timeout", "5s")
    done = world.run("ps")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 32
    assert done.stdout.splitlines()[1].startswith("dev/x ")
    assert done.stderr.startswith("tunnelctl: 31 forwards: 1 ")


def test_help_in_a_terminal_is_the_man_page_of_this_installation(world: World) -> None:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man is not installed")
    reading = {"MANPAGER": "cat", "MANWIDTH": "100", "MANPATH": "/nowhere"}
    with world.terminal("help", "service", "install", environ=reading) as terminal:
        terminal.expect("Run the daemon under systemd or launchd")
        assert terminal.wait() == 0


def test_help_in_a_terminal_without_man_is_that_of_the_option(world: World) -> None:
    with world.terminal("help", "up", environ={"PATH": "/nowhere"}) as terminal:
        terminal.expect("Usage: tunnelctl up")
        assert terminal.wait() == 0
