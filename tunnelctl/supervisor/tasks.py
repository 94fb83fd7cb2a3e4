"""Tasks with names and an owner: none is forgotten, and none fails in silence.

Owns the set of an owner's running tasks. Must never swallow an error: what a task raises is
logged under the task's name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from tunnelctl.errors import Failure
from tunnelctl.supervisor import sentences

_T = TypeVar("_T")

_log = logging.getLogger("tunnelctl")

AT_ONCE = 16  # of many alike, what is begun in one turn of the loop: connections wait meanwhile


class Tasks:
    """The running tasks of one owner, whose name begins each task's name."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._running: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run `work` on the loop until it ends or `cancel` is called."""
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}: {name}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        return task

    def whole(self, work: Coroutine[Any, Any, _T], name: str) -> asyncio.Future[_T]:
        """Do all of it, even when the caller does not wait for the end: no half of a change.

        It begins with this call, and not when the caller begins to wait: what is called first
        comes first. What it raises is the caller's alone, and not logged.
        """
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}: {name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return asyncio.shield(task)

    @property
    def names(self) -> tuple[str, ...]:
        """What runs now."""
        return tuple(sorted(task.get_name() for task in self._running))

    def cancel(self) -> None:
        """Ask every task to end; `settle` waits for it."""
        for task in self._running:
            task.cancel()

    async def settle(self) -> None:
        """Wait until every other task ended. May be called by one of them."""
        while others := self._running - {asyncio.current_task()}:
            await asyncio.wait(others)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)


async def all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do them side by side, a few begun in each turn of the loop; there may be thousands."""
    async with asyncio.TaskGroup() as group:
        for number, work in enumerate(works, 1):
            group.create_task(work)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)


def unexpected(error: Exception, doing: str) -> Failure:
    """A failure for an error that no table knows: a defect of ours, logged with its traceback.

    It may pass by itself, as far as anyone can tell, so it counts as retryable.
    """
    _log.error("unexpected error while %s", doing, exc_info=error)
    return sentences.unexpected_error(error, doing)
