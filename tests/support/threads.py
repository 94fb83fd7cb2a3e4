"""Blocking work beside a running event loop, each in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> asyncio.Future[T]:
    """Start `function` now, in a new thread; what it returns or raises can be awaited.

    Not `asyncio.to_thread`: its pool has a handful of threads, and clients that wait for each
    other must all run.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function(*args, **kwargs))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name=f"client-{getattr(function, '__name__', 'call')}").start()
    return asyncio.wrap_future(result)
