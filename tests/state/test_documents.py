"""The types that callers in Python get are those of the documents that are sent."""

from __future__ import annotations

import types
import typing
from dataclasses import replace
from typing import Any, NotRequired, get_args, get_origin, get_type_hints

import pytest

from tunnelctl.state.documents import json_types
from tunnelctl.state.documents.connection_status import (
    ClientProcess,
    ConnectionEnd,
    ConnectionList,
    ConnectionState,
    ConnectionStatus,
    End,
)
from tunnelctl.state.documents.fleet_status import FleetStatus, Role, Store
from tunnelctl.state.documents.snapshot import (
    DaemonStatus,
    ErrorStatus,
    ForwardState,
    ForwardStatus,
    HostState,
    HostStatus,
    LinkStatus,
    ProfileState,
    ProfileStatus,
    Status,
    Wanted,
)
from tunnelctl.state.documents.status_events import EventKind, StatusEvent

ERROR = ErrorStatus("unreachable", "no route", "look at the network")
HOST = HostStatus("bastion", HostState.UP, links=(LinkStatus("10.0.0.7:22", "aes", 0.8, 2),))
FORWARD = ForwardStatus("db", "local", "127.0.0.1:1", None, "bastion", ForwardState.UP)
FLEET = FleetStatus("web", "m1", Role.HOLDER, "m1", 7, Store.OK)
PROFILE = ProfileStatus("dev", "dev.yaml", Wanted.UP, ProfileState.UP)
FULL = replace(
    PROFILE,
    hosts=(HOST, replace(HOST, said=("hi",), last_error=ERROR, strict_kex=True)),
    forwards=(FORWARD, replace(FORWARD, labels=(("a", "b"),), last_error=ERROR)),
    last_error=ERROR,
    fleet=FLEET,
)
CONNECTION = ConnectionStatus(
    "17", "dev", "db", "127.0.0.1:1", None, "bastion", "now", ConnectionState.OPEN
)
ENDED = replace(
    CONNECTION,
    process=ClientProcess(1, "psql", "anna"),
    how=ConnectionEnd.RESET,
    reset_by=End.CLIENT,
    error=ERROR,
)


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (
            Status(DaemonStatus(1, "0.1", "now", ("warned",)), (PROFILE, FULL)).as_json(),
            json_types.StatusDocument,
        ),
        (
            StatusEvent("now", EventKind.HOST, "dev", "bastion", "up", "", ERROR).as_json(),
            json_types.EventDocument,
        ),
        (ConnectionList((CONNECTION,), (ENDED,)).as_json(), json_types.ConnectionsDocument),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_key_has_its_type(document: dict[str, Any], kind: type) -> None:
    _check(document, kind, kind.__name__)


def _check(value: object, kind: Any, place: str) -> None:
    if typing.is_typeddict(kind):
        assert isinstance(value, dict), place
        hints = get_type_hints(kind, include_extras=True)
        needed = {key for key, hint in hints.items() if get_origin(hint) is not NotRequired}
        assert needed <= value.keys() <= hints.keys(), place
        for key, each in get_type_hints(kind).items():
            if key in value:
                _check(value[key], each, f"{place}.{key}")
    elif get_origin(kind) is list:
        assert isinstance(value, list), place
        for item in value:
            _check(item, get_args(kind)[0], place)
    elif get_origin(kind) is dict:
        assert isinstance(value, dict), place
        for item in value.values():
            _check(item, get_args(kind)[1], place)
    elif isinstance(kind, types.UnionType):
        (some,) = (each for each in get_args(kind) if each is not type(None))
        if value is not None:
            _check(value, some, place)
    elif kind is float:
        assert isinstance(value, float | int), place
    else:
        assert type(value) is kind, f"{place}: {value!r}"
