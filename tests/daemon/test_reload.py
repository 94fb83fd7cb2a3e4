"""Files read again while everything runs: what differs is applied, what does not lives on."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.daemon.conftest import Api
from tests.support.ports import free_port
from tests.support.profiles import EMBEDDED
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.client import Client, EventStream
from tunnelctl.home.paths import Paths

WRONG = "version: 1\nhosts:\n  demo: {prot: 22}\n"
TWO = EMBEDDED + '  more: {local: 0, to: "hello:80", via: demo}\n'


class Traffic:
    """One connection that is echoed block for block, from its start to `rounds`' last reading."""

    def __init__(self, port: int) -> None:
        self.rounds = 0
        self.broken: BaseException | None = None
        self._ended = threading.Event()
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._thread = threading.Thread(target=self._run, name="traffic")
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                block = os.urandom(30_000)
                self._sock.sendall(block)
                received = b""
                while len(received) < len(block):
                    chunk = self._sock.recv(65536)
                    assert chunk, "it ended"
                    received += chunk
                assert received == block
                self.rounds += 1
        except BaseException as error:
            self.broken = error

    def goes_on(self) -> bool:
        """Whether two more rounds go well from here."""
        after = self.rounds + 2
        eventually(lambda: self.rounds >= after or self.broken, "traffic")
        return self.broken is None

    def close(self) -> None:
        """End it."""
        self._ended.set()
        self._thread.join(20)
        self._sock.close()


@contextmanager
def traffic(port: int) -> Iterator[Traffic]:
    """Traffic that must not break."""
    one = Traffic(port)
    try:
        yield one
        assert one.goes_on(), one.broken
    finally:
        one.close()


def listens(port: int) -> bool:
    """Whether someone listens there."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=20).close()
    except ConnectionError:
        return False
    return True


def test_open_connections_of_what_is_unchanged_live_on(world: World, sshd: OpenSSHServer) -> None:
    kept, moved, moved_to, gone, added = (free_port() for _ in range(5))
    with EchoService() as echo:

        def rule(port: int) -> str:
            return f'local: {port}, to: "127.0.0.1:{echo.port}"'

        world.tunnel(sshd, kept=rule(kept), moved=rule(moved), gone=rule(gone))
        world.ok("up", "dev", "-d")
        with traffic(kept) as open_one, Broken(moved) as reset:
            world.tunnel(sshd, kept=rule(kept), moved=rule(moved_to), added=rule(added))
            plan = world.ok("reload", "--dry-run").splitlines()
            assert plan == [
                "dev: forward gone removed",
                "dev: forward moved replaced",
                "dev: forward added added",
            ]
            assert listens(gone)
            assert not listens(added)
            assert world.ok("reload", "dev").splitlines() == plan
            assert open_one.goes_on()
            assert listens(moved_to)
            assert listens(added)
            assert not listens(gone)
            assert not listens(moved)
            assert reset.is_reset()
            assert world.ok("reload").splitlines() == ["dev: unchanged"]
            assert world.host("dev")["reconnects"] == 0


class Broken:
    """A connection that a reload must end."""

    def __init__(self, port: int) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._sock.sendall(b"x")
        assert self._sock.recv(1) == b"x"

    def is_reset(self) -> bool:
        """Whether it ended with a reset."""
        try:
            self._sock.recv(1)
        except ConnectionResetError:
            return True
        return False

    def __enter__(self) -> Broken:
        return self

    def __exit__(self, *error: object) -> None:
        self._sock.close()


def test_a_storm_of_hangups_under_load(world: World, sshd: OpenSSHServer) -> None:
    kept, changing = free_port(), [free_port() for _ in range(4)]
    with EchoService() as echo:

        def write(port: int) -> None:
            to = f'to: "127.0.0.1:{echo.port}"'
            # As an editor does: never half a file.
            text = world.tunnel(sshd, kept=f"local: {kept}, {to}", other=f"local: {port}, {to}")
            assert text.exists()

        write(changing[0])
        world.ok("up", "dev", "-d")
        pid = world.daemon_pid()
        with traffic(kept) as open_one:
            for number in range(100):
                if number % 25 == 0:
                    write(changing[number // 25])
                os.kill(pid, signal.SIGHUP)
            eventually(lambda: listens(changing[-1]), "the last version runs")
            assert [port for port in changing[:-1] if listens(port)] == []
            assert open_one.goes_on()
        assert world.daemon_pid() == pid
        assert world.host("dev")["reconnects"] == 0


def told(stream: EventStream) -> dict[str, Any]:
    """The next event about the profile `dev` itself."""
    while True:
        event = stream.next(20)
        assert event is not None, "nothing is told"
        if (event.kind, event.profile) == ("profile", "dev"):
            return event.as_json()


def test_a_wrong_file_changes_nothing_and_is_shown(
    api: Api, client: Client, embedded: World, paths: Paths
) -> None:
    """Not even in the other profile, whose file is good and differs."""
    embedded.ok("up", "other", "-d")
    listen = embedded.forward("other", "hello")["listen"]
    embedded.profile("dev", WRONG)
    embedded.profile("other", TWO)
    for arguments in (["reload"], ["reload", "--dry-run"]):
        done = embedded.run(*arguments)
        assert done.returncode == 78
        assert "dev.yaml:3:10: hosts.demo.prot" in done.stderr
        assert "nothing was changed: at least one file is invalid" in done.stderr
        assert done.stdout == ""
    with client.events() as stream:
        os.kill(embedded.daemon_pid(), signal.SIGHUP)
        event = told(stream)
    eventually(lambda: "nothing was reloaded" in paths.log_file.read_text(), "SIGHUP reloads too")
    assert (event["state"], event["name"], event["error"]["code"]) == ("up", "", "config-invalid")
    assert "dev.yaml:3:10" in event["message"]
    statuses = {p["name"]: p for p in api.ask("GET", "/v1/status").json["profiles"]}
    assert (statuses["dev"]["state"], statuses["other"]["state"]) == ("up", "up")
    assert len(statuses["other"]["forwards"]) == 1
    assert statuses["other"]["forwards"][0]["listen"] == listen
    assert statuses["other"]["last_error"] is None
    assert statuses["dev"]["last_error"]["code"] == "config-invalid"
    shown = embedded.run("ps")
    assert shown.returncode == 0
    assert "dev: its file cannot be used" in shown.stderr
    assert "tunnelctl check dev" in shown.stderr
    # A good file mends it.
    embedded.profile("dev", TWO)
    with client.events() as stream:
        assert sorted(embedded.ok("reload").splitlines()) == [
            "dev: forward more added",
            "other: forward more added",
        ]
        event = told(stream)
    assert (event["message"], event["error"]) == ("its file can be used again", None)
    assert embedded.run("ps").stderr == ""


def test_a_file_that_is_gone_ends_nothing(api: Api, embedded: World) -> None:
    (embedded.configs / "dev.yaml").unlink()
    done = embedded.run("reload", "dev")
    assert done.returncode == 78
    assert "dev.yaml" in done.stderr
    (profile,) = api.ask("GET", "/v1/status").json["profiles"]
    assert profile["state"] == "up"


def test_only_what_is_wanted_can_be_reloaded(api: Api, embedded: World) -> None:
    done = embedded.run("reload", "other")
    assert done.returncode == 1
    assert "tunnelctl up other -d" in done.stderr
    for body in ({"names": "dev"}, {"names": ["../x"]}, {"dry_run": 1}, {"name": "dev"}):
        assert api.ask("POST", "/v1/reload", body).status == 400
    embedded.ok("down", "dev")
    assert api.ask("POST", "/v1/reload").json["profiles"] == []


def test_what_was_taken_down_meanwhile_stays_down(api: Api, embedded: World) -> None:
    """Reloads and a `down` in any order end with the profile down."""
    embedded.profile("dev", TWO)
    reloads = [embedded.start("reload") for _ in range(3)]
    embedded.ok("down", "dev", "-t", "0s")
    for reload in reloads:
        reload.communicate(timeout=30)
    (profile,) = api.ask("GET", "/v1/status").json["profiles"]
    assert (profile["wanted"], profile["state"]) == ("down", "stopped")


def test_files_can_be_watched(embedded: World) -> None:
    with embedded.start("daemon", "dev", "--watch") as daemon:
        try:
            eventually(lambda: embedded.run("ps").returncode == 0, "it is up")
            temporary: Path = embedded.profile("dev.new", TWO)
            temporary.rename(embedded.configs / "dev.yaml")
            eventually(
                lambda: len(embedded.status()["profiles"][0]["forwards"]) == 2, "it is reloaded"
            )
        finally:
            daemon.terminate()
            daemon.communicate(timeout=15)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_tries_again_at_once(world: World, paths: Paths, number: signal.Signals) -> None:
    """A host whose next try is minutes away."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen: refused
        port = silent.getsockname()[1]
        world.profile(
            "dev",
            f"version: 1\nhosts:\n  gone: {{hostname: 127.0.0.1, port: {port}, user: me, "
            "reconnect: {min: 10m, max: 10m}}\nforwards: {x: {local: 0, to: 9, via: gone}}\n",
        )
        world.run("up", "dev", "-d", "--wait-timeout", "100ms")
        tries = eventually(lambda: int(world.host("dev", "gone")["attempts"]), "the first try")
        os.kill(world.daemon_pid(), number)
        eventually(lambda: world.host("dev", "gone")["attempts"] > tries, "the next one")
