"""Reads the files of wanted profiles again, and applies the changes.

Must never change anything that runs before every file involved was found valid.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from typing import Any

from tunnelctl.config.yaml.mistakes import Mistake, ProfileInvalid
from tunnelctl.daemon import sentences
from tunnelctl.daemon.orders import ReloadOrder
from tunnelctl.daemon.wanted.book import Book
from tunnelctl.daemon.wanted.reading import (
    Order,
    ProfileReading,
    demand_variables,
    read_again,
    take_stamps,
)
from tunnelctl.errors import Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.profile.plan import Plan
from tunnelctl.supervisor.supervisor import Supervisor

_APPLIED_WITHIN = 5.0  # seconds that an answer waits for a profile that still stops


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The changes in one profile; a `plan` of None means that the whole profile starts."""

    name: str
    plan: Plan | None

    def as_json(self) -> dict[str, Any]:
        """One element of the answer to `reload`."""
        return {"name": self.name, "starts": self.plan is None, "changes": list(self._changes())}

    def _changes(self) -> Iterator[dict[str, str]]:
        if self.plan is None:
            return
        for kind, changes in (("host", self.plan.hosts), ("forward", self.plan.forwards)):
            for action in ("removed", "replaced", "retuned", "added"):
                for part in getattr(changes, action):
                    yield {"kind": kind, "name": part.name, "action": action}


class Reloading:
    """Runs one reload after another, whoever requests them."""

    def __init__(self, supervisor: Supervisor, book: Book) -> None:
        self._supervisor = supervisor
        self._book = book
        self._turn = asyncio.Lock()

    async def reload(self, order: ReloadOrder) -> tuple[Reloaded, ...]:
        """Read the files; apply the changes unless it is a dry run.

        Raises:
            Failure: PROFILE_NOT_FOUND for a name that was never wanted, NOT_UP for one that is not
                any more; CONFIG_INVALID with the mistakes of all files. Nothing was changed then.
        """
        async with self._turn:
            for name in order.names:
                if name not in self._book.orders:
                    was_up = self._supervisor.status_of(name) is not None
                    raise sentences.cannot_reload(name, was_up=was_up)
            readings = await self._read_all(order)
            done = tuple(
                Reloaded(name, self._supervisor.plan(reading.loaded.profile))
                for name, reading in readings.items()
            )
            for name, reading in () if order.dry_run else readings.items():
                if name in self._book.orders:  # not taken down in the meantime
                    heard = self._book.orders[name].heard(self._book.completed(order.environment))
                    await self.apply(heard, reading)
            return done

    async def files_changed(self) -> bool:
        """Whether a file of a wanted profile has changed since it was last read."""
        return any(
            [
                order.stamps != await take_stamps(order)
                for order in tuple(self._book.orders.values())
            ]
        )

    async def apply(self, order: Order, reading: ProfileReading) -> None:
        """Run a wanted profile as it was read, unless the reading is outdated: the profile was read
        again in the meantime, or its file was replaced by another."""
        known = self._book.orders.get(order.name)
        is_of_its_file = known is not None and str(known.file) == reading.loaded.profile.source
        if known is not None and is_of_its_file and known.reading < reading.number:
            applying = self._book.want(order, reading)
            self._book.save()
            await applied(applying)

    async def _read_all(self, order: ReloadOrder) -> dict[str, ProfileReading]:
        """Read every file involved. Unless it is a dry run, status then shows the result.

        Raises:
            Failure: as `reload`.
        """
        readings: dict[str, ProfileReading] = {}
        invalid: dict[str, ProfileInvalid] = {}
        environment = self._book.completed(order.environment)
        for name in order.names or tuple(self._book.orders):
            if name not in self._book.orders:  # taken down in the meantime
                continue
            wanted = self._book.orders[name].heard(environment)
            try:
                if self._supervisor.status_of(name) is None:
                    demand_variables(wanted)
                readings[name] = await read_again(wanted)
            except ProfileInvalid as failure:
                invalid[name] = failure
            except Failure:
                if order.names:
                    raise
                continue  # it waits for its variables, which no file can provide
            if not order.dry_run:
                await self._note_reading(wanted, invalid.get(name))
        if invalid:
            mistakes: list[Mistake] = [m for failure in invalid.values() for m in failure.mistakes]
            more = sum(failure.more for failure in invalid.values())
            raise ProfileInvalid(", ".join(invalid), mistakes, more)
        return readings

    async def _note_reading(self, order: Order, failure: ProfileInvalid | None) -> None:
        stamps = await take_stamps(order) if failure is not None else order.stamps
        if order.name in self._book.orders:  # not taken down in the meantime
            self._book.orders[order.name] = replace(self._book.orders[order.name], stamps=stamps)
            self._book.note_error(order.name, failure)


async def applied(order: Awaitable[None]) -> None:
    """Wait until the supervisor has applied it, but no longer than a person waits: a profile that
    still stops takes as long as its connections.

    Raises:
        Failure: the supervisor is closing.
    """
    applying = asyncio.ensure_future(order)
    done, _ = await asyncio.wait({applying}, timeout=_APPLIED_WITHIN)
    if done:
        applying.result()
    else:
        applying.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
