"""HAR files are valid by the schema of npm's har-schema 2.0.0 (har_schema/, with its licence)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry, Resource

from tests.inspect.corpus import CORPUS, GET, OK
from tests.inspect.talks import CLIENT, SERVER, inspected, shown
from tunnelctl.inspect.har import archive
from tunnelctl.state.documents.exchange import BLACKED_OUT, HttpExchange, from_json

FOLDER = Path(__file__).with_name("har_schema")


def validator() -> jsonschema.Draft6Validator:
    schemas = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
    registry: Registry[Any] = Registry().with_resources(
        (f"{name}{end}", Resource.from_contents(schema))
        for name, schema in schemas.items()
        for end in ("", "#")
    )
    return jsonschema.Draft6Validator(schemas["har.json"], registry=registry)


def through_json(exchange: HttpExchange) -> HttpExchange:
    """As the command gets it from the daemon."""
    return from_json(json.loads(json.dumps(exchange.as_json())))


@pytest.mark.parametrize("name", CORPUS)
async def test_every_exchange_makes_a_valid_entry(name: str) -> None:
    talk, expected = CORPUS[name]
    async with inspected() as inspection:
        found = list(map(through_json, await shown(inspection, talk)))
    document = archive(found)
    validator().validate(document)
    answered = [seen for seen in expected if seen[2] is not None]
    assert len(document["log"]["entries"]) == len(answered)


async def test_an_entry_says_what_passed() -> None:
    request = (
        b"POST /a%20b?x=1&y= HTTP/1.1\r\nHost: example.com:8080\r\nCookie: c\r\n"
        b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi"
    )
    response = (
        b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Type: image/png\r\n"
        b"Content-Length: 3\r\n\r\n\xff\0\xfe"
    )
    async with inspected() as inspection:
        (exchange,) = await shown(inspection, [(CLIENT, request), (SERVER, response)])
    document = archive([through_json(exchange)])
    validator().validate(document)
    (entry,) = document["log"]["entries"]
    sent, answered = entry["request"], entry["response"]
    assert sent["url"] == "http://example.com:8080/a%20b?x=1&y="
    assert sent["queryString"] == [{"name": "x", "value": "1"}, {"name": "y", "value": ""}]
    assert sent["postData"] == {"mimeType": "text/plain", "text": "hi"}
    assert {"name": "Cookie", "value": BLACKED_OUT} in sent["headers"]
    assert (answered["status"], answered["redirectURL"]) == (302, "/there")
    assert answered["content"] == {
        "size": 3,
        "mimeType": "image/png",
        "text": "/wD+",
        "encoding": "base64",
    }
    assert entry["time"] == exchange.duration_ms


def test_the_schema_refuses_what_is_not_har() -> None:
    assert not validator().is_valid({"log": {"version": "1.2", "entries": []}})
    assert not validator().is_valid(archive([]) | {"log": {}})


async def test_what_has_no_response_is_left_out() -> None:
    async with inspected() as inspection:
        found = await shown(inspection, [(CLIENT, GET * 2), (SERVER, OK)])
    assert len(found) == 2
    assert len(archive(found)["log"]["entries"]) == 1
