"""The documents of connections and history, written and read again."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.state.documents import connection_status, history
from tunnelctl.state.documents.connection_status import (
    ClientProcess,
    ConnectionEnd,
    ConnectionList,
    ConnectionState,
    ConnectionStatus,
    End,
)
from tunnelctl.state.documents.history import ForwardHistory, History, HostHistory
from tunnelctl.state.documents.snapshot import ErrorStatus

TEXT = st.text(max_size=5)
MAYBE = st.none() | TEXT
NUMBERS = st.integers(0, 2**40)
RATES = st.floats(0, 1e9)
CONNECTIONS = st.builds(
    ConnectionStatus,
    id=TEXT,
    profile=TEXT,
    forward=TEXT,
    client=TEXT,
    target=MAYBE,
    host=TEXT,
    since=TEXT,
    state=st.sampled_from(ConnectionState),
    process=st.none() | st.builds(ClientProcess, st.none() | NUMBERS, TEXT, TEXT),
    link=st.none() | NUMBERS,
    bytes_in=NUMBERS,
    bytes_out=NUMBERS,
    rate_in=RATES,
    rate_out=RATES,
    until=MAYBE,
    how=st.none() | st.sampled_from(ConnectionEnd),
    reset_by=st.none() | st.sampled_from(End),
    error=st.none() | st.builds(ErrorStatus, TEXT, TEXT, TEXT),
)
LISTS = st.lists(CONNECTIONS, max_size=3).map(tuple)
SAMPLES = st.lists(RATES, max_size=3).map(tuple)
ROUND_TRIPS = st.lists(st.none() | RATES, max_size=3).map(tuple)
HISTORIES = st.builds(
    History,
    at=TEXT,
    forwards=st.lists(st.builds(ForwardHistory, TEXT, TEXT, SAMPLES, SAMPLES)).map(tuple),
    hosts=st.lists(st.builds(HostHistory, TEXT, TEXT, ROUND_TRIPS)).map(tuple),
)


@given(st.builds(ConnectionList, LISTS, LISTS))
def test_connections_are_read_as_they_were_written(document: ConnectionList) -> None:
    assert connection_status.from_json(json.loads(json.dumps(document.as_json()))) == document


@given(HISTORIES)
def test_a_history_is_read_as_it_was_written(document: History) -> None:
    assert history.from_json(json.loads(json.dumps(document.as_json()))) == document


@pytest.mark.parametrize("read", [connection_status.from_json, history.from_json])
def test_what_is_no_such_document_is_a_value_error(read: object) -> None:
    assert callable(read)
    documents: list[dict[str, object]] = [
        {},
        {"connections": [{}], "ended": []},
        {"at": "", "forwards": [1]},
    ]
    for document in documents:
        with pytest.raises(ValueError, match="tunnelctl"):
            read(document)
