"""Waiting for a condition with a deadline: the only place in the tests that lets time pass.

Prefer an event, a queue or a blocking read where the thing waited for offers one.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Generous: a machine under load is slow, and a wait that succeeds ends at once.
DEADLINE = 20.0
# Seconds that a machine under load may add where a time limit of the product is tested.
BUSY = 8.0
# Seconds between two looks: most waits are short, and who looks often takes a processor's time.
_FIRST_STEP, _LONGEST_STEP = 0.001, 0.02
_LONGEST_PAUSE = 0.5  # seconds after a look that took long


def eventually(predicate: Callable[[], T], what: str, seconds: float = DEADLINE) -> T:
    """The first true value of `predicate()`.

    A look that takes long, as one that starts a command does, is followed by a pause as long: what
    is waited for needs the processor too.

    Raises:
        AssertionError: it was not true within `seconds`; says `what` was waited for.
    """
    end = time.monotonic() + seconds
    pause, step = threading.Event(), _FIRST_STEP
    while True:
        looked = time.monotonic()
        value = predicate()
        took = time.monotonic() - looked
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"{what}: not within {seconds} s, last seen {value!r}")
        pause.wait(max(step, min(took, _LONGEST_PAUSE)))
        step = min(2 * step, _LONGEST_STEP)


async def eventually_async(predicate: Callable[[], T], what: str, seconds: float = DEADLINE) -> T:
    """As `eventually`, while the event loop runs on."""
    end = time.monotonic() + seconds
    step = _FIRST_STEP
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"{what}: not within {seconds} s, last seen {value!r}")
        await asyncio.sleep(step)
        step = min(2 * step, _LONGEST_STEP)
