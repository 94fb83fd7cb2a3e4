"""One question to several members of a store: the next one is asked while the last one is slow.

Owns the order and the pace. Must never wait longer than its caller allows, and leaves nothing
running.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeVar

from tunnelctl import clock
from tunnelctl.errors import Failure

T = TypeVar("T")

# Parts of the time, after each of which another member is asked too. A request that a member has
# passed on to a leader that is gone is never answered, while a new request to the same member is,
# once there is a new leader: so members are asked again and again.
_PARTS: Final = 8


class NobodyAnswered(Exception):
    """`failures` by the number of the member; those that are missing did not answer."""

    def __init__(self, failures: Mapping[int, Failure]) -> None:
        super().__init__(failures)
        self.failures = failures


async def hedged(
    ask: Callable[[int], Awaitable[T]], members: int, first: int, seconds: float
) -> tuple[int, T]:
    """The member that answered first, and its answer. Members are numbers from 0, asked in a circle
    from `first` on: the next one after an eighth of the seconds (sooner if there are more members),
    and at once after a failure, as long as there is one that has not failed. So `ask` may run twice
    at the same time for a member: the first request, which has the longest time, and a new one.

    Raises:
        NobodyAnswered: not within so many seconds, or all have failed and none is still asked.
    """
    attempts: dict[asyncio.Task[T], int] = {}
    failures: dict[int, Failure] = {}
    pace = seconds / max(_PARTS, members)
    end, due, member = clock.monotonic() + seconds, 0.0, first
    try:
        while (now := clock.monotonic()) < end:
            if now >= due:
                _make_room(attempts, member)
                attempts[_attempt(ask, member)] = member
                member, due = (member + 1) % members, now + pace
            done, _ = await asyncio.wait(
                attempts, timeout=min(due, end) - now, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                at = attempts.pop(task)
                if task.cancelled():
                    continue
                error = task.exception()
                if error is None:
                    return at, task.result()
                if not isinstance(error, Failure):
                    raise error
                failures[at] = error
                due = 0.0 if len(failures) < members else due
            if len(failures) == members and not attempts:
                break
    finally:
        await _cancelled(attempts)
    raise NobodyAnswered(failures)


def _attempt(ask: Callable[[int], Awaitable[T]], member: int) -> asyncio.Task[T]:
    async def attempt() -> T:
        return await ask(member)

    return asyncio.get_running_loop().create_task(attempt(), name=f"fleet: ask member {member}")


def _make_room(attempts: Mapping[asyncio.Task[T], int], member: int) -> None:
    """For another request to a member: two at the same time do no harm to a store that is slow."""
    for task in [task for task, at in attempts.items() if at == member][1:]:
        task.cancel()


async def _cancelled(attempts: Mapping[asyncio.Task[T], int]) -> None:
    for task in attempts:
        task.cancel()
    await asyncio.gather(*attempts, return_exceptions=True)
