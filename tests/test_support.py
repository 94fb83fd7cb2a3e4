"""The counterparts themselves: a test is only as good as the fault it really makes."""

from __future__ import annotations

import contextlib
import queue
import socket
import subprocess
import urllib.error
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chaos import ChaosProxy, Direction
from tests.support.etcd import Cluster
from tests.support.processes import is_running
from tests.support.services import (
    EchoService,
    ReplyAfterEndService,
    ResetService,
    Service,
    SinkService,
    SourceService,
    Stream,
    connect,
    receive,
)
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import DEADLINE, eventually


@contextlib.contextmanager
def ssh(server: OpenSSHServer, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The system's own client, logged in to `server`."""
    command = ["ssh", "-F", "none", "-N", "-T", "-p", str(server.port), "-i", str(server.identity)]
    options = ["BatchMode=yes", f"UserKnownHostsFile={server.known_hosts}", "IdentityAgent=none"]
    words = [*command, *(w for o in options for w in ("-o", o)), *arguments]
    with subprocess.Popen(
        [*words, f"{server.user}@127.0.0.1"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_sshd_lets_its_own_key_in_and_kill_ends_the_session(sshd: OpenSSHServer) -> None:
    with ssh(sshd) as client:
        eventually(lambda: "Accepted publickey" in sshd.log, "the client is let in")
        family = [sshd.pid, *sshd.sessions]
        sshd.kill()
        assert client.wait(20) == 255
    assert not any(is_running(pid) for pid in family)
    with pytest.raises(ConnectionRefusedError):
        connect(sshd.port)


def test_sshd_comes_back_on_its_port_and_with_another_key_when_asked(sshd: OpenSSHServer) -> None:
    sshd.kill()
    sshd.start()
    with ssh(sshd):
        eventually(lambda: "Accepted publickey" in sshd.log, "the client is let in")
    sshd.rotate_host_key()
    with ssh(sshd) as client:
        _, said = client.communicate(timeout=20)
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in said


def test_a_paused_sshd_accepts_and_says_nothing_until_it_is_resumed(sshd: OpenSSHServer) -> None:
    sshd.pause()
    with connect(sshd.port, seconds=0.3) as client:
        with pytest.raises(TimeoutError):
            client.recv(1)
        sshd.resume()
        client.settimeout(20)
        assert client.recv(4) == b"SSH-"


def test_a_stream_is_the_same_each_time_and_another_with_another_seed() -> None:
    assert Stream(300_000, 1).sha256 == Stream(300_000, 1).sha256
    assert Stream(300_000, 1).sha256 != Stream(300_000, 2).sha256
    assert b"".join(Stream(100_001).chunks())[:70_000] == b"".join(Stream(70_000).chunks())


def test_proxy_passes_bytes_and_half_close_in_slices() -> None:
    stream = Stream(100_000)
    with (
        ReplyAfterEndService(lambda asked: asked[::-1]) as service,
        ChaosProxy(service.port) as proxy,
    ):
        proxy.cut_up(999)
        with connect(proxy.port) as client:
            stream.send(client)
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65_536), b""))
        assert answer == b"".join(stream.chunks())[::-1]
        assert proxy.bytes(Direction.UP) == proxy.bytes(Direction.DOWN) == stream.size


def test_proxy_corrupts_exactly_one_byte() -> None:
    with EchoService() as service, ChaosProxy(service.port) as proxy:
        proxy.flip(3, Direction.DOWN)
        with connect(proxy.port) as client:
            client.sendall(b"aaaaaaaa")
            client.shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: client.recv(99), b"")) == b"aaa`aaaa"


def test_proxy_stalls_delays_and_limits() -> None:
    with EchoService() as service, ChaosProxy(service.port) as proxy, connect(proxy.port) as client:
        proxy.stall(Direction.DOWN)
        client.sendall(b"x")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        proxy.flow()
        assert client.recv(1) == b"x"
        proxy.delay(0.15)
        client.sendall(b"y")
        client.settimeout(0.2)  # there and back is 0.3
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(20)
        assert client.recv(1) == b"y"


def test_proxy_resets_both_ends_and_refuses_while_down() -> None:
    with SinkService() as service, ChaosProxy(service.port) as proxy:
        with connect(proxy.port) as client:
            client.sendall(b"1234")
            eventually(lambda: proxy.bytes(Direction.UP) == 4, "the bytes are through")
            proxy.reset()
            assert receive(client).end == "reset"
        assert service.received().end == "reset"
        proxy.down()
        with pytest.raises(ConnectionRefusedError):
            connect(proxy.port)
        proxy.up()
        with connect(proxy.port) as client:
            client.shutdown(socket.SHUT_WR)
            assert receive(client).end == "fin"


def test_services_end_as_they_say() -> None:
    stream = Stream(1_000_000)
    with SourceService(stream) as source, connect(source.port) as client:
        got = receive(client)
    assert (got.size, got.sha256, got.end) == (stream.size, stream.sha256, "fin")
    with ResetService(after=3) as service, connect(service.port) as client:
        client.sendall(b"abc")
        assert receive(client).end == "reset"


def test_a_member_that_answers_with_an_error_is_disconnected(tmp_path: Path) -> None:
    ends: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def serve(connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"{}"):  # its body may come by itself
            request += connection.recv(4096)
        connection.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 9\r\n\r\n")
        ends.put(connection.recv(1))

    with Service(serve) as service:
        (member,) = Cluster(tmp_path, size=1).members
        member.url = f"http://127.0.0.1:{service.port}"
        with pytest.raises(urllib.error.HTTPError):  # which is kept until the end of the test
            member.post("/v3/kv/range", {})
        assert ends.get(timeout=DEADLINE) == b""
