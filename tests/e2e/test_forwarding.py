"""`tunnelctl up` against OpenSSH's own server: bytes, ends, and a server that dies and returns."""

from __future__ import annotations

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.support.clients import ask, download, exchange, upload
from tests.support.ports import free_port
from tests.support.processes import sees_all
from tests.support.services import (
    EchoService,
    Received,
    ReplyAfterEndService,
    SinkService,
    SourceService,
    SpeakFirstService,
    Stream,
    connect,
    receive,
)
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, tunnel_text

# For how long a client has ended and waits; many signs of life are asked for and given meanwhile.
_HALF_CLOSED = float(os.environ.get("TUNNELCTL_HALF_CLOSED_SECONDS", "5"))
MIB = 1024 * 1024
GIB = 1024 * MIB


def rule(side: str, port: int, target: int) -> str:
    """One forward as a flow map; `side` is local or remote. Its target sees clients alone."""
    return f'{side}: {port}, to: "127.0.0.1:{target}", probe: none'


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("side", "size"), [("local", GIB), ("remote", GIB // 4)])
def test_a_gibibyte_each_way(world: World, sshd: OpenSSHServer, side: str, size: int) -> None:
    stream = Stream(size, seed=1)
    up, down = free_port(), free_port()
    with SinkService() as sink, SourceService(stream) as source:
        world.tunnel(sshd, up=rule(side, up, sink.port), down=rule(side, down, source.port))
        world.ok("up", "dev", "-d")
        sent = upload(up, stream)
        assert sink.received() == Received(size, sent, "fin")
        assert download(down) == Received(size, sent, "fin")
        forward = world.forward("dev", "up")
        assert forward["connections"] == {"open": 0, "total": 1, "failed": 0}
        assert size in (forward["bytes_in"], forward["bytes_out"])


def test_several_remote_forwards_and_a_local_one_share_a_link(
    world: World, sshd: OpenSSHServer
) -> None:
    with (
        ReplyAfterEndService(lambda asked: b"one " + asked) as one,
        ReplyAfterEndService(lambda asked: b"two " + asked) as two,
        ReplyAfterEndService(lambda asked: b"three " + asked) as three,
    ):
        ports = [free_port() for _ in range(3)]
        world.tunnel(
            sshd,
            one=rule("remote", ports[0], one.port),
            two=rule("remote", ports[1], two.port),
            three=rule("local", ports[2], three.port),
        )
        world.ok("up", "dev", "-d")
        assert [ask(port, b"?") for port in ports] == [b"one ?", b"two ?", b"three ?"]
        status = world.status()["profiles"][0]
        assert (status["name"], status["wanted"], status["state"]) == ("dev", "up", "up")
        assert [forward["state"] for forward in status["forwards"]] == ["up"] * 3
        assert [host["state"] for host in status["hosts"]] == ["up"]
        assert sshd.log.count("Accepted publickey") == 1
        world.ok("down", "dev")
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                connect(port)


@pytest.mark.parametrize("side", ["local", "remote"])
def test_half_close_is_kept_in_both_directions(
    world: World, sshd: OpenSSHServer, side: str
) -> None:
    stream = Stream(3 * MIB, seed=2)
    asked, told = free_port(), free_port()
    with (
        ReplyAfterEndService(lambda question: b"got " + question) as answerer,
        SpeakFirstService(b"hello") as speaker,
    ):
        world.tunnel(
            sshd, ask=rule(side, asked, answerer.port), tell=rule(side, told, speaker.port)
        )
        world.ok("up", "dev", "-d")
        assert ask(asked, b"question") == b"got question"
        with connect(told) as connection:
            assert b"".join(iter(lambda: connection.recv(99), b"")) == b"hello"
            sent = stream.send(connection)
            connection.shutdown(socket.SHUT_WR)
            assert speaker.received() == Received(stream.size, sent, "fin")


@pytest.mark.long
@pytest.mark.timeout(_HALF_CLOSED + 180)
def test_a_reply_that_takes_long_after_the_end_arrives(world: World, sshd: OpenSSHServer) -> None:
    never = threading.Event()

    def late(question: bytes) -> bytes:
        never.wait(_HALF_CLOSED)
        return b"late " + question

    ports = {side: free_port() for side in ("local", "remote")}
    with ReplyAfterEndService(late) as answerer, ExitStack() as clients:
        host = sshd.host_yaml(server_alive_interval="1s", server_alive_count_max=1)
        rules = {side: rule(side, port, answerer.port) for side, port in ports.items()}
        world.profile("dev", tunnel_text(host, **rules))
        world.ok("up", "dev", "-d")
        waiting = [
            clients.enter_context(connect(port, _HALF_CLOSED + 30)) for port in ports.values()
        ]
        for client in waiting:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
        for client in waiting:
            assert b"".join(iter(partial(client.recv, 99), b"")) == b"late question"


def test_a_refused_target_is_a_reset_and_status_says_why(world: World, sshd: OpenSSHServer) -> None:
    port, target = free_port(), free_port()
    world.tunnel(sshd, db=rule("local", port, target))
    world.ok("up", "dev", "-d")
    with pytest.raises(ConnectionResetError):
        ask(port, b"")
    forward = world.forward("dev", "db")
    assert forward["connections"]["failed"] == 1
    assert forward["last_error"]["code"] == "target-refused"
    assert str(target) in forward["last_error"]["message"]
    # The tunnel itself is fine: a service that starts late is reached.
    with EchoService(target), connect(port) as connection:
        assert exchange(connection, b"late") == b"late"


@pytest.mark.parametrize("side", ["local", "remote"])
def test_server_killed_and_back(world: World, sshd: OpenSSHServer, side: str) -> None:
    port, other = free_port(), free_port()
    with EchoService() as echo, SinkService() as sink, ThreadPoolExecutor() as pool:
        world.tunnel(
            sshd, main=rule("local", port, echo.port), back=rule("remote", other, sink.port)
        )
        world.ok("up", "dev", "-d")
        daemon = world.daemon_pid()
        held = connect(port) if side == "local" else connect(other)
        with held:
            held.sendall(b"before")
            eventually(lambda: echo.open + sink.open, "the target has the connection")
            if side == "local":
                assert held.recv(6, socket.MSG_WAITALL) == b"before"
            sshd.kill()
            # Whoever is on our side of the cut sees a reset.
            cut = receive(held) if side == "local" else sink.received()
            assert cut.end == "reset"
        eventually(lambda: world.host("dev")["state"] == "backoff", "the loss shows in status")
        # They come while nobody is there, and are served when the server is back.
        waiting = [pool.submit(ask, port, b"%d" % n) for n in range(5)]
        sshd.start()
        assert [call.result() for call in waiting] == [b"%d" % n for n in range(5)]
        eventually(lambda: world.host("dev")["state"] == "up", "the host is up again")
        host = world.host("dev")
        assert (host["reconnects"], host["attempts"]) == (1, 0)
        assert world.daemon_pid() == daemon
        assert world.forward("dev", "main")["listen"] == f"127.0.0.1:{port}"
        eventually(lambda: world.forward("dev", "back")["state"] == "up", "the remote one too")
        stream = Stream(100_000)
        digest = upload(other, stream)
        assert sink.received() == Received(stream.size, digest, "fin")


def test_server_killed_ten_times_leaves_nothing_behind(world: World, sshd: OpenSSHServer) -> None:
    port = free_port()
    with EchoService() as echo:
        text = tunnel_text(
            sshd.host_yaml(reconnect="{min: 50ms, max: 100ms}"), main=rule("local", port, echo.port)
        )
        world.profile("dev", text)
        world.ok("up", "dev", "-d")
        daemon = world.daemon_pid()
        threads, files = [], []
        for _ in range(10):
            sshd.kill()
            sshd.start()
            assert ask(port, b"again") == b"again"
            eventually(lambda: world.host("dev")["state"] == "up", "the host is up")
            threads.append(len(list(Path(f"/proc/{daemon}/task").iterdir())))
            if sees_all():  # the daemon hides them
                files.append(len(list(Path(f"/proc/{daemon}/fd").iterdir())))
        # The first rounds may warm something up; after that nothing grows.
        assert threads[-1] <= max(threads[:3]), threads
        assert not files or files[-1] <= max(files[:3]), files


def test_a_server_that_falls_silent_is_noticed_in_time(world: World, sshd: OpenSSHServer) -> None:
    port = free_port()
    with EchoService() as echo:
        host = sshd.host_yaml(server_alive_interval="500ms", server_alive_count_max=2)
        world.profile("dev", tunnel_text(host, main=rule("local", port, echo.port)))
        world.ok("up", "dev", "-d")
        with connect(port) as connection:
            assert exchange(connection, b"alive") == b"alive"
            sshd.pause()
            connection.settimeout(0.5 * 3 + 1.0)
            assert receive(connection).end == "reset"
        assert world.host("dev")["last_error"]["code"] in ("peer-silent", "timed-out")
        sshd.resume()
        assert ask(port, b"back") == b"back"


def test_new_keys_in_both_directions_under_load(world: World, sshd: OpenSSHServer) -> None:
    sshd.reconfigure("RekeyLimit 1M", "LogLevel DEBUG1")
    stream = Stream(64 * MIB, seed=4)
    port = free_port()
    with EchoService() as echo, ThreadPoolExecutor() as pool:
        host = sshd.host_yaml(rekey_limit="1M")
        world.profile("dev", tunnel_text(host, main=rule("local", port, echo.port)))
        world.ok("up", "dev", "-d")
        with connect(port) as connection:
            back = pool.submit(receive, connection)
            sent = stream.send(connection)
            connection.shutdown(socket.SHUT_WR)
            assert back.result() == Received(stream.size, sent, "fin")
        assert world.host("dev")["reconnects"] == 0
    assert sshd.log.count("SSH2_MSG_NEWKEYS received") > 20


def test_a_killed_daemon_resets_both_sides_and_the_next_up_starts_another(
    world: World, sshd: OpenSSHServer
) -> None:
    port, other = free_port(), free_port()
    with EchoService() as echo, SinkService() as sink:
        world.tunnel(
            sshd, main=rule("local", port, echo.port), back=rule("remote", other, sink.port)
        )
        world.ok("up", "dev", "-d")
        first = world.daemon_pid()
        with connect(port) as client, connect(other) as far_client:
            assert exchange(client, b"alive") == b"alive"
            far_client.sendall(b"alive")
            eventually(lambda: sink.open, "the target has the connection")
            world.kill_daemon()
            assert receive(client).end == "reset"
            assert sink.received().end == "reset"
        assert world.run("ps").returncode == 3
        world.ok("up", "dev", "-d")
        assert world.daemon_pid() != first
        assert ask(port, b"again") == b"again"
