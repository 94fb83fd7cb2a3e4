"""`logs` and `GET /v1/logs`: the last lines, by profile, and those that come."""

from __future__ import annotations

import json
import select

import pytest

from tests.daemon.conftest import Api
from tests.support.waiting import eventually
from tests.support.world import World


def test_lines_are_of_a_profile_or_of_all_and_end_with_the_last(api: Api, embedded: World) -> None:
    embedded.ok("up", "other", "-d")
    eventually(
        lambda: _healthy(embedded), "every target was asked: nothing more is going to happen"
    )
    everything = embedded.ok("logs").splitlines()
    assert any("is ready" in line for line in everything)
    of_one = [json.loads(line) for line in embedded.ok("logs", "dev", "--json").splitlines()]
    assert {line["profile"] for line in of_one} == {"dev"}
    assert {line["name"] for line in of_one} == {"", "demo", "hello"}
    assert "host dev/demo up" in "\n".join(line["message"] for line in of_one)
    last = [
        json.loads(line) for line in embedded.ok("logs", "dev", "--json", "-n", "2").split("\n")[:2]
    ]
    assert last == of_one[-2:]
    assert embedded.ok("logs", "-n", "0") == ""
    assert embedded.ok("logs", "--since", "1h").splitlines() == everything
    assert embedded.ok("logs", "--since", "1ms") == ""


def _healthy(world: World) -> bool:
    profiles = json.loads(world.ok("ps", "--json"))["profiles"]
    return all(rule["health"] == "healthy" for one in profiles for rule in one["forwards"])


def test_a_follower_hears_what_comes(api: Api, embedded: World) -> None:
    with embedded.start("logs", "dev", "-f", "-n", "0", "--json") as follower:
        try:
            assert follower.stdout is not None
            stdout = follower.stdout

            def heard() -> bool:
                """Nobody tells when it listens, so something happens again and again."""
                api.ask("POST", "/v1/profiles/dev/restart")
                return bool(select.select([stdout], [], [], 0.2)[0])

            eventually(heard, "it hears something")
            assert json.loads(stdout.readline())["profile"] == "dev"
        finally:
            follower.kill()
            follower.communicate()


def test_followers_that_never_read_hold_up_nobody(api: Api) -> None:
    readers = []
    try:
        for _ in range(6):
            reader = api.connect()
            readers.append(reader)
            reader.sendall(b"GET /v1/logs?follow=1 HTTP/1.0\r\n\r\n")
            readers[-1].recv(64)
        refused = api.ask("GET", "/v1/logs?follow=1")
        assert refused.status == 503
        assert api.ask("GET", "/v1/logs?lines=3").json["lines"]
    finally:
        for reader in readers:
            reader.close()


@pytest.mark.parametrize(
    "query",
    ["lines=x", "lines=-1", "lines=99999999999", "since=now", "follow=2", "profile=..", "x=1"],
)
def test_a_wrong_query_is_refused(shared_api: Api, query: str) -> None:
    assert shared_api.ask("GET", f"/v1/logs?{query}").json["code"] == "usage"


def test_without_a_daemon_the_file_is_named(world: World) -> None:
    done = world.run("logs")
    assert done.returncode == 3
    assert "daemon.log" in done.stderr
