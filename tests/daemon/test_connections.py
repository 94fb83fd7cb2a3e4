"""Connections and history as programs and users see them, of one daemon for the whole module."""

from __future__ import annotations

import json
import os
import pwd
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon.conftest import Api
from tests.support.services import EchoService, connect, receive
from tests.support.waiting import eventually
from tests.support.world import World, private_world
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths
from tunnelctl.state.documents.connection_status import (
    ClientProcess,
    ConnectionState,
    ConnectionStatus,
)


@pytest.fixture(scope="module")
def running() -> Iterator[World]:
    """A world with `dev` up: forwards to an echo service, of a port and of a unix socket, and one
    to nothing."""
    with private_world() as world, EchoService() as echo:
        world.profile(
            "dev",
            f"""\
version: 1
hosts:
  demo: {{embedded: true}}
forwards:
  echo: {{local: 0, to: "127.0.0.1:{echo.port}", via: demo}}
  sock: {{local: "{world.home}/echo.sock", to: "127.0.0.1:{echo.port}", via: demo}}
""",
        )
        world.ok("up", "dev", "-d")
        yield world


@pytest.fixture(scope="module")
def client(running: World) -> Client:
    return Client(Paths.from_environ(running.environ, running.home))


@pytest.fixture(scope="module")
def api(client: Client) -> Api:
    return Api(client.paths.socket)


@contextmanager
def connected(world: World, client: Client) -> Iterator[tuple[socket.socket, ConnectionStatus]]:
    """A client of the echo service that was answered, and what is known of it."""
    port = int(world.ok("port", "dev/echo").rpartition(":")[2])
    with connect(port) as sock:
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"
        mine = f"127.0.0.1:{sock.getsockname()[1]}"
        found = client.connections("dev", "echo", processes=True).connections
        yield sock, next(one for one in found if one.client == mine)


def here() -> ClientProcess:
    """This process."""
    name = Path("/proc/self/comm").read_text().strip()
    return ClientProcess(os.getpid(), name, pwd.getpwuid(os.geteuid()).pw_name)


def test_a_connection_with_its_process_and_the_order_to_close_it(
    running: World, client: Client
) -> None:
    with connected(running, client) as (sock, one):
        assert one.process == here()
        assert (one.profile, one.forward, one.host, one.link) == ("dev", "echo", "demo", 1)
        assert (one.state, one.bytes_in, one.bytes_out) == (ConnectionState.OPEN, 5, 5)
        table = running.run("connections", "dev/echo")
        header, row = table.stdout.splitlines()
        assert header.startswith("ID")
        assert row.split()[:3] == [one.id, "dev/echo", one.client]
        assert f"({os.getpid()}, " in row
        document = json.loads(running.ok("connections", "--json"))
        assert [each["id"] for each in document["connections"]] == [one.id]
        closed = running.run("connections", "--close", one.id)
        assert (closed.returncode, closed.stdout) == (0, "")
        assert receive(sock).end == "reset"
    again = running.run("connections", "--close", one.id)
    assert again.returncode == 1
    assert again.stderr.splitlines() == [
        f"tunnelctl: there is no open connection {one.id} (tunnelctl connections)"
    ]
    listed = running.ok("connections", "dev", "--all").splitlines()
    assert any(line.split()[0] == one.id and " closed " in line for line in listed)


def test_without_connections_it_says_so(running: World) -> None:
    eventually(lambda: running.forward("dev", "echo")["connections"]["open"] == 0, "all are gone")
    done = running.run("connections")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "tunnelctl: no connection is open\n"


def test_a_name_that_means_nothing(running: World) -> None:
    assert running.run("connections", "nobody").returncode == 66
    assert running.run("connections", "dev/nothing").returncode == 66
    assert running.run("connections", "dev", "--close", "1").returncode == 2


def test_a_removed_forward_leaves_its_connections_in_the_list(running: World) -> None:
    """As those that ended: of the profile, and of the host."""
    text = """version: 1
hosts: {demo: {embedded: true}}
forwards:
  kept: {local: 0, to: "hello:80", via: demo}
  gone: {local: 0, to: "hello:80", via: demo}
"""
    file = running.profile("shrinks", text)
    running.ok("up", "shrinks", "-d")
    try:
        with connect(int(running.ok("port", "shrinks/gone").rpartition(":")[2])) as sock:
            eventually(
                lambda: running.forward("shrinks", "gone")["connections"]["open"], "it is there"
            )
            file.write_text("".join(text.partition("  gone:")[0]))
            running.ok("reload", "shrinks")
            assert receive(sock).end == "reset"
        for place in ("shrinks", "shrinks/demo"):
            (row,) = running.ok("connections", place, "--all").splitlines()[1:]
            assert row.split()[1] == "shrinks/gone"
            assert " closed " in row
    finally:
        running.ok("down", "shrinks")


def test_a_client_of_a_unix_socket_has_a_process(running: World, client: Client) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(running.home / "echo.sock"))
        sock.sendall(b"hello")
        assert sock.recv(5) == b"hello"
        (one,) = client.connections(forward="sock", processes=True).connections
        assert (one.client, one.process) == (f"pid {os.getpid()}", here())
        assert client.connections(forward="sock").connections[0].process is None


def test_what_is_not_there_is_a_problem(api: Api) -> None:
    for number in ("0", "x", "%2e%2e", "9" * 5000):
        answer = api.ask("POST", f"/v1/connections/{number}/close")
        assert (answer.status, answer.json["code"]) == (404, "connection-not-found")
    for target in ("/v1/connections?profile=..%2f", "/v1/history?profile=%00"):
        assert api.ask("GET", target).status == 400
    for query in (
        "connections?profile=nobody",
        "connections?forward=%22%3E",
        "connections?profile=dev&forward=none",
        "history?profile=nobody",
    ):
        answer = api.ask("GET", f"/v1/{query}")
        assert (answer.status, answer.json["code"]) == (404, "profile-not-found"), query


def test_history(running: World, client: Client) -> None:
    with connected(running, client) as (sock, _):

        def talked() -> bool:
            sock.sendall(b"x" * 10_000)
            assert len(sock.recv(10_000, socket.MSG_WAITALL)) == 10_000
            found = client.history("dev").forwards
            return any(any(one.bytes_in) for one in found if one.forward == "echo")

        eventually(talked, "a sample of two seconds")

    def names() -> list[str]:
        return [one.forward for one in client.history().forwards]

    eventually(lambda: names() == ["echo", "sock"], "what is down goes with the next sample")
    found = client.history()
    assert found.step_seconds == 2
    (host,) = found.hosts
    assert (host.profile, host.host) == ("dev", "demo")


def test_without_a_daemon(world: World) -> None:
    assert world.run("connections").returncode == 3
    assert world.run("connections", "--close", "1").returncode == 3
