"""A daemon that is there and does not answer: it is told at once, and nothing is started beside."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from unittest import mock

import pytest

from tests.dashboard.board import dashboard
from tests.support.processes import is_halted
from tests.support.profiles import EMBEDDED
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.cli import sentences
from tunnelctl.cli.running.adhoc import AdHocProfile
from tunnelctl.client import Client
from tunnelctl.client import client as of_client
from tunnelctl.errors import Code, Fact, Failure
from tunnelctl.home.paths import Paths

WAITING = "tunnelctl: waiting for the daemon to answer\n"


@contextmanager
def frozen(world: World) -> Iterator[None]:
    """The daemon is stopped (SIGSTOP) for the length of a block."""
    pid = world.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        eventually(lambda: is_halted(pid), "it is stopped")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize(
    "command", [("ps",), ("up", "dev", "-d"), ("connections",), ("down", "dev")]
)
def test_a_command_tells_what_it_waits_for(embedded: World, command: tuple[str, ...]) -> None:
    embedded.ok("up", "dev", "-d")
    with frozen(embedded):
        process = embedded.start(*command)
        assert process.stderr is not None
        assert process.stderr.readline() == WAITING
        assert process.poll() is None
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, "it has waited long enough"
    assert WAITING not in said, "once"


@pytest.fixture
def silent(embedded: World, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The client of something that listens and never answers; it waits for 0.2 s."""
    monkeypatch.setattr(of_client, "ANSWER_WITHIN", 0.2)
    monkeypatch.setattr(Client.status, "__kwdefaults__", {"lease": None, "within": 0.2})
    paths.socket.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, mock.patch.dict(os.environ, embedded.environ):
        listener.bind(str(paths.socket))
        listener.listen(1)
        yield Client(paths)


def test_none_is_started_beside_one_that_does_not_answer(silent: Client, paths: Paths) -> None:
    unnamed = AdHocProfile("unnamed", {})
    for ask in (silent.ensure_daemon, silent.is_current, lambda: unnamed.plans(silent)):
        with pytest.raises(Failure) as raised:
            ask()
        assert Fact.DAEMON_SILENT in raised.value.facts
    assert not paths.log_file.exists(), "a daemon was started"
    assert not (paths.state_dir / "adhoc").exists(), "a name that may be taken was used"


def test_a_full_backlog_is_a_daemon_that_does_not_answer(silent: Client, paths: Paths) -> None:
    """Linux refuses a connection to it, other than with TCP."""
    with _full(paths), pytest.raises(Failure) as raised:
        silent.status(within=0.2)
    assert Fact.DAEMON_SILENT in raised.value.facts


def test_what_a_silent_daemon_holds_is_not_called_down(silent: Client) -> None:
    with pytest.raises(Failure) as raised:
        silent.version()
    told = sentences.daemon_lost(raised.value).message
    assert told == "the daemon does not answer; once it does, the profiles of this command go down"
    gone = Failure(Code.DAEMON_NOT_RUNNING, "the daemon has stopped")
    assert sentences.daemon_lost(gone).message == "the daemon has stopped; nothing is up any more"


@contextmanager
def _full(paths: Paths) -> Iterator[None]:
    waiting: list[socket.socket] = []
    try:
        while True:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            waiting.append(sock)
            try:
                sock.connect(str(paths.socket))
            except BlockingIOError:
                break
        yield
    finally:
        for sock in waiting:
            sock.close()


def test_a_client_that_has_left_meanwhile_is_no_error(embedded: World, paths: Paths) -> None:
    embedded.profile("web", EMBEDDED.replace("via: demo", "via: demo, inspect: http"))
    embedded.ok("up", "web", "-d")
    with frozen(embedded), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(paths.socket))
        client.sendall(b"GET /v1/requests/web/hello HTTP/1.0\r\n\r\n")
    assert embedded.daemon_pid(), "it has answered everybody"
    assert "failed" not in paths.log_file.read_text()


@pytest.mark.parametrize("is_full", [False, True])
def test_the_page_is_told(embedded: World, paths: Paths, is_full: bool) -> None:
    embedded.ok("up", "dev", "-d")
    with dashboard(embedded) as board:
        board.log_in()
        with board.events() as events:
            assert next(told for kind, told in events if kind == "view")
            with frozen(embedded), _full(paths) if is_full else nullcontext():
                about = next(told for kind, told in events if kind == "daemon")
                assert about["message"] == "the daemon does not answer"
            assert next(told for kind, told in events if kind == "daemon")["answers"]
