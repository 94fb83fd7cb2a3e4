"""What `ps` shows of a status document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click
import pytest

from tunnelctl.cli.terminal.output import bytes_text, seconds_text
from tunnelctl.cli.terminal.table import status_text, summary, table
from tunnelctl.state.snapshot import (
    ErrorStatus,
    ForwardState,
    ForwardStatus,
    Health,
    HostState,
    HostStatus,
    ProfileState,
    ProfileStatus,
    Wanted,
)

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
REFUSED = ErrorStatus("auth-failed", "no", "")


def host(**changes: Any) -> HostStatus:
    return replace(HostStatus("bastion", HostState.UP), **changes)


def forward(**changes: Any) -> ForwardStatus:
    rule = ForwardStatus(
        "db",
        "local",
        "127.0.0.1:5432",
        "db.internal:5432",
        "bastion",
        ForwardState.UP,
        since="2026-11-22T11:57:00.000Z",
        connections_open=2,
        connections_total=12,
        connections_failed=1,
        bytes_in=1_200_000,
        bytes_out=340_000,
    )
    return replace(rule, **changes)


def profile(
    hosts: Sequence[HostStatus], forwards: Sequence[ForwardStatus], **changes: Any
) -> ProfileStatus:
    one = ProfileStatus("dev", "dev.yaml", Wanted.UP, ProfileState.UP)
    return replace(one, hosts=tuple(hosts), forwards=tuple(forwards), **changes)


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
    assert table([dev], NOW, colour=False) == [
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
    names = [line.split()[0] for line in table(profiles, NOW, colour=False)]
    assert names[1:6] == ["dev/broken", "dev/sick", "dev/late", "dev/f0", "dev/f1"]
    assert names[-1] == "a/db"
    assert len(names) == 302


def test_many_rows_are_summed_up() -> None:
    assert summary([many()], NOW) == "300 forwards: 1 failed, 2 not up, 297 up"


def test_what_waits_for_its_first_client_is_not_counted_as_not_up() -> None:
    lazy = profile([host(state=HostState.IDLE)], [forward()])
    assert summary([lazy], NOW) == "1 forwards: 1 idle"


def test_no_profile_is_a_header_alone() -> None:
    (header,) = table([], NOW, colour=True)
    assert header == "NAME  TYPE  LISTEN  TARGET  VIA  STATUS  CONNS  IN/OUT  AGE"


def test_colour_is_around_the_status_alone() -> None:
    dev = profile([host()], [forward()])
    plain = table([dev], NOW, colour=False)
    coloured = table([dev], NOW, colour=True)
    assert coloured[1].replace("\x1b[32mup    \x1b[0m", "up    ") == plain[1]
    assert coloured[0] == plain[0]


@pytest.mark.parametrize(
    ("a_forward", "a_host", "text"),
    [
        (forward(), host(), "up"),
        (forward(health=Health.UNHEALTHY), host(), "up (unhealthy)"),
        (forward(), host(state=HostState.CONNECTING), "connecting"),
        (forward(), host(state=HostState.CONNECTING, queued=True), "connecting (queued)"),
        (forward(), host(state=HostState.AUTHENTICATING), "authenticating"),
        (forward(), host(state=HostState.BACKOFF, attempts=1), "retry in 0s (#1)"),
        (forward(state=ForwardState.PENDING), host(), "pending"),
        (forward(), host(state=HostState.FAILED, last_error=REFUSED), "failed: auth-failed"),
        (forward(state=ForwardState.FAILED, last_error=REFUSED), host(), "failed: auth-failed"),
        (
            forward(),
            host(state=HostState.NEEDS_INPUT, last_error=REFUSED),
            "needs-input: auth-failed",
        ),
        (forward(state=ForwardState.STOPPED), host(state=HostState.STOPPED), "stopped"),
        (forward(), host(state=HostState.STOPPING), "stopping"),
    ],
)
def test_up_is_not_said_of_a_forward_whose_host_is_not(
    a_forward: ForwardStatus, a_host: HostStatus, text: str
) -> None:
    assert status_text(a_forward, a_host, NOW) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.0k"),
        (9949, "9.9k"),
        (9950, "10k"),
        (340_000, "340k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (1_200_000, "1.2M"),
        (5 * 10**12, "5.0T"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    assert bytes_text(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (3600, "1h"), (90_000, "1d")],
)
def test_ages(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


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
    lines = [click.unstyle(line) for line in table([dev], NOW, colour=colour, width=width)]
    assert max(map(len, lines)) <= width
    header, row = lines
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
    assert table([dev], NOW, colour=False, width=100) == table([dev], NOW, colour=False)
