"""The holders of a profile, and the consequence when one ends.

Pure. A profile is wanted while it has a holder. `after_a_command` is the single rule for the end of
an attached command: the daemon acts by it, and `up` reads from it what Ctrl-C will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any, Self

from tunnelctl.quick_dataclass import dataclass


class HolderKind(StrEnum):
    """The kinds of holders, and when each ends."""

    DETACHED = "detached"  # `up -d`, or an `up` that was not ready: until `down`, or its ttl
    SERVICE = "service"  # the daemon's own command line: until `down`
    COMMAND = "command"  # an attached `up`, `run` or `expose`: until it ends
    ORDER = "order"  # an `up` that is being carried out: until it is done


@dataclass(frozen=True, slots=True)
class Holder:
    """One holder. `lease` is that of a command, or of the command that an order comes from;
    `number` tells orders apart."""

    kind: HolderKind
    lease: str = ""
    number: int = 0


DETACHED = Holder(HolderKind.DETACHED)
SERVICE = Holder(HolderKind.SERVICE)


@dataclass(frozen=True, slots=True)
class Held:
    """The holders of one profile as status shows them; false if there is none.

    An order that is being carried out counts as a command, because it is about to become a holder.
    """

    detached: bool = False
    service: bool = False
    commands: int = 0

    @classmethod
    def of(cls, holders: Iterable[Holder]) -> Self:
        """Count the holders."""
        kinds = [holder.kind for holder in holders]
        of_a_command = (HolderKind.COMMAND, HolderKind.ORDER)
        return cls(
            HolderKind.DETACHED in kinds,
            HolderKind.SERVICE in kinds,
            sum(kind in of_a_command for kind in kinds),
        )

    @classmethod
    def from_json(cls, holders: Mapping[str, Any]) -> Self:
        """The value that `as_json` wrote."""
        return cls(holders["detached"], holders["service"], holders["commands"])

    def as_json(self) -> dict[str, Any]:
        """`holders` of the status document."""
        return {"detached": self.detached, "service": self.service, "commands": self.commands}

    def __bool__(self) -> bool:
        return self.detached or self.service or self.commands > 0

    def after_a_command(self) -> Held:
        """The holders after one of the commands ended; if none is left, the profile goes down."""
        return replace(self, commands=max(0, self.commands - 1))

    def __str__(self) -> str:
        """`up -d, 2 commands`."""
        commands = f"{self.commands} command" + ("s" if self.commands > 1 else "")
        words = (
            "up -d" if self.detached else "",
            "the service" if self.service else "",
            commands if self.commands else "",
        )
        return ", ".join(word for word in words if word) or "nobody"


NOBODY = Held()
