"""The status document, written and read again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.state.documents import status_events
from tunnelctl.state.documents.snapshot import (
    DaemonStatus,
    ErrorStatus,
    ForwardState,
    ForwardStatus,
    Health,
    HostState,
    HostStatus,
    LinkStatus,
    ProfileState,
    ProfileStatus,
    Status,
    Wanted,
    from_json,
)
from tunnelctl.state.documents.status_events import EventKind, QuestionEvent, StatusEvent
from tunnelctl.state.holders import Held

TEXT = st.text(max_size=5)
MAYBE = st.none() | TEXT
NUMBERS = st.integers(0, 2**40)
ERRORS = st.none() | st.builds(ErrorStatus, TEXT, TEXT, TEXT)
LINKS = st.builds(LinkStatus, TEXT, TEXT, st.none() | st.floats(0, 1e6), NUMBERS)
# What is in metrics and not in the document is left as it is by default.
HOSTS = st.builds(
    HostStatus,
    name=TEXT,
    state=st.sampled_from(HostState),
    address=MAYBE,
    since=MAYBE,
    attempts=NUMBERS,
    reconnects=NUMBERS,
    next_retry_at=MAYBE,
    rtt_ms=st.none() | st.floats(0, 1e6),
    cipher=MAYBE,
    mac=MAYBE,
    kex=MAYBE,
    host_key=MAYBE,
    strict_kex=st.none() | st.booleans(),
    server=MAYBE,
    fallback=MAYBE,
    returning=st.booleans(),
    queued=st.booleans(),
    ends_unused=st.booleans(),
    last_error=ERRORS,
    said=st.none() | st.lists(TEXT, max_size=3).map(tuple),
    links=st.lists(LINKS, max_size=2).map(tuple),
)
FORWARDS = st.builds(
    ForwardStatus,
    name=TEXT,
    type=TEXT,
    listen=TEXT,
    target=MAYBE,
    via=TEXT,
    state=st.sampled_from(ForwardState),
    bound=st.booleans(),
    since=MAYBE,
    health=st.sampled_from(Health),
    health_reason=MAYBE,
    health_since=MAYBE,
    attempts=NUMBERS,
    next_retry_at=MAYBE,
    connections_open=NUMBERS,
    connections_total=NUMBERS,
    connections_failed=NUMBERS,
    bytes_in=NUMBERS,
    bytes_out=NUMBERS,
    last_error=ERRORS,
    labels=st.dictionaries(TEXT, TEXT, max_size=2).map(lambda one: tuple(one.items())),
)
PROFILES = st.builds(
    ProfileStatus,
    name=TEXT,
    source=TEXT,
    wanted=st.sampled_from(Wanted),
    state=st.sampled_from(ProfileState),
    since=MAYBE,
    wanted_since=MAYBE,
    hosts=st.lists(HOSTS, max_size=2).map(tuple),
    forwards=st.lists(FORWARDS, max_size=2).map(tuple),
    last_error=ERRORS,
    holders=st.builds(Held, st.booleans(), st.booleans(), NUMBERS),
    leased=st.none() | st.booleans(),
)
DAEMONS = st.builds(DaemonStatus, NUMBERS, TEXT, TEXT, st.lists(TEXT, max_size=2).map(tuple))
STATUSES = st.builds(Status, DAEMONS, st.lists(PROFILES, max_size=2).map(tuple))

CHANGES = st.builds(
    StatusEvent,
    at=TEXT,
    kind=st.sampled_from([kind for kind in EventKind if kind is not EventKind.QUESTION]),
    profile=TEXT,
    name=TEXT,
    state=TEXT,
    message=TEXT,
    error=ERRORS,
)
QUESTIONS = st.builds(
    QuestionEvent,
    at=TEXT,
    kind=st.just(EventKind.QUESTION),
    profile=TEXT,
    name=TEXT,
    state=TEXT,
    message=TEXT,
    id=TEXT,
    host=TEXT,
    about=TEXT,
    echo=st.booleans(),
    remember=st.none() | st.booleans(),
)
EVENTS = CHANGES | QUESTIONS


@given(STATUSES)
def test_what_is_written_is_read_again(status: Status) -> None:
    text = json.dumps(status.as_json())
    read = from_json(json.loads(text))
    assert read == status
    assert json.dumps(read.as_json()) == text


def _document() -> dict[str, Any]:
    forward = ForwardStatus("db", "local", "127.0.0.1:1", "db:1", "bastion", ForwardState.UP)
    host = HostStatus("bastion", HostState.UP)
    profile = ProfileStatus("dev", "dev.yaml", Wanted.UP, ProfileState.UP)
    document = Status(DaemonStatus(1, "0.1", "now"), (profile,)).as_json()
    document["profiles"][0] |= {"hosts": [host.as_json()], "forwards": [forward.as_json()]}
    return document


def test_what_a_later_version_adds_is_passed_over() -> None:
    document = _document()
    document["more"] = document["daemon"]["more"] = 1
    for part in (document["profiles"][0], *document["profiles"][0]["hosts"]):
        part["more"] = {"nested": []}
    assert from_json(document) == from_json(_document())


def test_what_an_earlier_version_lacks_has_its_default() -> None:
    document = _document()
    (profile,) = document["profiles"]
    del document["daemon"]["warnings"], profile["holders"], profile["wanted_since"]
    del profile["hosts"][0]["links"], profile["hosts"][0]["queued"]
    del profile["forwards"][0]["labels"], profile["forwards"][0]["bound"]
    assert from_json(document) == from_json(_document())


@pytest.mark.parametrize(
    "change",
    [
        {"daemon": None},
        {"profiles": None},
        {"profiles": [None]},
        {"profiles": [{"name": "dev"}]},
    ],
)
def test_what_is_no_status_document_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="not a status document"):
        from_json({**_document(), **change})


def test_a_state_that_is_not_known_is_refused() -> None:
    document = _document()
    document["profiles"][0]["state"] = "perhaps"
    with pytest.raises(ValueError, match="perhaps"):
        from_json(document)


@given(EVENTS)
def test_an_event_is_read_again(event: StatusEvent) -> None:
    text = json.dumps(event.as_json())
    read = status_events.from_json(json.loads(text))
    assert read == event
    assert read is not None
    assert json.dumps(read.as_json()) == text


def test_an_event_of_another_version() -> None:
    question = QuestionEvent("now", EventKind.QUESTION, "dev", "bastion", "asked", "Code: ", id="1")
    document = question.as_json()
    assert status_events.from_json({**document, "more": {}}) == question
    del document["error"], document["remember"], document["echo"]
    assert status_events.from_json(document) == question
    assert status_events.from_json({**document, "kind": "more"}) is None
    for needed in ("kind", "profile", "id"):
        lacking = {key: value for key, value in document.items() if key != needed}
        with pytest.raises(ValueError, match=f"not an event.*{needed}"):
            status_events.from_json(lacking)
