"""How a program answers over the control API, and what it may not do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon.conftest import Api
from tests.daemon.test_api import problem
from tests.support.keys import write_key
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.client import Client, EventStream

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def waiting(api: Api, embedded: World, sshd: OpenSSHServer) -> World:
    """A world whose profile `locked` waits for a passphrase."""
    sshd.authorized_keys.write_text(write_key(sshd.identity, passphrase=PASSPHRASE) + "\n")
    embedded.tunnel(sshd, name="locked", db='local: 0, to: "127.0.0.1:9"')
    assert embedded.run("up", "locked", "-d").returncode == 77
    return embedded


@pytest.fixture
def asked(waiting: World, client: Client) -> Iterator[tuple[EventStream, dict[str, Any]]]:
    """A stream that answers for `locked`, and its first question."""
    with client.events(answers=["locked"]) as stream:
        yield stream, question(stream)


def question(stream: EventStream, state: str = "asked") -> dict[str, Any]:
    """The next event about a question."""
    while (event := stream.next(20)) is not None:
        if event.kind == "question" and event.state == state:
            return event.as_json()
    raise AssertionError("no question came")


def test_a_program_answers(
    api: Api, waiting: World, asked: tuple[EventStream, dict[str, Any]]
) -> None:
    stream, event = asked
    assert (event["profile"], event["name"], event["host"]) == ("locked", "server", "server")
    assert (event["about"], event["echo"], event["error"]) == ("passphrase", False, None)
    assert event["message"].startswith("Enter passphrase for key")
    taken = api.ask(
        "POST", "/v1/profiles/locked/answers", {"id": event["id"], "answer": PASSPHRASE}
    )
    assert taken.json == {"api_version": 1, "status": "taken"}
    assert question(stream, "closed")["id"] == event["id"]
    eventually(lambda: waiting.host("locked")["state"] == "up", "the host is up")


def test_answers_that_are_refused(api: Api, asked: tuple[EventStream, dict[str, Any]]) -> None:
    _, event = asked
    good = {"id": event["id"], "answer": "x"}

    def post(body: object, profile: str = "locked") -> Any:
        return api.ask("POST", f"/v1/profiles/{profile}/answers", body)

    problem(post({"id": "0123456789abcdef", "answer": "x"}), 409, "needs-input")
    problem(post(good, "dev"), 409, "needs-input")
    problem(post(good, "no%2Fname"), 404, "profile-not-found")
    for body in ({}, {"id": 1}, {**good, "answer": 1}, {**good, "more": 1}):
        problem(post(body), 400, "usage")
    problem(post({**good, "answer": "x" * 4097}), 400, "usage")
    problem(post({**good, "answer": "x" * 70_000}), 413, "request-entity-too-large")
    # It is still open, and can be declined once.
    assert post({**good, "answer": None}).status == 200
    problem(post(good), 409, "needs-input")


@pytest.mark.parametrize("query", ["answer=", "answer=a/", "answer=/b", "answer=..", "answer=A%0A"])
def test_nobody_answers_for_what_cannot_be(shared_api: Api, query: str) -> None:
    problem(shared_api.ask("GET", f"/v1/events?{query}"), 400, "usage")


def test_who_only_watches_is_not_asked(waiting: World, client: Client, api: Api) -> None:
    with client.events() as watching, client.events(answers=["locked/server"]) as stream:
        event = question(stream)
        api.ask("POST", "/v1/profiles/locked/answers", {"id": event["id"], "answer": PASSPHRASE})
        kinds = set()
        while (seen := watching.next(20)) is not None:
            kinds.add(seen.kind)
            if (seen.kind, seen.name, seen.state) == ("host", "server", "up"):
                break
        assert "question" not in kinds
        assert PASSPHRASE not in json.dumps(event)
