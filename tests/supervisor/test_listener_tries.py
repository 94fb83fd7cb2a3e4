"""When a listener that could not be opened is tried again."""

from __future__ import annotations

import asyncio

from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Reconnect
from tunnelctl.supervisor.forwards.listener_tries import ListenerTries

BUSY = Failure(Code.PORT_IN_USE, "somebody listens there")
FORBIDDEN = Failure(Code.PERMISSION_DENIED, "root alone may listen there")
SOON = Reconnect(min=0.001, max=0.001)
LATE = Reconnect(min=1000, max=1000)


class Opener:
    def __init__(self, policy: Reconnect) -> None:
        self.opened = 0
        self.tries = ListenerTries(policy, self._open)

    def _open(self) -> None:
        self.opened += 1


async def test_what_may_pass_is_tried_again_after_a_wait() -> None:
    opener = Opener(SOON)
    opener.tries.failed(BUSY, is_wanted=True)
    is_waiting = opener.tries.retry_at is not None
    assert is_waiting
    await eventually_async(lambda: opener.opened == 1, "it is tried again")
    assert (opener.tries.retry_at, opener.tries.count) == (None, 1)
    failed_for = opener.tries.failure
    assert failed_for == BUSY  # until it listens
    opener.tries.succeeded()
    assert (opener.tries.failure, opener.tries.count) == (None, 0)


async def test_what_lasts_or_is_not_wanted_is_not_tried_again() -> None:
    for failure, is_wanted in ((FORBIDDEN, True), (BUSY, False)):
        opener = Opener(SOON)
        opener.tries.failed(failure, is_wanted=is_wanted)
        assert opener.tries.retry_at is None
        opener.tries.hasten()
        assert opener.opened == 0


async def test_a_wait_ends_once_what_was_in_the_way_is_gone() -> None:
    opener = Opener(LATE)
    opener.tries.failed(BUSY, is_wanted=True)
    opener.tries.hasten()
    opener.tries.hasten()  # it waits no more
    assert opener.opened == 1


async def test_of_two_failures_one_try_comes() -> None:
    """A server that was silent, and then refuses."""
    opener = Opener(SOON)
    opener.tries.failed(BUSY, is_wanted=True)
    opener.tries.failed(BUSY, is_wanted=True)
    opener.tries.hasten()
    later = asyncio.Event()
    asyncio.get_running_loop().call_later(10 * SOON.max, later.set)  # when all waits are over
    await later.wait()
    assert (opener.opened, opener.tries.count) == (1, 2)


async def test_a_wait_that_is_cancelled_never_ends() -> None:
    opener = Opener(LATE)
    opener.tries.failed(BUSY, is_wanted=True)
    opener.tries.cancel()
    assert opener.tries.retry_at is None
    opener.tries.hasten()
    assert opener.opened == 0
