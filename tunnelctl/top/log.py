"""The lines of the daemon's log as rows of a table."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from tunnelctl.errors import printable
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.view.columns import Column, Table
from tunnelctl.view.condition import Condition

KEPT: Final = 1000  # lines

_CONDITIONS = {
    "warning": Condition.NOT_UP,
    "error": Condition.FAILED,
    "critical": Condition.FAILED,
}


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line, in local time; `number` counts the lines."""

    number: int
    time: str
    level: str
    message: str
    condition: Condition

    @property
    def words(self) -> str:
        """The text that a filter searches."""
        return f"{self.level} {self.message}"

    @classmethod
    def of(cls, number: int, line: dict[str, Any]) -> LogRow:
        """The row of a line as the control API sends it."""
        level = str(line["level"])
        moment = datetime.fromisoformat(line["at"]).astimezone().strftime("%H:%M:%S")
        condition = _CONDITIONS.get(level.lower(), Condition.STOPPED)
        return cls(number, moment, level, printable(str(line["message"])), condition)


LOG: Table[LogRow] = Table(
    (
        Column("TIME", lambda row: row.time),
        Column("LEVEL", lambda row: row.level),
        Column("MESSAGE", lambda row: row.message, 8),
    ),
    giving=(("MESSAGE",),),
    coloured="LEVEL",
)
