"""Tables in the terminal: the lines of a table of the view model.

Owns alignment and colour; what the cells say is decided in tunnelctl/view/.
"""

from __future__ import annotations

from collections.abc import Iterable
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


def lines(
    table: Table[RowT], rows: Iterable[RowT], *, colour: bool, width: int | None = None
) -> list[str]:
    """The header and a line for each row; with a `width` none is longer (see `Table`)."""
    rows = list(rows)
    cells = [table.cells(row) for row in rows]
    widths = table.widths(cells, width)
    header = GAP.join(table.cut(table.titles, widths).values()).rstrip()
    shown = [header]
    for row, its_cells in zip(rows, cells, strict=True):
        parts = table.cut(its_cells, widths)
        if colour and table.coloured_at in parts:
            tone = _COLOURS.get(row.condition, _OTHER_COLOUR)
            parts[table.coloured_at] = click.style(parts[table.coloured_at], fg=tone)
        shown.append(GAP.join(parts.values()).rstrip())
    return shown
