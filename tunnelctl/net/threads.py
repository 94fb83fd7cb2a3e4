"""Blocking or long work in a thread of its own, awaited from the loop.

Not the loop's executor: its few workers could all be occupied by resolvers that hang or servers
that do not answer, and all other work would wait. The threads are daemons, so that none of them
delays the end of the process. Callers limit their number.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from typing import TypeVar

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.net import sentences

T = TypeVar("T")

_LOOK_AGAIN = 0.05  # seconds
# Those that deliver their results now, or have: they are in their last lines, or have ended.
_delivered: set[threading.Thread] = set()


def in_thread(work: Callable[[], T], name: str) -> asyncio.Future[T]:
    """Start `work` in a thread called `name`; its result or exception comes on the running loop.

    Cancelling the future does not end the work: its result is dropped.

    Raises:
        Failure: internal, at once: no thread can be started (pthread_create(3) EAGAIN).
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # without an error it is a T

    def run() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:
            error = raised
        _delivered.add(threading.current_thread())
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits
            loop.call_soon_threadsafe(deliver, result, error)
        error = None  # its traceback refers to this frame; this breaks the cycle

    _delivered.difference_update([one for one in tuple(_delivered) if not one.is_alive()])
    try:
        threading.Thread(target=run, name=name, daemon=True).start()
    except RuntimeError:
        raise sentences.no_more_threads() from None
    return done


def shielded(work: Awaitable[T]) -> asyncio.Future[T]:
    """As asyncio.shield: cancelling the future does not end `work`. Its exception is then dropped;
    asyncio.shield prints it since Python 3.14, in a program that is not ours too."""
    inner = asyncio.ensure_future(work)
    outer: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def deliver(inner: asyncio.Future[T]) -> None:
        if inner.cancelled():
            outer.cancel()
        elif (error := inner.exception()) is None:
            if not outer.done():
                outer.set_result(inner.result())
        elif not outer.done():
            outer.set_exception(error)

    inner.add_done_callback(deliver)
    return outer


def join_delivered() -> None:
    """Wait for the last lines of threads whose results were delivered: a program that has closed
    its tunnels finds no thread of ours."""
    for thread in tuple(_delivered):
        thread.join()


class _PutOff:
    """The number of callers that need garbage collection off now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1
            gc.disable()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1
            if not self._count:
                gc.enable()


_put_off = _PutOff()


def collections_put_off() -> AbstractContextManager[None]:
    """While a thread makes many objects that stay: each collection would visit all of them, and
    would hold the interpreter's lock, so that the loop waits."""
    return _put_off


def share_the_interpreter() -> None:
    """Have threads that compute release the interpreter's lock to the loop within 1 ms, not 5: the
    loop needs it after each system call."""
    sys.setswitchinterval(0.001)


async def ended(thread: threading.Thread, seconds: float) -> None:
    """Wait until another thread has ended, with a time limit."""
    with suppress(Failure):
        await in_thread(lambda: thread.join(seconds), f"end of {thread.name}")
        return
    # No thread is free to wait in.
    deadline = clock.monotonic() + seconds
    while thread.is_alive() and clock.monotonic() < deadline:  # noqa: ASYNC110 - a thread sets no event
        await asyncio.sleep(_LOOK_AGAIN)
