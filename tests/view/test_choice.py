"""Filters and orders."""

from __future__ import annotations

import pytest

from tests.view.samples import NOW, forward, host, profile, status
from tunnelctl.state.documents.snapshot import ForwardState
from tunnelctl.view import model
from tunnelctl.view.choice import RowOrder, matching, ordered
from tunnelctl.view.rows import ForwardRow

RATES = {"db": (0.0, 10.0), "web": (500.0, 0.0), "ssh": (0.0, 0.0)}


@pytest.fixture
def rows() -> tuple[ForwardRow, ...]:
    rules = [
        forward(connections_open=1, labels=(("team", "web"),)),
        forward(name="web", listen="127.0.0.1:8080", since="2026-11-22T11:59:00.000Z"),
        forward(name="ssh", state=ForwardState.PENDING, connections_open=3),
    ]
    dev = profile([host()], rules)
    return model.build(status(dev), None, None, NOW, lambda _, name: RATES[name]).forwards


@pytest.mark.parametrize(
    ("order", "names"),
    [
        (RowOrder.STATE, ["ssh", "db", "web"]),
        (RowOrder.NAME, ["db", "ssh", "web"]),
        (RowOrder.TRAFFIC, ["web", "db", "ssh"]),
        (RowOrder.CONNECTIONS, ["ssh", "web", "db"]),
        (RowOrder.NEWEST, ["web", "ssh", "db"]),
    ],
)
def test_orders(rows: tuple[ForwardRow, ...], order: RowOrder, names: list[str]) -> None:
    assert [row.name for row in ordered(rows, order)] == names


def test_every_order_is_reached_from_any() -> None:
    order, seen = RowOrder.STATE, []
    for _ in RowOrder:
        seen.append(order)
        order = order.next
    assert (order, seen) == (RowOrder.STATE, list(RowOrder))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ["ssh", "db", "web"]),
        ("DB", ["ssh", "db", "web"]),  # the target of all three
        ("8080", ["web"]),
        ("pending", ["ssh"]),
        ("team=web", ["db"]),
        ("dev/ bastion 8080", ["web"]),
        ("nothing", []),
    ],
)
def test_filters(rows: tuple[ForwardRow, ...], text: str, names: list[str]) -> None:
    assert [row.name for row in matching(rows, text)] == names
