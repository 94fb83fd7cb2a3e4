"""docs/faults.md, rows 24 and 25: what is done to the control socket, and to the process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.daemon.conftest import Api
from tests.daemon.test_limits import ANSWERS_WITHIN, asked
from tests.support.clients import ask, exchange
from tests.support.ports import free_port
from tests.support.processes import is_halted, is_running
from tests.support.services import EchoService, connect
from tests.support.silent import mute_listener
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.daemon.control_socket import claim
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import Paths

ENDS_WITHIN = 10.0  # seconds
_STOPPED = float(os.environ.get("TUNNELCTL_STOPPED_SECONDS", "9"))  # how long the machine sleeps


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_thousand_idle_clients(api: Api, embedded: World) -> None:
    pid = embedded.daemon_pid()
    before = resident(pid)
    with ExitStack() as clients:
        for number in range(1000):
            clients.enter_context(api.connect())
            if number % 250 == 249:
                assert asked(api) < ANSWERS_WITHIN
        assert len(os.listdir(f"/proc/{pid}/fd")) < 100
    assert resident(pid) - before < 16 << 20


def test_a_line_of_a_gigabyte(api: Api, embedded: World) -> None:
    pid = embedded.daemon_pid()
    before, sent = resident(pid), 0
    block = b"x" * (1 << 20)
    with api.connect() as sock:
        sock.sendall(b"GET /")
        with contextlib.suppress(ConnectionError):
            for _ in range(1024):
                sock.sendall(block)
                sent += len(block)
                assert asked(api) < ANSWERS_WITHIN
    assert sent < 4 << 20, "it was let go on"
    assert resident(pid) - before < 16 << 20


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost: \xff\xfe\r\nX: \x80\r\n\r\n",
        b"\xff\xfe\x00\x01\r\n\r\n",
        b"POST /v1/profiles/%ff%fe/up HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        b"POST /v1/profiles/dev/up HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n\xff\xfe}",
        b"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
        b"POST /v1/reload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_bytes_that_are_no_request(shared_api: Api, request_head: bytes) -> None:
    with shared_api.connect() as sock:
        sock.sendall(request_head)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while chunk := sock.recv(4096):
                answer += chunk
    assert b"Traceback" not in answer
    assert asked(shared_api) < ANSWERS_WITHIN
    (profile,) = shared_api.ask("GET", "/v1/status").json["profiles"]
    assert profile["state"] == "up"


def test_a_reader_that_never_reads_holds_up_nobody(api: Api, embedded: World) -> None:
    pid = embedded.daemon_pid()
    with api.connect() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sendall(b"GET /v1/events HTTP/1.0\r\n\r\n")
        assert b" 200 " in reader.recv(100)
        before = resident(pid)
        for _ in range(50):
            assert api.ask("POST", "/v1/profiles/dev/restart").status == 200
            eventually(lambda: _state(api) == "up", "it is up")
        assert asked(api) < ANSWERS_WITHIN
        assert resident(pid) - before < 16 << 20


def test_a_link_in_the_place_of_the_socket_is_not_followed(tmp_path: Path) -> None:
    environ = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    paths = Paths.from_environ(environ, tmp_path)
    paths.runtime_dir.mkdir(mode=0o700)
    paths.socket.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Failure) as refused:
        claim(paths)
    assert refused.value.code is Code.PERMISSION_DENIED
    assert paths.socket.is_symlink()
    assert not (tmp_path / "elsewhere").exists()


# --- the end, at every moment -------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that lets everybody in and says nothing."""
    with mute_listener() as (_, port):
        yield port


def ends(pid: int) -> None:
    """SIGTERM, and gone in time."""
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_running(pid), "the daemon ends", ENDS_WITHIN)


def is_reset(sock: socket.socket) -> bool:
    """Whether a client is told in so many words that its connection was cut."""
    sock.settimeout(ENDS_WITHIN)
    try:
        sock.recv(1)
    except ConnectionResetError:
        return True
    return False


def test_sigterm_during_a_handshake(world: World, paths: Paths, silent: int) -> None:
    """And with a client that is held meanwhile."""
    port = free_port()
    world.profile(
        "dev",
        f"version: 1\nhosts:\n  mute: {{hostname: 127.0.0.1, port: {silent}, user: me}}\n"
        f"forwards: {{x: {{local: {port}, to: 9, via: mute}}}}\n",
    )
    world.run("up", "dev", "-d", "--wait-timeout", "200ms")
    with connect(port) as held:
        assert world.host("dev", "mute")["state"] == "connecting"
        assert asked(Api(paths.socket)) < ANSWERS_WITHIN
        ends(world.daemon_pid())
        assert is_reset(held)
    assert not paths.socket.exists()


def test_sigterm_during_an_open_that_nobody_answers(
    world: World, sshd: OpenSSHServer, paths: Paths
) -> None:
    port = free_port()
    with EchoService() as echo:
        world.tunnel(sshd, db=f'local: {port}, to: "127.0.0.1:{echo.port}"')
        world.ok("up", "dev", "-d")
        with connect(port) as served:
            assert exchange(served, b"x") == b"x"
            sshd.pause()
            try:
                with connect(port) as opening:
                    opening.sendall(b"x" * 100_000)
                    assert asked(Api(paths.socket)) < ANSWERS_WITHIN
                    ends(world.daemon_pid())
                    assert is_reset(opening)
                    assert is_reset(served)
            finally:
                sshd.resume()


def test_sigterm_while_a_profile_drains(world: World, sshd: OpenSSHServer, paths: Paths) -> None:
    port, api = free_port(), Api(paths.socket)
    with EchoService() as echo:
        world.tunnel(sshd, db=f'local: {port}, to: "127.0.0.1:{echo.port}"')
        world.ok("up", "dev", "-d")
        pid = world.daemon_pid()
        with connect(port) as served, world.start("down", "dev", "-t", "1h") as command:
            try:
                assert exchange(served, b"x") == b"x"
                eventually(lambda: _state(api) == "stopping", "it drains")
                ends(pid)
                assert is_reset(served)
            finally:
                command.communicate(timeout=20)


def _state(api: Api) -> str:
    return str(api.ask("GET", "/v1/status").json["profiles"][0]["state"])


def test_a_killed_daemons_unix_listeners_are_taken_over(world: World, sshd: OpenSSHServer) -> None:
    path = world.home / "db.sock"
    with EchoService() as echo:
        world.tunnel(sshd, db=f'local: {path}, to: "127.0.0.1:{echo.port}"')
        world.ok("up", "dev", "-d")
        world.kill_daemon()
        assert path.is_socket()
        world.ok("up", "dev", "-d")
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(20)
            client.connect(str(path))
            assert exchange(client, b"again") == b"again"
        world.ok("down", "dev")
        assert not path.exists()


@pytest.mark.timeout(_STOPPED + 180)
@pytest.mark.parametrize("links", ["live", "dead"])
def test_a_daemon_that_was_stopped_asks_its_links_at_once(
    links: str, world: World, sshd: OpenSSHServer, paths: Paths
) -> None:
    """As after a suspend: its timers are late, its links may be dead, and it must not wait."""
    port = free_port()
    with EchoService() as echo:
        world.tunnel(sshd, db=f'local: {port}, to: "127.0.0.1:{echo.port}"')
        world.ok("up", "dev", "-d")
        pid = world.daemon_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: is_halted(pid), "it is stopped")
            if links == "dead":
                sshd.kill_sessions()
            until = time.monotonic() + _STOPPED
            eventually(lambda: time.monotonic() > until, "time passes", _STOPPED + 5)
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: "was stopped for" in paths.log_file.read_text(), "it is noticed", 10)
        if links == "live":
            assert ask(port, b"still here") == b"still here"
            assert world.host("dev")["reconnects"] == 0
        else:
            eventually(lambda: world.host("dev")["reconnects"] == 1, "it is back")
            assert ask(port, b"here again") == b"here again"
