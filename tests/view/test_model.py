"""From the daemon's documents to what is shown."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable
from dataclasses import replace
from itertools import product

import click
import pytest

from tests.view.samples import NOW, forward, host, profile, status
from tunnelctl.cli.main import tunnelctl
from tunnelctl.errors import Code
from tunnelctl.state.documents.connection_status import (
    ClientProcess,
    ConnectionEnd,
    ConnectionList,
    ConnectionState,
    ConnectionStatus,
    End,
)
from tunnelctl.state.documents.history import ForwardHistory, History, HostHistory
from tunnelctl.state.documents.snapshot import (
    ErrorStatus,
    ForwardState,
    Health,
    HostState,
    ProfileState,
    ProfileStatus,
    Wanted,
)
from tunnelctl.view import columns, model
from tunnelctl.view.actions import (
    Action,
    Verb,
    close,
    doctor,
    down,
    question,
    restart,
    up,
)
from tunnelctl.view.rows import ForwardRow, HostRow, ProfileRow, View
from tunnelctl.view.texts import NOTHING

AWAY = ErrorStatus("unreachable", "bastion: no answer", "look at the network")
WHOLE = click.Context(tunnelctl, info_name="tunnelctl", **tunnelctl.context_settings)


def view_of(*profiles: ProfileStatus) -> View:
    return model.build(status(*profiles), None, None, NOW)


def assert_parses(actions: Iterable[Action]) -> None:
    """The command line takes each command as it stands."""
    for action in actions:
        program, name, *arguments = shlex.split(action.command)
        assert program == "tunnelctl"
        command = tunnelctl.get_command(WHOLE, name)
        assert command is not None, action.command
        command.make_context(name, arguments, parent=WHOLE)


@pytest.mark.parametrize(
    ("of_host", "of_forward", "code"),
    list(product(HostState, ForwardState, ("unreachable", "host-key-unknown", "auth-failed"))),
    ids=str,
)
def test_all_that_can_be_in_trouble_says_why_and_what_mends_it(
    of_host: HostState, of_forward: ForwardState, code: str
) -> None:
    error = ErrorStatus(code, "no", "a hint")
    a_host = host(state=of_host, last_error=error, next_retry_at="2026-11-22T12:00:07.000Z")
    shown = view_of(profile([a_host], [forward(state=of_forward, last_error=error)]))
    works = of_host in (HostState.UP, HostState.IDLE) and of_forward is ForwardState.UP
    assert (shown.broken == ()) is works
    for cause in shown.broken:
        assert cause.why == "no"
        assert (
            cause.again
            or cause.kind == "forward"
            or of_host is HostState.STOPPED
            or (of_host is HostState.STOPPING)
        )
        assert_parses(cause.actions)
    rows: list[ProfileRow | HostRow | ForwardRow] = [*shown.profiles, *shown.hosts, *shown.forwards]
    for row in rows:
        assert row.status
        assert_parses(row.actions)


@pytest.mark.parametrize(
    ("state", "code", "command"),
    [
        (HostState.NEEDS_INPUT, "needs-input", "tunnelctl answer dev/bastion"),
        (HostState.NEEDS_INPUT, "host-key-unknown", "tunnelctl trust dev/bastion"),
        (HostState.FAILED, "host-key-unknown", "tunnelctl trust dev/bastion"),
        (HostState.FAILED, "auth-failed", "tunnelctl doctor dev"),
        (HostState.BACKOFF, "unreachable", "tunnelctl restart dev/bastion"),
        (HostState.FAILED, "secret-unavailable", "tunnelctl restart dev/bastion"),
    ],
)
def test_the_command_that_mends_a_host(state: HostState, code: str, command: str) -> None:
    broken = host(state=state, last_error=ErrorStatus(code, "no", ""))
    shown = view_of(profile([broken], [forward()]))
    assert shown.broken[0].mend.command == command
    assert shown.hosts[0].actions[0].command == command


def test_one_cause_is_shown_once() -> None:
    lost = host(state=HostState.BACKOFF, attempts=4, last_error=AWAY)
    rules = [
        forward(name=name, state=ForwardState.FAILED, last_error=AWAY) for name in ("db", "web")
    ]
    (cause,) = view_of(profile([lost], rules)).broken
    assert (cause.place, cause.also) == ("dev/bastion", ("dev/db", "dev/web"))
    assert cause.line == "dev/bastion: bastion: no answer (look at the network)"


def test_what_has_failed_comes_before_what_is_tried_again() -> None:
    retried = host(
        state=HostState.BACKOFF,
        attempts=4,
        next_retry_at="2026-11-22T12:00:07.000Z",
        last_error=AWAY,
    )
    failed = host(
        name="edge", state=HostState.FAILED, last_error=ErrorStatus("auth-failed", "refused", "")
    )
    first, second = view_of(profile([retried, failed], [])).broken
    assert (first.place, first.again) == ("dev/edge", "not tried again before somebody acts")
    assert (second.place, second.again) == ("dev/bastion", "in 7s (#4)")


def test_a_file_with_mistakes_is_checked() -> None:
    mistake = ErrorStatus("config-invalid", "dev.yaml:3:1: unknown key", "")
    (cause,) = view_of(profile([host()], [forward()], last_error=mistake)).broken
    assert cause.mend.command == "tunnelctl check dev"


def test_what_nobody_wants_is_not_broken() -> None:
    lost = host(state=HostState.STOPPED, last_error=AWAY)
    stopped = profile(
        [lost],
        [forward(state=ForwardState.STOPPED)],
        wanted=Wanted.DOWN,
        state=ProfileState.STOPPED,
    )
    shown = view_of(stopped)
    assert shown.broken == ()
    assert [action.verb for action in shown.forwards[0].actions] == [Verb.UP]


def test_texts_of_other_machines_control_no_terminal() -> None:
    said = ErrorStatus("auth-failed", "the server says \x1b[2J", "")
    evil = host(state=HostState.FAILED, last_error=said, server="\x1b]0;x", said=("\x1b[31m",))
    shown = view_of(profile([evil], [forward()]))
    assert "\x1b" not in repr(shown.broken[0].why + shown.hosts[0].server + shown.hosts[0].said[0])
    assert "\x1b" not in shown.broken[0].line
    assert "\x1b" not in shown.hosts[0].error


HISTORY = History(
    "2026-11-22T12:00:00.000Z",
    forwards=(
        ForwardHistory("dev", "db", (1.0, 2.0, 3.0), (0.0, 0.0, 10.0)),
        ForwardHistory("dev", "web", (100.0,), (0.0,)),
    ),
    hosts=(HostHistory("dev", "bastion", (None, 0.5, 0.7)),),
)


def test_rates_and_curves_come_from_the_history() -> None:
    dev = profile([host()], [forward(), forward(name="web"), forward(name="new")])
    shown = model.build(status(dev), None, HISTORY, NOW)
    db, web, new = shown.forwards
    assert (db.rate_in, db.rate_out, db.rates) == (3.0, 10.0, "3/10")
    assert web.curve_in == (100.0,)
    assert (new.rate_in, new.rates, new.curve_in) == (None, NOTHING, ())
    (bastion,) = shown.hosts
    assert bastion.curve_in == (1.0, 2.0, 103.0), "a younger forward began later"
    assert bastion.curve_rtt == (None, 0.5, 0.7)
    assert (bastion.rate_in, bastion.rate_out) == (103.0, 10.0)
    assert shown.profiles[0].rates == "103/10"


def connection(**changes: object) -> ConnectionStatus:
    one = ConnectionStatus(
        "17",
        "dev",
        "db",
        "127.0.0.1:53122",
        None,
        "bastion",
        "2026-11-22T11:59:00.000Z",
        ConnectionState.OPEN,
    )
    return replace(one, **changes)  # type: ignore[arg-type]  # fields of it by name


def test_connections() -> None:
    psql = connection(process=ClientProcess(1234, "psql", "anna"), target="db:5432", rate_in=10.0)
    ended = connection(
        state=ConnectionState.ENDED, how=ConnectionEnd.RESET, reset_by=End.TARGET, id="3"
    )
    refused = connection(
        state=ConnectionState.ENDED,
        how=ConnectionEnd.REFUSED,
        error=ErrorStatus("target-refused", "no", ""),
        id="4",
    )
    listed = ConnectionList((psql,), (ended, refused))
    shown = model.build(status(), listed, None, NOW)
    (row,) = shown.connections
    assert columns.CONNECTIONS.cells(row) == (
        *("17", "dev/db", "127.0.0.1:53122", "psql (1234, anna)", "db:5432", "open"),
        *("-", "10/0", "1m"),
    )
    assert [action.command for action in row.actions] == ["tunnelctl connections --close 17"]
    last, first = shown.ended
    assert (first.status, first.actions) == ("reset by the target", ())
    assert last.status == "refused: target-refused"


def test_a_program_gets_every_field() -> None:
    lost = host(state=HostState.BACKOFF, attempts=4, last_error=AWAY)
    listed = ConnectionList((connection(),), ())
    shown = model.build(status(profile([lost], [forward()])), listed, HISTORY, NOW)
    document = json.loads(json.dumps(model.to_json(shown)))
    assert document["summary"] == "1 forward: 1 not up"
    assert document["broken"][0]["mend"] == {
        "verb": "restart",
        "command": "tunnelctl restart dev/bastion",
        "profile": "dev",
        "host": "bastion",
        "connection": "",
    }
    (row,) = document["forwards"]
    assert (row["place"], row["condition"], row["status"]) == (
        "dev/db",
        "not up",
        "retry in 0s (#4)",
    )
    assert [action["verb"] for action in row["actions"]] == ["restart", "down", "doctor"]
    assert [action["question"] for action in row["actions"]] == [
        "",
        "Take dev down? 2 clients are connected.",
        "",
    ]
    assert document["hosts"][0]["curve_rtt"] == [None, 0.5, 0.7]
    (action,) = document["connections"][0]["actions"]
    assert (action["connection"], action["question"]) == ("17", "Reset connection 17?")


def test_what_disconnects_clients_is_asked_before() -> None:
    lost = host(name="lost", state=HostState.BACKOFF)
    forwards = [forward(connections_open=1), forward(name="other", via="lost")]
    shown = model.build(status(profile([host(), lost], forwards)), None, None, NOW)
    clients = model.clients_of(shown)
    assert clients == {"dev": 3, "dev/bastion": 1, "dev/lost": 0}, "two wait for the lost host"

    def asked(action: Action) -> str:
        return question(action, clients)

    assert asked(restart("dev", "bastion")) == "Reconnect bastion of dev? 1 client is connected."
    assert asked(restart("dev")) == "Reconnect every host of dev? 3 clients are connected."
    assert asked(restart("dev", "lost")) == ""
    assert asked(down("dev")) == "Take dev down? 3 clients are connected."
    assert asked(close("17", "dev")) == "Reset connection 17?"
    assert asked(up("dev")) == asked(doctor("dev")) == ""


def test_a_code_of_another_version_is_shown() -> None:
    later = ErrorStatus("later-code", "a new failure", "")
    assert "later-code" not in set(Code)
    lost = host(state=HostState.FAILED, last_error=later)
    shown = view_of(profile([lost], [forward(health=Health.UNHEALTHY)]))
    assert shown.broken[0].mend.command == "tunnelctl doctor dev"
    assert shown.forwards[0].status == "failed: later-code"
