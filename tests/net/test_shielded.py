"""What becomes of work whose caller was cancelled."""

from __future__ import annotations

import asyncio

import pytest

from tunnelctl.net.threads import shielded


@pytest.mark.parametrize("error", [None, OSError("too late")])
async def test_it_goes_on_and_what_it_raises_is_printed_nowhere(error: OSError | None) -> None:
    """Of Python 3.14, asyncio.shield prints it: the fixture no_swallowed_errors fails then."""
    go_on, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        ended.set()
        if error is not None:
            raise error

    async def call() -> None:
        await shielded(inner)

    inner = asyncio.create_task(work())
    caller = asyncio.create_task(call())
    await asyncio.wait([caller], timeout=0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    go_on.set()
    await ended.wait()
    await asyncio.wait([inner])
    assert inner.exception() is error


async def test_the_caller_gets_its_result_its_exception_and_its_end() -> None:
    async def result() -> int:
        return 1

    async def failing() -> None:
        raise OSError("it")

    assert await shielded(result()) == 1
    with pytest.raises(OSError, match="it"):
        await shielded(failing())
    ended = asyncio.create_task(asyncio.Event().wait())
    ended.cancel()
    with pytest.raises(asyncio.CancelledError):
        await shielded(ended)
