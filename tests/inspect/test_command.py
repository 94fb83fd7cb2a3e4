"""`requests` and its API, with a daemon, a server and a web service."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from tests.inspect.corpus import GET, OK
from tests.inspect.test_secrets import memory_of
from tests.inspect.web import WebService, fetch
from tests.support.clients import ask
from tests.support.ports import free_port
from tests.support.services import Service, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, private_world, tunnel_text
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths
from tunnelctl.state.documents.exchange import BLACKED_OUT

COOKIE = b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=tell-no-one\r\nConnection: close\r\n\r\n"
SECRET = {"Authorization": "Bearer open-sesame", "Cookie": "a=open-sesame"}


@dataclass
class Place:
    """A daemon with the profile `dev`: `web` and `back` are inspected, `plain` is not."""

    world: World
    web: WebService
    server: OpenSSHServer
    back: int

    def port(self, forward: str) -> int:
        return int(self.world.forward("dev", forward)["listen"].rpartition(":")[2])

    def requests(self, *words: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.world.ok("requests", *words, "--json"))
        return document

    def shown(self, path: str, forward: str = "web", profile: str = "dev") -> dict[str, Any]:
        """The last exchange of that path, once it has ended."""

        def found() -> dict[str, Any] | None:
            ended = [
                one
                for one in self.requests(f"{profile}/{forward}", "-n", "5")["requests"]
                if one["path"] == path and one["duration_ms"] is not None
            ]
            return ended[-1] if ended else None

        exchange = eventually(found, f"{path} is shown")
        assert exchange is not None
        return exchange


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with tempfile.TemporaryDirectory(prefix="tctl-") as folder, WebService() as web:
        server = OpenSSHServer(Path(folder) / "sshd")
        server.start()
        try:
            with private_world() as world:
                back = free_port()
                text = tunnel_text(
                    server.host_yaml(),
                    web=f"local: 0, to: {web.port}, inspect: http",
                    plain=f"local: 0, to: {web.port}",
                    back=f"remote: {back}, to: {web.port}, inspect: http",
                    socks="dynamic: 0, inspect: http",
                )
                world.profile("dev", text)
                world.ok("up", "dev", "-d")
                yield Place(world, web, server, back)
        finally:
            server.stop()


def inspected_text(server: OpenSSHServer, port: int, target: int) -> str:
    """A profile with the inspected forward `web`."""
    return tunnel_text(server.host_yaml(), web=f"local: {port}, to: {target}, inspect: http")


def test_a_request_is_shown_without_its_secrets(place: Place) -> None:
    status, asked = fetch(place.port("web"), "POST", "/a?b=1", "hello", SECRET)
    assert (status, asked["headers"]["authorization"]) == (200, "Bearer open-sesame")
    exchange = place.shown("/a?b=1")
    assert (exchange["method"], exchange["status"]) == ("POST", 200)
    assert exchange["request"]["body"] == "hello"
    headers = {name.lower(): value for name, value in exchange["request"]["headers"]}
    assert headers["authorization"] == headers["cookie"] == BLACKED_OUT
    headers = {name.lower(): value for name, value in exchange["response"]["headers"]}
    assert headers["set-cookie"] == BLACKED_OUT
    assert headers["content-type"] == "application/json"
    assert exchange["client"].startswith("127.0.0.1:")
    # The body says what was asked: what a service repeats is not a header.
    del exchange["response"]["body"]
    assert "open-sesame" not in json.dumps(exchange)


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
def test_the_daemon_keeps_the_body_and_not_the_secret(place: Place) -> None:
    """Also not in the buffers of the data path. Only root can read the daemon's memory."""
    with Service(lambda one: one.sendall(COOKIE) if one.recv(9999) else None) as service:
        port = free_port()
        place.world.profile("cookie", inspected_text(place.server, port, service.port))
        place.world.ok("up", "cookie", "-d")
        request = b"POST /s HTTP/1.1\r\nHost: h\r\nAuthorization: tell-nobody\r\n"
        assert ask(port, request + b"Content-Length: 9\r\n\r\ntell-them") == COOKIE
        place.shown("/s", "web", "cookie")
        memory = memory_of(place.world.daemon_pid())
        assert b"tell-them" in memory
        assert b"tell-nobody" not in memory
        assert b"tell-no-one" not in memory
        place.world.ok("down", "cookie")


def test_clients_on_the_server_are_shown_too(place: Place) -> None:
    fetch(place.back, "GET", "/from-there")
    exchange = place.shown("/from-there", "back")
    assert (exchange["method"], exchange["status"]) == ("GET", 200)
    assert exchange["client"].startswith("127.0.0.1:")


def test_the_table(place: Place) -> None:
    fetch(place.port("web"), "GET", "/missing", headers={"X-Status": "404"})
    exchange = place.shown("/missing")
    title, *lines = place.world.ok("requests", "dev/web").splitlines()
    assert title.split() == ["ID", "TIME", "METHOD", "STATUS", "DURATION", "SIZE", "PATH"]
    last = lines[-1].split()
    assert [last[0], *last[2:4], last[-1]] == [exchange["id"], "GET", "404", "/missing"]
    assert place.world.ok("requests", "dev/web", "-n", "1").splitlines() == [title, lines[-1]]


def test_what_is_not_shown_is_told(place: Place) -> None:
    def said() -> str:
        return place.world.run("requests", "dev/web").stderr

    assert "not inspected" not in said()
    with connect(place.port("web")) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of TLS
        eventually(lambda: "connections that were not inspected: 1 tls\n" in said(), "TLS")


def test_following_prints_each_request_as_it_ends(place: Place) -> None:
    process = place.world.start("requests", "dev/web", "-f", "-n", "0")
    assert process.stdout is not None
    try:
        assert process.stdout.readline().split()[0] == "ID"
        for path in ("/first", "/second"):
            fetch(place.port("web"), "GET", path)
            assert process.stdout.readline().split()[-1] == path
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_following_ends_with_its_forward_and_not_with_a_reload_of_it(place: Place) -> None:
    text = inspected_text(place.server, free_port(), place.web.port)
    place.world.profile("brief", text)
    place.world.ok("up", "brief", "-d")
    process = place.world.start("requests", "brief/web", "-f")
    assert process.stdout is not None
    try:
        assert process.stdout.readline().split()[0] == "ID"
        port = free_port()
        place.world.profile("brief", inspected_text(place.server, port, place.web.port))
        place.world.ok("reload", "brief")
        fetch(port, "GET", "/of-the-next")
        assert process.stdout.readline().split()[-1] == "/of-the-next"
    finally:
        place.world.ok("down", "brief")
        _, said = process.communicate(timeout=20)
    assert said == "tunnelctl: profile brief is down (tunnelctl up brief)\n"


def test_a_request_is_sent_again_without_what_was_blacked_out(place: Place) -> None:
    for forward, port in (("web", place.port("web")), ("back", place.back)):
        fetch(port, "POST", f"/again-{forward}", "hello", {**SECRET, "X-Mine": "1"})
        number = place.shown(f"/again-{forward}", forward)["id"]
        before = len(place.web.asked)
        done = place.world.run("requests", f"dev/{forward}", "--replay", number)
        assert done.returncode == 0, done.stderr
        (asked,) = place.web.asked[before:]
        assert (asked["method"], asked["path"], asked["body"]) == (
            "POST",
            f"/again-{forward}",
            "hello",
        )
        headers = asked["headers"]
        assert headers["tunnelctl-replay"] == number
        assert (headers["x-mine"], headers["content-length"]) == ("1", "5")
        assert headers.keys() & {"authorization", "cookie"} == set()
        assert done.stdout.startswith("HTTP/1.1 200\n")
        assert json.loads(done.stdout.partition("\n\n")[2]) == asked
        assert "sent without Authorization, Cookie: not kept (set each with -H" in done.stderr


def test_the_user_may_give_a_header_again(place: Place) -> None:
    fetch(place.port("web"), "GET", "/given", headers=SECRET)
    number = place.shown("/given")["id"]
    words = ["requests", "dev/web", "--replay", number, "-H", "Authorization: Bearer mine"]
    place.world.ok(*words, "-H", "Cookie: b=2")
    headers = place.web.asked[-1]["headers"]
    assert (headers["authorization"], headers["cookie"]) == ("Bearer mine", "b=2")
    assert place.world.run(*words[:-1], "Bad Name: x").returncode == 2


def test_no_requests_wanted_is_not_none_seen(place: Place) -> None:
    fetch(place.port("web"), "GET", "/seen")
    place.shown("/seen")
    done = place.world.run("requests", "dev/web", "-n", "0")
    assert (done.returncode, done.stdout, "no request" in done.stderr) == (0, "", False)


def test_what_cannot_be_sent_again(place: Place) -> None:
    fetch(place.port("web"), "POST", "/long", "x" * 100_000)
    number = place.shown("/long")["id"]
    before = len(place.web.asked)
    done = place.world.run("requests", "dev/web", "--replay", number)
    assert done.returncode == 2
    assert "only the first 65536 of 100000 bytes" in done.stderr
    done = place.world.run("requests", "dev/web", "--replay", "1000000")
    assert done.returncode == 66
    assert place.world.run("requests", "dev/web", "--replay", "9" * 5000).returncode == 66
    assert len(place.web.asked) == before


def test_a_target_that_does_not_answer_is_named(place: Place) -> None:
    place.world.alias("bastion", place.server)
    port = free_port()
    with Service(
        lambda connection: connection.sendall(OK) if connection.recv(9999) else None
    ) as web:
        place.world.profile("gone", inspected_text(place.server, port, web.port))
        place.world.ok("up", "gone", "-d")
        assert ask(port, GET) == OK
        number = place.shown("/a?b=1", "web", "gone")["id"]
    done = place.world.run("requests", "gone/web", "--replay", number)
    assert done.returncode == 1
    assert "connection refused" in done.stderr
    # What a profile that is down had seen is forgotten.
    place.world.ok("down", "gone")
    assert place.world.run("requests", "gone/web").returncode == 1
    place.world.ok("up", "gone", "-d")
    assert place.requests("gone/web")["requests"] == []
    place.world.ok("down", "gone")


def test_a_stream_of_events_is_shown_while_it_lasts(place: Place) -> None:
    goes_on = threading.Event()

    def serve(connection: socket.socket) -> None:
        connection.recv(9999)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        connection.sendall(head + b"data: first\n\n")
        assert goes_on.wait(20)
        connection.sendall(b"data: second\n\n")

    port = free_port()
    with Service(serve) as service:
        place.world.profile("events", inspected_text(place.server, port, service.port))
        place.world.ok("up", "events", "-d")
        client = Client(Paths.from_environ(place.world.environ, place.world.home))
        with connect(port) as connection, client.follow_requests("events", "web", 0) as stream:
            connection.sendall(GET)
            bodies = []
            while True:
                exchange = stream.next(20)
                assert exchange is not None
                if exchange.response is None or not exchange.response.body:
                    continue
                bodies.append((bytes(exchange.response.body), exchange.has_ended))
                goes_on.set()
                if exchange.has_ended:
                    break
        assert bodies[0] == (b"data: first\n\n", False)
        assert bodies[-1] == (b"data: first\n\ndata: second\n\n", True)
        place.world.ok("down", "events")


def test_a_reload_begins_and_ends_it_in_place(place: Place) -> None:
    """The listener stays, and so does an open connection, which is not inspected."""
    text = (place.world.configs / "dev.yaml").read_text()
    plain, port = "plain: {local: 0, to:", place.port("plain")
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", "/before")
        assert connection.getresponse().read()
        place.world.profile("dev", text.replace(plain, "plain: {inspect: http, local: 0, to:"))
        assert "plain" in place.world.ok("reload", "dev")
        connection.request("GET", "/before")
        assert connection.getresponse().read()
        assert place.port("plain") == port
        fetch(port, "GET", "/reloaded")
        assert place.shown("/reloaded", "plain")["status"] == 200
        assert len(place.requests("dev/plain")["requests"]) == 1
    place.world.profile("dev", text)
    place.world.ok("reload", "dev")
    assert place.world.run("requests", "dev/plain").returncode == 2


def test_an_exposed_service_is_inspected_if_asked(place: Place) -> None:
    place.world.alias("exposer", place.server)
    words = ["expose", str(place.web.port), "--via", "exposer", "--bind", "localhost"]
    done = place.world.run(*words, "--inspect", "-d", "--as", "shown")
    assert done.returncode == 0, done.stderr
    command = re.search(r"tunnelctl (requests shown/\S+) -f", done.stderr)
    assert command is not None
    fetch(int(done.stdout.strip().rpartition(":")[2]), "GET", "/exposed")
    place.shown("/exposed", "exposed", "shown")
    assert "/exposed" in place.world.ok(*command[1].split())
    place.world.ok("down", "shown")


def test_an_archive_is_written(place: Place, tmp_path: Path) -> None:
    fetch(place.port("web"), "GET", "/archived")
    place.shown("/archived")
    place.world.ok("requests", "dev/web", "--har", str(tmp_path / "web.har"))
    entries = json.loads((tmp_path / "web.har").read_text())["log"]["entries"]
    assert entries[-1]["request"]["url"].endswith("/archived")
    printed = place.world.ok("requests", "dev/web", "-n", "1", "--har", "-")
    assert json.loads(printed)["log"]["entries"] == entries[-1:]


def test_an_archive_goes_through_a_link_and_not_in_its_place(place: Place, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "web.har")
    place.world.ok("requests", "dev/web", "--har", str(link))
    assert link.is_symlink()
    assert json.loads(link.read_text())["log"]["version"] == "1.2"
    printed = place.world.ok("requests", "dev/web", "--har", "/proc/self/fd/1")
    assert json.loads(printed)["log"]["version"] == "1.2"


@pytest.mark.parametrize("name", ["none/web.har", ""])
def test_an_archive_that_cannot_be_written(place: Place, tmp_path: Path, name: str) -> None:
    file = str(tmp_path / name) if name else ""
    done = place.world.run("requests", "dev/web", "--har", file)
    assert done.returncode == 73
    assert "cannot be written" in done.stderr


def test_what_is_not_inspected_says_how_to_change_that(place: Place) -> None:
    done = place.world.run("requests", "dev/plain")
    assert done.returncode == 2
    assert "inspect: http" in done.stderr
    assert place.world.run("requests", "dev/nothing").returncode == 66
    assert place.world.run("requests", "nobody/web").returncode == 66
    assert place.world.run("requests", "dev").returncode == 2


def test_everything_that_is_kept_is_read_without_holding_up_the_loop(place: Place) -> None:
    """The watch over the daemon's loop (tests/support/loopwatch) is what may fail."""
    body = "".join(map(chr, range(32, 127))) * 700
    with contextlib.closing(HTTPConnection("127.0.0.1", place.port("web"), timeout=20)) as one:
        for _ in range(100):
            one.request("POST", "/full", body)
            one.getresponse().read()
    place.shown("/full")
    found = [one for one in place.requests("dev/web")["requests"] if one["path"] == "/full"]
    assert len(found) == 100
    assert all(one["request"]["body"] == body[:65536] for one in found)
    client = Client(Paths.from_environ(place.world.environ, place.world.home))
    with client.follow_requests("dev", "web", 100) as stream:
        assert all(stream.next(20) is not None for _ in range(100))
    assert not place.world.loop_report.exists()


def test_without_an_inspected_forward_no_parser_is_imported() -> None:
    modules = "tunnelctl.daemon.process, tunnelctl.cli.running.requests"
    program = f"import sys, {modules}; print({{'h11', 'wsproto'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "set()\n"
