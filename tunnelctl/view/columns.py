"""The tables: which columns each has, and how they fit a width.

Pure. Text only: colour and the terminal belong to the face. With a width no line is longer: cells
are cut with an ellipsis, and if necessary columns are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Generic, TypeVar

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.view.rows import ConnectionRow, ForwardRow, HostRow
from tunnelctl.view.texts import NOTHING, curve_text, sum_of_curves

GAP = "  "
_TEN_MINUTES = "10 MINUTES"  # of traffic both ways
_CURVE = 20  # columns
_NAME = 12  # a long name does not cut the usual ones, such as dev/postgres
CUT = "…"

RowT = TypeVar("RowT")
# Widths by the index of a column; a column that is left out has none.
Widths = Mapping[int, int]


class CutAt(Enum):
    """The end at which a cell is cut."""

    END = "end"
    FRONT = "front"  # the port distinguishes addresses
    MIDDLE = "middle"  # names may differ at both ends


@dataclass(frozen=True, slots=True)
class Column(Generic[RowT]):
    """One column: its title, and the text of a row. `least` is the width down to which it is cut;
    None: it is never cut."""

    title: str
    text: Callable[[RowT], str]
    least: int | None = None
    cut_at: CutAt = CutAt.END


@dataclass(frozen=True, slots=True)
class Table(Generic[RowT]):
    """The columns of a table; the one with the title `coloured` shows the condition by its colour.
    For narrow terminals: the groups of titles that are cut one after the other, the widest column
    first, then the titles that are left out, in this order. What remains of the first group gives
    the rest."""

    columns: tuple[Column[RowT], ...]
    giving: tuple[tuple[str, ...], ...] = ()
    leaving: tuple[str, ...] = ()
    coloured: str = "STATUS"

    @property
    def titles(self) -> tuple[str, ...]:
        """The header."""
        return tuple(column.title for column in self.columns)

    def cells(self, row: RowT) -> tuple[str, ...]:
        """The texts of a row, uncut."""
        return tuple(column.text(row) for column in self.columns)

    def widths(self, cells: Sequence[Sequence[str]], most: int | None) -> dict[int, int]:
        """The width of each column that is shown for rows with these cells; with the gaps not wider
        than `most`, if that is given."""
        return self.fitted(self.natural(cells), most)

    def natural(self, cells: Sequence[Sequence[str]]) -> dict[int, int]:
        """The width of each column for rows with these cells, if nothing is cut."""
        return {
            at: max(len(title), max((len(row[at]) for row in cells), default=0))
            for at, title in enumerate(self.titles)
        }

    def fitted(self, natural: Widths, most: int | None) -> dict[int, int]:
        """The same widths, narrowed until a line is not wider than `most`."""
        widths = dict(natural)
        if most is not None:
            self._fit(widths, most)
        return widths

    def cut(self, cells: Sequence[str], widths: Widths) -> dict[int, str]:
        """The cells of a row that are shown, each as wide as its column, by the column's index."""
        return {at: _cut(cells[at], self.columns[at].cut_at, width) for at, width in widths.items()}

    @property
    def coloured_at(self) -> int:
        """The index of the column that has a colour."""
        return self.titles.index(self.coloured)

    def _fit(self, widths: dict[int, int], most: int) -> None:
        at = {title: index for index, title in enumerate(self.titles)}

        def too_much() -> int:
            return sum(widths.values()) + len(GAP) * (len(widths) - 1) - most

        def spare(index: int) -> int:
            least = self.columns[index].least
            return 0 if least is None else widths[index] - least

        for titles in self.giving:
            group = [at[title] for title in titles]
            while too_much() > 0:
                widest = max(group, key=spare)
                if spare(widest) <= 0:
                    break
                widths[widest] -= 1
        for title in self.leaving:
            if too_much() <= 0:
                return
            del widths[at[title]]
        kept = [at[title] for titles in self.giving[:1] for title in titles if at[title] in widths]
        while kept and too_much() > 0:  # a few columns of a terminal
            widest = max(kept, key=lambda index: widths[index])
            if widths[widest] <= 1:
                break
            widths[widest] -= 1


def forwards(*, with_rates: bool) -> Table[ForwardRow]:
    """The table of `ps`, with bytes or with bytes a second."""
    return _FORWARDS_WITH_RATES if with_rates else _FORWARDS


def _forwards(title: str, moved: Callable[[ForwardRow], str]) -> Table[ForwardRow]:
    return Table(
        (
            Column("NAME", lambda row: row.place, _NAME, CutAt.MIDDLE),
            Column("TYPE", lambda row: row.type, 5),
            Column("LISTEN", lambda row: row.listen, 7, CutAt.FRONT),
            Column("TARGET", lambda row: row.target, 6, CutAt.FRONT),
            Column("VIA", lambda row: row.via, 4),
            Column("STATUS", lambda row: row.status, 12),
            Column("CONNS", lambda row: str(row.connections) if row.name else NOTHING),
            Column(title, moved),
            Column("AGE", lambda row: row.age),
        ),
        giving=(("LISTEN", "TARGET", "VIA", "NAME"), ("TYPE", "STATUS")),
        leaving=("AGE", "TYPE", title, "CONNS", "VIA", "TARGET", "LISTEN"),
    )


_FORWARDS = _forwards("IN/OUT", lambda row: row.moved)
_FORWARDS_WITH_RATES = _forwards("IN/OUT/s", lambda row: row.rates)

HOSTS: Table[HostRow] = Table(
    (
        Column("NAME", lambda row: row.place, 16, CutAt.MIDDLE),
        Column("ADDRESS", lambda row: row.address or NOTHING, 15, CutAt.FRONT),
        Column("STATUS", lambda row: row.status, 16),
        Column("RTT", lambda row: row.round_trip),
        Column("CIPHER", lambda row: row.cipher or NOTHING, 10),
        Column("RECONN", lambda row: str(row.reconnects)),
        Column("CONNS", lambda row: str(row.connections)),
        Column("IN/OUT/s", lambda row: row.rates),
        Column(
            _TEN_MINUTES,
            lambda row: curve_text(sum_of_curves(row.curve_in, row.curve_out), _CURVE),
        ),
        Column("AGE", lambda row: row.age),
    ),
    giving=(("CIPHER", "ADDRESS", "NAME"), ("STATUS",)),
    leaving=("AGE", "CIPHER", _TEN_MINUTES, "CONNS", "RECONN", "ADDRESS", "IN/OUT/s", "RTT"),
)

CONNECTIONS: Table[ConnectionRow] = Table(
    (
        Column("ID", lambda row: row.id),
        Column("FORWARD", lambda row: row.place, _NAME, CutAt.MIDDLE),
        Column("CLIENT", lambda row: row.client, 8, CutAt.FRONT),
        Column("PROCESS", lambda row: row.process or NOTHING, 6),
        Column("TARGET", lambda row: row.target, 6, CutAt.FRONT),
        Column("STATUS", lambda row: row.status, 6),
        Column("IN/OUT", lambda row: row.moved),
        Column("IN/OUT/s", lambda row: row.rates),
        Column("AGE", lambda row: row.age),
    ),
    giving=(("CLIENT", "TARGET", "PROCESS", "FORWARD"), ("STATUS",)),
    leaving=("AGE", "IN/OUT", "PROCESS", "IN/OUT/s", "TARGET", "CLIENT"),
)


def _cut(cell: str, cut_at: CutAt, width: int) -> str:
    if len(cell) <= width:
        return cell.ljust(width)
    kept = width - len(CUT)
    if cut_at is CutAt.FRONT:
        return CUT + cell[len(cell) - kept :]
    behind = kept // 2 if cut_at is CutAt.MIDDLE else 0
    return cell[: kept - behind] + CUT + cell[len(cell) - behind :]
