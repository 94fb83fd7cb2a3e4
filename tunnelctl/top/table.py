"""A table of rows of the view model that is as quick with a thousand rows as with ten.

Owns the cursor and the scrolling. Draws only the lines that can be seen, and again only those that
changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Generic, Protocol, TypeVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from tunnelctl.view.columns import GAP, Table
from tunnelctl.view.condition import Condition

_STYLES = {
    Condition.UP: Style(color="green"),
    Condition.FAILED: Style(color="red"),
    Condition.STANDBY: Style(dim=True),
    Condition.STOPPED: Style(dim=True),
}
_OTHER = Style(color="yellow")
_WHEEL = 3  # rows
_PLAIN, _HEADER, _CURSOR = Style(), Style(bold=True), Style(reverse=True)


class TableRow(Protocol):
    """The common part of all rows."""

    @property
    def condition(self) -> Condition: ...


RowT = TypeVar("RowT", bound=TableRow)


class RowTable(Widget, Generic[RowT], can_focus=True):
    """Rows below a header that stays; `key` identifies a row, so that the cursor stays on it when
    rows come, go or move. With `follows` the cursor stays on the last row while it is there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "first", show=False),
        Binding("end", "last", show=False),
    ]

    class Moved(Message):
        """The cursor is on another row."""

    def __init__(
        self, table: Table[RowT], key: Callable[[RowT], str], *, id: str, follows: bool = False
    ) -> None:
        super().__init__(id=id)
        self._table = table
        self._key = key
        self._follows = follows
        self._rows: Sequence[RowT] = ()
        self._cursor = 0
        self._top = 0  # the first row in sight
        self._natural: dict[int, int] = {}
        self._widths: dict[int, int] = {}
        self._drawn: dict[int, Strip] = {}

    @property
    def selected(self) -> RowT | None:
        """The row under the cursor."""
        return self._rows[self._cursor] if self._rows else None

    def show(self, rows: Sequence[RowT]) -> None:
        """Show these rows."""
        selected = self.selected
        was_last = self._cursor >= len(self._rows) - 1
        self._rows = rows
        self._cursor = self._place_of(selected, was_last=was_last)
        self._measure()
        self._keep_in_sight()
        self._draw_changes()

    def action_move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self._go(self._cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by so many screens."""
        self._go(self._cursor + by * max(1, self._room))

    def action_first(self) -> None:
        """Move the cursor to the first row."""
        self._go(0)

    def action_last(self) -> None:
        """Move the cursor to the last row."""
        self._go(len(self._rows) - 1)

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the row that was clicked."""
        if event.y > 0:
            self._go(self._top + event.y - 1)

    def on_mouse_scroll_up(self) -> None:
        """Move the cursor up."""
        self._go(self._cursor - _WHEEL)

    def on_mouse_scroll_down(self) -> None:
        """Move the cursor down."""
        self._go(self._cursor + _WHEEL)

    def on_resize(self) -> None:
        """Fit the columns to the new width, and keep the cursor in sight."""
        self._measure()
        self._keep_in_sight()
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line of the widget; the first is the header."""
        strip = self._strip(y)
        self._drawn[y] = strip
        return strip

    @property
    def _room(self) -> int:
        """The number of rows that can be seen."""
        return max(0, self.size.height - 1)

    def _strip(self, y: int) -> Strip:
        width = self.size.width
        if y == 0:
            cells = self._table.cut(self._table.titles, self._widths)
            return _strip([Segment(GAP.join(cells.values()), _HEADER)], width, _PLAIN)
        at = self._top + y - 1
        if at >= len(self._rows):
            return Strip.blank(width)
        row = self._rows[at]
        base = _CURSOR if at == self._cursor else _PLAIN
        segments: list[Segment] = []
        for column, text in self._table.cut(self._table.cells(row), self._widths).items():
            if segments:
                segments.append(Segment(GAP, base))
            tone = (
                _STYLES.get(row.condition, _OTHER) if column == self._table.coloured_at else _PLAIN
            )
            segments.append(Segment(text, base + tone))
        return _strip(segments, width, base)

    def _place_of(self, row: RowT | None, *, was_last: bool) -> int:
        """The index of a row that was selected, or of the one in its place."""
        last = max(0, len(self._rows) - 1)
        if row is None or (self._follows and was_last):
            return last if self._follows else 0
        key = self._key(row)
        at = min(self._cursor, last)
        if self._rows and self._key(self._rows[at]) == key:
            return at
        return next((i for i, other in enumerate(self._rows) if self._key(other) == key), at)

    def _measure(self) -> None:
        """The widths of the columns; they only grow, so that the table does not flicker."""
        natural = self._table.natural([self._table.cells(row) for row in self._rows])
        grown = {at: max(width, self._natural.get(at, 0)) for at, width in natural.items()}
        self._natural = grown
        widths = self._table.fitted(grown, self.size.width or None)
        if widths != self._widths:
            self._widths = widths
            self.refresh()

    def _draw_changes(self) -> None:
        for y in range(self.size.height):
            if y not in self._drawn or self._drawn[y] != self._strip(y):
                self.refresh(Region(0, y, self.size.width, 1))

    def _go(self, to: int) -> None:
        to = max(0, min(to, len(self._rows) - 1))
        if to == self._cursor:
            return
        self._cursor = to
        self._keep_in_sight()
        self._draw_changes()
        self.post_message(self.Moved())

    def _keep_in_sight(self) -> None:
        room = max(1, self._room)
        last_top = max(0, len(self._rows) - room)
        self._top = min(max(self._top, self._cursor - room + 1), self._cursor, last_top)


def _strip(segments: list[Segment], width: int, base: Style) -> Strip:
    return Strip(segments).adjust_cell_length(width, base)
