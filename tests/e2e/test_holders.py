"""A profile is up as long as somebody holds it, and what `up` says of Ctrl-C is what it does."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.daemon.conftest import Api
from tests.support.clients import ask
from tests.support.ports import free_port
from tests.support.processes import is_halted
from tests.support.profiles import EMBEDDED
from tests.support.services import ReplyAfterEndService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.home.paths import Paths

_MORE_EVENTS_THAN_ITS_SOCKET_HOLDS = 300
PRINTS_AND_WAITS = ("sh", "-c", "echo here; read x; echo $x")


@pytest.fixture
def dev(world: World) -> World:
    world.profile("dev", EMBEDDED)
    return world


@contextmanager
def running(world: World, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command with a pipe to its standard input; killed at the end, if it still runs."""
    process = world.start(*arguments, stdin=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


class Attached:
    """An attached `up`, and what it said."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.said.extend(iter(self.process.stderr.readline, ""))

    def until(self, text: str) -> None:
        """Wait until a line has it."""
        eventually(lambda: any(text in line for line in self.said), f"{text!r} in {self.said}")

    def interrupt(self) -> int:
        """Ctrl-C, and its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(20)


@contextmanager
def attached(world: World, *arguments: str) -> Iterator[Attached]:
    """`up ARGUMENTS`, once it is ready."""
    with world.start("up", *arguments) as process:
        one = Attached(process)
        try:
            one.until("Ready; ")
            yield one
        finally:
            process.kill()


def wanted(world: World) -> list[str]:
    """The profiles that are wanted up."""
    return [p["name"] for p in world.status()["profiles"] if p["wanted"] == "up"]


def listens(port: int) -> bool:
    """Whether someone listens there."""
    try:
        connect(port).close()
    except ConnectionError:
        return False
    return True


def holders(world: World, name: str = "dev") -> dict[str, object]:
    """Who holds a profile, as status shows it."""
    (profile,) = (p for p in world.status()["profiles"] if p["name"] == name)
    held: dict[str, object] = profile["holders"]
    return held


def test_the_tunnel_of_one_run_outlives_another(dev: World) -> None:
    def ends(process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("end\n")
        process.stdin.flush()
        assert process.stdout.readline() == "end\n"
        assert process.wait(20) == 0

    with running(dev, "run", "dev", "--", *PRINTS_AND_WAITS) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "here\n"
        port = int(dev.ok("port", "dev/hello").rpartition(":")[2])
        with running(dev, "run", "dev", "--", *PRINTS_AND_WAITS) as second, connect(port) as held:
            assert second.stdout is not None
            assert second.stdout.readline() == "here\n"
            assert holders(dev) == {"detached": False, "service": False, "commands": 2}
            ends(first)  # while a connection is open: nothing is there to wait for
            held.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert held.makefile("rb").read().endswith(b"Hello, World!\n")
            assert wanted(dev) == ["dev"]
            ends(second)
    assert wanted(dev) == []


def test_the_last_attached_up_takes_it_down(dev: World) -> None:
    with attached(dev, "dev") as first, attached(dev, "dev") as second:
        second.until("Ready; Ctrl-C leaves dev up (held by another command).")
        first.until("tunnelctl: Ctrl-C leaves dev up (held by another command).")
        assert first.interrupt() == 130
        first.until("dev stays up: held by another command")
        second.until("tunnelctl: Ctrl-C ends it.")
        assert wanted(dev) == ["dev"]
        assert second.interrupt() == 130
        second.until("taking down dev")
    assert wanted(dev) == []


def test_what_is_held_until_down_is_said_and_stays(dev: World) -> None:
    dev.ok("up", "dev", "-d")
    with attached(dev, "dev") as one:
        one.until("Ready; Ctrl-C leaves dev up (held until tunnelctl down dev).")
        assert one.interrupt() == 130
    assert wanted(dev) == ["dev"]
    dev.ok("down", "dev")
    assert wanted(dev) == []


def test_one_that_comes_with_d_changes_what_is_promised(dev: World) -> None:
    dev.profile("other", EMBEDDED)
    with attached(dev, "dev", "other") as one:
        one.until("Ready; Ctrl-C ends it.")
        dev.ok("up", "dev", "-d")
        one.until("Ctrl-C ends other and leaves dev up (held until tunnelctl down dev).")
        assert one.interrupt() == 130
        one.until("taking down other;")
    assert wanted(dev) == ["dev"]


def test_an_up_that_was_not_ready_in_time_holds_it_until_down(world: World) -> None:
    port = free_port()
    host = f"{{hostname: 127.0.0.1, port: {port}, user: me}}"
    world.profile(
        "dev", f"version: 1\nhosts: {{h: {host}}}\nforwards: {{x: {{local: 0, to: 9, via: h}}}}\n"
    )
    assert world.run("up", "dev", "--wait-timeout", "200ms").returncode == 75
    assert holders(world) == {"detached": True, "service": False, "commands": 0}
    world.profile("dev", EMBEDDED)
    with attached(world, "dev") as one:
        one.until("Ready; Ctrl-C leaves dev up (held until tunnelctl down dev).")
        one.interrupt()
    assert wanted(world) == ["dev"]


def test_a_service_holds_what_its_command_line_names(dev: World) -> None:
    with dev.start("daemon", "dev") as daemon:
        try:
            eventually(lambda: dev.run("ps").returncode == 0, "it is up")
            with attached(dev, "dev") as one:
                one.until("Ready; Ctrl-C leaves dev up (held until tunnelctl down dev).")
                one.interrupt()
            assert wanted(dev) == ["dev"]
        finally:
            daemon.terminate()
            daemon.communicate(timeout=20)


def test_down_ends_every_hold(dev: World) -> None:
    with attached(dev, "dev") as first, attached(dev, "dev") as second:
        dev.ok("down", "dev")
        assert (first.process.wait(20), second.process.wait(20)) == (0, 0)
        first.until("all profiles were taken down")
    assert wanted(dev) == []


def test_a_suspended_up_holds_it_and_holds_up_nobody(dev: World) -> None:
    """As by Ctrl-Z, which stops no process that has no shell to wake it."""
    api = Api(Paths.from_environ(dev.environ, dev.home).socket)
    with attached(dev, "dev") as one:
        one.process.send_signal(signal.SIGSTOP)
        eventually(lambda: is_halted(one.process.pid), "it is suspended")
        for _ in range(_MORE_EVENTS_THAN_ITS_SOCKET_HOLDS):
            assert api.ask("POST", "/v1/profiles/dev/restart").status == 200
        assert wanted(dev) == ["dev"]
        assert holders(dev)["commands"] == 1
        dev.ok("up", "dev", "-d")
        one.process.send_signal(signal.SIGCONT)
        one.until("Ctrl-C leaves dev up")
        dev.ok("down", "dev")
        assert one.process.wait(20) == 0


def test_one_that_is_killed_while_suspended_lets_go(dev: World) -> None:
    with attached(dev, "dev") as one:
        one.process.send_signal(signal.SIGSTOP)
        eventually(lambda: is_halted(one.process.pid), "it is suspended")
        one.process.kill()
        eventually(lambda: wanted(dev) == [], "it is down")


# --- an end in time ------------------------------------------------------------------------------


@pytest.fixture
def exposed(world: World, sshd: OpenSSHServer) -> World:
    world.alias("bastion", sshd)
    return world


def test_the_daemon_keeps_the_time_of_an_expose_that_is_suspended(exposed: World) -> None:
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        words = ("expose", str(service.port), "--via", "bastion", "--bind", "localhost")
        with exposed.start(*words, "--ttl", "3s") as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline().rpartition(":")[2])
                process.send_signal(signal.SIGSTOP)
                assert ask(port, b"it") == b"seen it"
                eventually(lambda: not listens(port), "it is not reachable any more")
                process.send_signal(signal.SIGCONT)
                _, said = process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == 0
        assert "its time is up" in said
        exposed.ok(*words, "--ttl", "2s", "-d")  # and of one that returns at once
        eventually(lambda: not wanted(exposed), "it is down")


def test_why_it_ended_is_told_by_one_that_could_not_say_yet_that_it_is_ready(
    exposed: World,
) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    with ReplyAfterEndService(lambda asked: asked) as service:
        words = ("expose", str(service.port), "--via", "bastion", "--ttl", "3s")
        exposed.ok(*words, "-d")
        eventually(lambda: not wanted(exposed), "it is down, and a daemon runs")
        with exposed.start(*words, stdout=writing) as process, open(reading, "rb") as output:
            os.close(writing)
            try:
                eventually(lambda: wanted(exposed), "it is up")
                eventually(lambda: not wanted(exposed), "its time is up")
                output.read()
                _, said = process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == 0, said
        assert "its time is up" in said


def test_each_has_its_own_time(exposed: World) -> None:
    with ReplyAfterEndService(lambda asked: b"seen " + asked) as service:
        words = ("expose", str(service.port), "--via", "bastion", "--bind", "localhost")
        exposed.ok(*words, "-d")
        done = exposed.run(*words, "--ttl", "1s")
        assert done.returncode == 0
        assert "is no longer held by this command: its time is up" in done.stderr
        assert wanted(exposed) == [f"expose-{service.port}"]


# --- somebody else ends it -----------------------------------------------------------------------


@pytest.mark.parametrize("holds", [["-d"], []])
def test_who_waits_for_one_that_is_taken_down_waits_no_longer(dev: World, holds: list[str]) -> None:
    dev.profile("far", "version: 1\nhosts: {a: {hostname: 127.0.0.1, port: 1}}\n")
    dev.ok("up", "dev", "-d")
    with dev.start("up", "far", *holds, "--wait-timeout", "5m") as waiting:
        eventually(lambda: wanted(dev) == ["dev", "far"], "it is ordered")
        dev.ok("down", "far")
        _, said = waiting.communicate(timeout=60)
    assert waiting.returncode == 1, said
    assert "profile far was taken down meanwhile" in said
    assert wanted(dev) == ["dev"]


# --- many at once --------------------------------------------------------------------------------


def test_many_runs_beside_many_who_watch(dev: World) -> None:
    dev.ok("up", "dev", "-d")
    api = Api(Paths.from_environ(dev.environ, dev.home).socket)
    with ExitStack() as streams:
        for _ in range(24):
            stream = streams.enter_context(api.connect())
            stream.sendall(b"GET /v1/events HTTP/1.0\r\n\r\n")
            assert b" 200 " in stream.recv(4096)
        runs = [dev.start("run", "dev", "--", "true") for _ in range(30)]
        ends = [(process.communicate(timeout=120)[1], process.returncode) for process in runs]
    assert ends == [("", 0)] * len(runs)


def wakes(pid: int) -> int:
    """How often a process has gone to sleep: as often as it was woken."""
    text = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("voluntary_ctxt"))
    return int(line.split()[1])


def test_what_happens_to_others_is_no_work_for_who_is_attached(dev: World) -> None:
    """It hears of its own profiles alone, and so asks nothing of the daemon."""
    dev.profile("other", EMBEDDED)
    dev.ok("up", "other", "-d")

    def restarted(name: str) -> None:
        dev.ok("restart", name)
        eventually(lambda: dev.run("ps", name).returncode == 0, f"{name} is up again")

    with attached(dev, "dev") as one:

        def is_undisturbed() -> bool:
            before = wakes(one.process.pid)
            restarted("other")
            return wakes(one.process.pid) == before

        eventually(is_undisturbed, "it sleeps, once all of its own is told")
        before = wakes(one.process.pid)
        restarted("dev")
        eventually(lambda: wakes(one.process.pid) > before, "it hears of its own")
