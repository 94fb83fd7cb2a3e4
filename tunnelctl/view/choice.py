"""The filter and the order of a face's rows.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Protocol, TypeVar

from tunnelctl.view.condition import RANK, Condition


class Row(Protocol):
    """The common part of the rows of all tables, for filters and orders."""

    @property
    def place(self) -> str: ...
    @property
    def words(self) -> str: ...
    @property
    def condition(self) -> Condition: ...
    @property
    def connections(self) -> int: ...
    @property
    def rate_in(self) -> float | None: ...
    @property
    def rate_out(self) -> float | None: ...
    @property
    def since(self) -> str | None: ...


RowT = TypeVar("RowT", bound=Row)


class RowOrder(StrEnum):
    """The orders of a table; rows that are equal stay as they are."""

    STATE = "state"  # broken first, as in `ps`
    NAME = "name"
    TRAFFIC = "traffic"  # the most bytes a second first
    CONNECTIONS = "connections"  # the most first
    NEWEST = "newest"  # the last change first

    @property
    def next(self) -> RowOrder:
        """The one after it; the first after the last."""
        orders = list(RowOrder)
        return orders[(orders.index(self) + 1) % len(orders)]


_KEYS: dict[RowOrder, Callable[[Row], str | float]] = {
    RowOrder.STATE: lambda row: RANK[row.condition],
    RowOrder.NAME: lambda row: row.place,
    RowOrder.TRAFFIC: lambda row: (row.rate_in or 0.0) + (row.rate_out or 0.0),
    RowOrder.CONNECTIONS: lambda row: row.connections,
    RowOrder.NEWEST: lambda row: row.since or "",  # RFC 3339 sorts as time does
}
_DESCENDING = frozenset({RowOrder.TRAFFIC, RowOrder.CONNECTIONS, RowOrder.NEWEST})


def ordered(rows: Iterable[RowT], order: RowOrder) -> list[RowT]:
    """The rows in an order."""
    # `reverse` keeps the order of equal rows.
    return sorted(rows, key=_KEYS[order], reverse=order in _DESCENDING)


def matching(rows: Iterable[RowT], text: str) -> list[RowT]:
    """The rows that have every word of `text` somewhere, in any case; all without words."""
    wanted = text.lower().split()
    if not wanted:
        return list(rows)
    return [row for row in rows if all(word in row.words.lower() for word in wanted)]
