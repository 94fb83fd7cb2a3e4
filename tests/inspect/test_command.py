"""`requests` and its API, with a daemon, a server and a web service."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.inspect.web import WebService, fetch
from tests.support.ports import free_port
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World, private_world, tunnel_text
from tunnelctl.state.exchange import BLACKED_OUT

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

    def shown(self, path: str, forward: str = "web") -> dict[str, Any]:
        """The last exchange of that path, once it has ended."""

        def found() -> dict[str, Any] | None:
            ended = [
                one
                for one in self.requests(f"dev/{forward}")["requests"]
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
        assert "sent without Authorization, Cookie" in done.stderr


def test_the_user_may_give_a_header_again(place: Place) -> None:
    fetch(place.port("web"), "GET", "/given", headers=SECRET)
    number = place.shown("/given")["id"]
    words = ["requests", "dev/web", "--replay", number, "-H", "Authorization: Bearer mine"]
    place.world.ok(*words, "-H", "Cookie: b=2")
    headers = place.web.asked[-1]["headers"]
    assert (headers["authorization"], headers["cookie"]) == ("Bearer mine", "b=2")
    assert place.world.run(*words[:-1], "Bad Name: x").returncode == 2


def test_what_cannot_be_sent_again(place: Place) -> None:
    fetch(place.port("web"), "POST", "/long", "x" * 100_000)
    number = place.shown("/long")["id"]
    before = len(place.web.asked)
    done = place.world.run("requests", "dev/web", "--replay", number)
    assert done.returncode == 2
    assert "only the first 65536 of 100000 bytes" in done.stderr
    done = place.world.run("requests", "dev/web", "--replay", "1000000")
    assert done.returncode == 66
    assert len(place.web.asked) == before


def test_what_is_not_inspected_says_how_to_change_that(place: Place) -> None:
    done = place.world.run("requests", "dev/plain")
    assert done.returncode == 2
    assert "inspect: http" in done.stderr
    assert place.world.run("requests", "dev/nothing").returncode == 66
    assert place.world.run("requests", "nobody/web").returncode == 66
    assert place.world.run("requests", "dev").returncode == 2
