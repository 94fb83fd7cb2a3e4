"""Tables in the terminal: the lines of a table of the view model.

Owns alignment and colour; what the cells say is decided in tunnelctl/view/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

import click

from tunnelctl.view.columns import GAP, Table
from tunnelctl.view.condition import Condition

_COLOURS = {
    Condition.UP: "green",
    Condition.FAILED: "red",
    Condition.STANDBY: "bright_black",
    Condition.STOPPED: "bright_black",
}
_OTHER_COLOUR = "yellow"


class _Row(Protocol):
    @property
    def condition(self) -> Condition: ...


RowT = TypeVar("RowT", bound=_Row)
AnyRowT = TypeVar("AnyRowT")


def lines(
    table: Table[RowT], rows: Iterable[RowT], *, colour: bool, width: int | None = None
) -> list[str]:
    """The header and a line for each row; with a `width` none is longer (see `Table`)."""
    rows = list(rows)
    cells = [table.cells(row) for row in rows]
    widths = table.widths(cells, width)
    shown = [_line(table.cut(table.titles, widths))]
    for row, its_cells in zip(rows, cells, strict=True):
        parts = table.cut(its_cells, widths)
        if colour and table.coloured_at in parts:
            tone = _COLOURS.get(row.condition, _OTHER_COLOUR)
            parts[table.coloured_at] = click.style(parts[table.coloured_at], fg=tone)
        shown.append(_line(parts))
    return shown


def plain(table: Table[AnyRowT], rows: Iterable[AnyRowT]) -> list[str]:
    """The header and a line for each row, whole and without colour."""
    cells = [table.cells(row) for row in rows]
    widths = table.widths(cells, None)
    return [_line(table.cut(line, widths)) for line in (table.titles, *cells)]


def _line(parts: Mapping[int, str]) -> str:
    return GAP.join(parts.values()).rstrip()
