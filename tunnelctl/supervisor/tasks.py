"""Tasks with names and an owner: none is lost, and none fails silently.

Owns the running tasks of an owner. Must never swallow an error: an exception of a task is logged
under the name of the task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

from tunnelctl.errors import Failure
from tunnelctl.net.threads import shielded
from tunnelctl.supervisor import sentences

_T = TypeVar("_T")

_log = logging.getLogger("tunnelctl")

AT_ONCE = 16  # many alike are begun so many at a time, because connections wait meanwhile


class Tasks:
    """The running tasks of one owner, whose name is a prefix of each task's name."""

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
        """Run `work` to its end, even if the caller is cancelled, so that no change is half
        applied.

        It begins with this call, not when the caller awaits it, so calls keep their order. Its
        exceptions go to the caller only, and are not logged.
        """
        task = asyncio.get_running_loop().create_task(work, name=f"{self._owner}: {name}")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return shielded(task)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the running tasks."""
        return tuple(sorted(task.get_name() for task in self._running))

    def cancel(self) -> None:
        """Cancel every task; `settle` waits for the end."""
        for task in self._running:
            task.cancel()

    async def settle(self) -> None:
        """Wait until every other task has ended. May be called by one of them."""
        while others := self._running - {asyncio.current_task()}:
            await asyncio.wait(others)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)


async def all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run them concurrently; a few are begun in each turn of the loop, because there may be
    thousands."""
    async with asyncio.TaskGroup() as group:
        for number, work in enumerate(works, 1):
            group.create_task(work)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)


def unexpected(error: Exception, doing: str) -> Failure:
    """The Failure for an unexpected exception: a bug, logged with its traceback.

    The cause is unknown and may pass, so it counts as retryable.
    """
    _log.error("unexpected error while %s", doing, exc_info=error)
    return sentences.unexpected_error(error, doing)
