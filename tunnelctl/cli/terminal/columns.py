"""Rows of text in columns, fitted to the width of a terminal.

Pure. Must never make a line longer than the width: cells are cut with an ellipsis, and if necessary
columns are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_GAP = "  "
_CUT = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """`least` is how narrow it can get (0: it is not narrowed). Columns are left out in the order
    of `leaves` (0: never). `keeps_end`: the last characters distinguish its cells, as in an
    address with a port."""

    title: str
    least: int = 0
    leaves: int = 0
    keeps_end: bool = False


def lines(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None = None
) -> list[str]:
    """The titles and the rows as lines; without a `width` nothing is cut."""
    cells = [[column.title for column in columns], *rows]
    widths = {at: max(len(row[at]) for row in cells) for at in range(len(columns))}
    if width is not None:
        _fit(columns, widths, width)
    return [
        _GAP.join(_cut(row[at], columns[at], room) for at, room in widths.items()).rstrip()
        for row in cells
    ]


def _fit(columns: Sequence[Column], widths: dict[int, int], most: int) -> None:
    """Narrow columns, the widest first, and leave some out, until a line fits."""

    def too_much() -> int:
        return sum(widths.values()) + len(_GAP) * (len(widths) - 1) - most

    giving = [at for at, column in enumerate(columns) if column.least]
    while giving and too_much() > 0:
        widest = max(giving, key=lambda at: widths[at] - columns[at].least)
        if widths[widest] <= columns[widest].least:
            break
        widths[widest] -= 1
    leaving = [at for at, column in enumerate(columns) if column.leaves]
    for at in sorted(leaving, key=lambda at: columns[at].leaves):
        if too_much() <= 0:
            return
        del widths[at]


def _cut(cell: str, column: Column, width: int) -> str:
    if len(cell) <= width:
        return cell.ljust(width)
    kept = width - len(_CUT)
    return _CUT + cell[len(cell) - kept :] if column.keeps_end else cell[:kept] + _CUT
