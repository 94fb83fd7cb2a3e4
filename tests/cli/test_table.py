"""What `ps` prints of a status document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import click
import pytest

from tests.view.samples import NOW, REFUSED, forward, host, profile, status
from tunnelctl.cli.terminal.table import lines
from tunnelctl.state.documents.snapshot import (
    ForwardState,
    Health,
    HostState,
    ProfileState,
    ProfileStatus,
)
from tunnelctl.view import columns, model


def table(
    profiles: Sequence[ProfileStatus], *, colour: bool, width: int | None = None
) -> list[str]:
    rows = model.build(status(*profiles), None, None, NOW).forwards
    return lines(columns.forwards(with_rates=False), rows, colour=colour, width=width)


def summary(*profiles: ProfileStatus) -> str:
    return model.summary(model.build(status(*profiles), None, None, NOW).forwards)


def test_the_table() -> None:
    retry = host(
        name="edge", state=HostState.BACKOFF, attempts=4, next_retry_at="2026-11-22T12:00:07.000Z"
    )
    hello = forward(
        name="hello",
        type="remote",
        listen="localhost:62893",
        target="127.0.0.1:62893",
        via="edge",
        state=ForwardState.PENDING,
        since="2026-11-22T11:59:48.000Z",
        connections_open=0,
        bytes_in=0,
        bytes_out=0,
    )
    dev = profile([host(), retry], [forward(health=Health.HEALTHY), hello])
    assert table([dev], colour=False) == [
        "NAME       TYPE    LISTEN          TARGET            VIA      STATUS            "
        "CONNS  IN/OUT     AGE",
        "dev/hello  remote  edge:62893      127.0.0.1:62893   edge     retry in 7s (#4)  "
        "0      -          12s",
        "dev/db     local   127.0.0.1:5432  db.internal:5432  bastion  up (healthy)      "
        "2      1.2M/340k  3m",
    ]


def many() -> ProfileStatus:
    """300 forwards, of which the last ones are in trouble."""
    failed = host(name="edge", state=HostState.FAILED, last_error=REFUSED)
    away = host(name="away", state=HostState.BACKOFF, attempts=4)
    rules = [forward(name=f"f{number}") for number in range(297)]
    rules += [
        forward(name="sick", health=Health.UNHEALTHY),
        forward(name="late", via="away", state=ForwardState.PENDING),
        forward(name="broken", via="edge", state=ForwardState.FAILED, last_error=REFUSED),
    ]
    return profile([host(), failed, away], rules, state=ProfileState.DEGRADED)


def test_what_is_broken_comes_first() -> None:
    stopped = profile([host(state=HostState.STOPPED)], [forward(state=ForwardState.STOPPED)])
    profiles = [replace(stopped, name="a"), many()]
    names = [line.split()[0] for line in table(profiles, colour=False)]
    assert names[1:6] == ["dev/broken", "dev/late", "dev/sick", "dev/f0", "dev/f1"]
    assert names[-1] == "a/db"
    assert len(names) == 302


def test_many_rows_are_summed_up() -> None:
    assert summary(many()) == "300 forwards: 1 failed, 1 not up, 1 unhealthy, 297 up"


def test_what_waits_for_its_first_client_is_not_counted_as_not_up() -> None:
    assert summary(profile([host(state=HostState.IDLE)], [forward()])) == "1 forward: 1 idle"


def test_no_profile_is_a_header_alone() -> None:
    assert summary() == "no forwards"
    (header,) = table([], colour=True)
    assert header == "NAME  TYPE  LISTEN  TARGET  VIA  STATUS  CONNS  IN/OUT  AGE"


def test_a_profile_that_could_not_be_loaded_has_a_row() -> None:
    broken = profile([], [], state=ProfileState.FAILED, last_error=REFUSED)
    _, row = table([broken], colour=False)
    assert row.split() == ["dev", *"----", "failed:", "auth-failed", *"---"]


@pytest.mark.parametrize(
    ("health", "colour"), [(Health.HEALTHY, "green"), (Health.UNHEALTHY, "yellow")]
)
def test_colour_is_around_the_status_alone(health: Health, colour: str) -> None:
    dev = profile([host()], [forward(health=health)])
    plain = table([dev], colour=False)
    coloured = table([dev], colour=True)
    text = f"up ({health})"
    assert coloured[1].replace(click.style(text, fg=colour), text) == plain[1]
    assert coloured[0] == plain[0]


@pytest.mark.parametrize("width", [22, 40, 60, 80, 100])
@pytest.mark.parametrize("colour", [False, True])
def test_it_fits_a_width(width: int, colour: bool) -> None:
    long = forward(
        name="a-forward-with-a-long-name",
        listen="[2001:db8:85a3:8d3:1319:8a2e:370:7348]:15432",
        target="database-primary.internal.example.com:5432",
        via="bastion-of-the-west",
        health=Health.HEALTHY,
    )
    dev = profile([host(name="bastion-of-the-west")], [long])
    shown = [click.unstyle(line) for line in table([dev], colour=colour, width=width)]
    assert max(map(len, shown)) <= width
    header, row = shown
    assert "up (healthy)" in row
    name = row.split()[0]
    assert name.startswith("dev")
    assert name.endswith("ame"), "both ends of a name are kept"
    if width == 80:
        assert [*header.split()] == [
            *("NAME", "TYPE", "LISTEN", "TARGET", "VIA", "STATUS", "CONNS", "IN/OUT", "AGE")
        ]
        assert re.search(r"…\S*15432 .*…\S*:5432 ", row), "ports are kept"


def test_what_fits_is_not_cut() -> None:
    dev = profile([host()], [forward(health=Health.HEALTHY)])
    assert table([dev], colour=False, width=100) == table([dev], colour=False)
