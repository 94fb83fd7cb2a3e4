"""Out of descriptors, threads or disk: it waits, says so once, answers, and goes on."""

from __future__ import annotations

import logging
import os
import resource
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.daemon.conftest import Api
from tests.support.clients import exchange
from tests.support.ports import free_port
from tests.support.services import EchoService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.daemon.log.destinations import PrivateFile
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.home.paths import Paths

ANSWERS_WITHIN = 0.2  # seconds (docs/faults.md: while any fault is made)


def limited(world: World, limits: str, *arguments: str) -> None:
    """Run a command, and the daemon that it starts, within limits of the shell's `ulimit`."""
    command = f'ulimit {limits} && exec "$@"'
    done = subprocess.run(
        ["sh", "-c", command, "sh", sys.executable, "-m", "tunnelctl", *arguments],
        cwd=world.home,
        env=world.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def processor_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asked(api: Api) -> float:
    """The seconds that an answer of the control socket takes: the best of three."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert api.ask("GET", "/v1/status").status == 200
        took.append(time.monotonic() - began)
    return min(took)


def test_without_descriptors_clients_wait_and_the_daemon_answers(
    world: World, sshd: OpenSSHServer, paths: Paths
) -> None:
    port = free_port()
    api = Api(paths.socket)
    with EchoService() as echo, ExitStack() as clients:
        world.tunnel(sshd, db=f'local: {port}, to: "127.0.0.1:{echo.port}"')
        limited(world, "-n 128", "up", "dev", "-d")
        pid = world.daemon_pid()
        served = clients.enter_context(connect(port))
        assert exchange(served, b"before") == b"before"
        waiting = [clients.enter_context(connect(port)) for _ in range(200)]
        status = eventually(
            lambda: list(api.ask("GET", "/v1/status").json["daemon"]["warnings"]),
            "it is said in status",
        )
        assert "open files are used up" in status[0]
        used, began = processor_seconds(pid), time.monotonic()
        while time.monotonic() < began + 2:
            assert asked(api) < ANSWERS_WITHIN
            assert exchange(served, b"meanwhile") == b"meanwhile"
        # The questions above cost something; a loop that spins takes all of it.
        assert processor_seconds(pid) - used < 1.5
        assert world.run("ps").returncode == 0
        # Room for one is room for the next who waits: all are served in the end.
        while waiting:
            first = waiting.pop(0)
            assert exchange(first, b"at last") == b"at last"
            first.close()
        eventually(
            lambda: not api.ask("GET", "/v1/status").json["daemon"]["warnings"], "it is over"
        )
    assert paths.log_file.read_text().count("open files are used up") == 1


def test_with_every_descriptor_gone_the_reserve_answers(api: Api, embedded: World) -> None:
    """Not even the headroom is left: what else the daemon does has used it up."""
    pid = embedded.daemon_pid()
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    try:
        with ExitStack() as streams:

            def open_stream() -> None:
                stream = streams.enter_context(api.connect())
                stream.sendall(b"GET /v1/events HTTP/1.0\r\n\r\n")
                assert b" 200 " in stream.recv(4096)

            open_stream()  # once it is answered, commands that have ended are no more connected
            numbers = _numbers(pid)
            limit = max(numbers) + 1
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
            for _ in range(limit - len(numbers)):
                open_stream()
            for _ in range(5):
                assert asked(api) < ANSWERS_WITHIN
            warnings = api.ask("GET", "/v1/status").json["daemon"]["warnings"]
            assert any("control socket" in warning for warning in warnings)
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    api.ask("GET", "/healthz")
    eventually(lambda: not api.ask("GET", "/v1/status").json["daemon"]["warnings"], "it is over")


def _numbers(pid: int) -> list[int]:
    return [int(name) for name in os.listdir(f"/proc/{pid}/fd")]


def test_the_soft_limit_is_raised_to_the_hard_one(world: World, paths: Paths) -> None:
    world.profile("dev", "version: 1\nhosts: {demo: {embedded: true}}\nforwards: {}\n")
    limited(world, "-Sn 100", "up", "dev", "-d")
    limits = Path(f"/proc/{world.daemon_pid()}/limits").read_text()
    (line,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    soft, hard = line.split()[3:5]
    assert soft == hard


def test_a_file_size_limit_stops_the_log_and_the_state_alone(
    world: World, sshd: OpenSSHServer, paths: Paths
) -> None:
    port = free_port()
    api = Api(paths.socket)
    with EchoService() as echo:
        world.tunnel(sshd, db=f'local: {port}, to: "127.0.0.1:{echo.port}"')
        world.ok("up", "dev", "-d")
        before = paths.wanted_file.read_bytes()
        pid = world.daemon_pid()
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
        world.tunnel(sshd, name="other", db=f'local: 0, to: "127.0.0.1:{echo.port}"')
        world.ok("up", "other", "-d")
        with connect(port) as client:
            assert exchange(client, b"goes on") == b"goes on"
        assert asked(api) < ANSWERS_WITHIN
        assert len(api.ask("GET", "/v1/status").json["daemon"]["warnings"]) == 2
        assert paths.wanted_file.read_bytes() == before
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
        world.ok("down", "other")
        assert api.ask("GET", "/v1/status").json["daemon"]["warnings"] == []


def test_a_log_directory_that_was_removed_is_made_anew(
    api: Api, embedded: World, paths: Paths
) -> None:
    shutil.rmtree(paths.state_dir)
    embedded.ok("restart", "dev")
    assert "request: restart dev" in paths.log_file.read_text()
    assert api.ask("GET", "/v1/status").json["daemon"]["warnings"] == []


def test_a_log_that_cannot_be_written_is_one_warning(tmp_path: Path) -> None:
    troubles = Troubles()
    path = tmp_path / "state" / "daemon.log"
    handler = PrivateFile(path, troubles)
    raises, logging.raiseExceptions = logging.raiseExceptions, False
    try:

        def write(text: str) -> None:
            handler.handle(logging.LogRecord("x", logging.INFO, "", 1, text, (), None))

        write("one")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, hard))
        try:
            for _ in range(5):
                write("lost")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        (text,) = troubles.texts
        assert "daemon.log cannot be written: File too large" in text
        write("two")
        assert troubles.texts == ()
        assert path.read_text().split() == ["one", "two"]
    finally:
        logging.raiseExceptions = raises
        handler.close()
