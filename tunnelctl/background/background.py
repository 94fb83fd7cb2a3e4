"""A supervisor on a thread of its own, inside a program that is not ours.

Owns that thread, its loop and its reactor: a program that blocks its own loop, or has none, or runs
uvloop, does not hold up a tunnel, and may block on a connection through it. Every method may be
called from any thread, also during or after `close`, and in a forked child, where all are without
effect; it blocks until it is done. Must never take a signal, set up logging, leave a file behind,
outlive `close`, nor keep the process alive or delay its exit if `close` is not called.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, TypeVar

from tunnelctl.errors import Failure
from tunnelctl.net import forked
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.selector import descriptors_of, new_event_loop
from tunnelctl.net.threads import join_delivered
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.profile import HostAnew, Profile
from tunnelctl.state.documents.snapshot import ProfileStatus
from tunnelctl.supervisor.supervisor import Supervisor
from tunnelctl.supervisor.watches import Watches

T = TypeVar("T")

_CLOSE_WITHIN = 10.0  # seconds

# As Python's "Configuring Logging for a Library" has it: a program that set up no logging gets no
# lines on its standard error.
logging.getLogger("tunnelctl").addHandler(logging.NullHandler())


class Background:
    """Starts when it is constructed. `name` is the thread's.

    Raises:
        OSError, RuntimeError: there are not enough descriptors for the loop, or no more threads.
    """

    def __init__(self, name: str) -> None:
        self._started = threading.Event()
        self._refused: Exception | None = None
        self._lock = threading.Lock()
        self._takes_calls = True  # under the lock
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
            self._started.wait()
        except RuntimeError:  # no thread can be started
            raise
        except BaseException:  # Ctrl-C
            self._started.wait()
            self.close()
            raise
        if self._refused is not None:
            raise self._refused
        # A daemon thread stops running when the interpreter exits: calls would never return then.
        atexit.register(self.close)

    def up(
        self,
        profile: Profile,
        environment: Environment,
        is_decided: Callable[[ProfileStatus], bool],
        *,
        seconds: float | None = None,
        anew: HostAnew | None = None,
    ) -> ProfileStatus | None:
        """Start `profile`, and wait until its status `is_decided`, for `seconds` at most; returns
        the last status.

        Programs run in `environment`; for `anew` see `Supervisor.up`. None if this was closed
        meanwhile.
        """
        return self._call(self._up(profile, environment, is_decided, seconds, anew))

    def status(self, name: str) -> ProfileStatus | None:
        """The current status of the profile; None if it was never up, or if this is closed."""

        async def look() -> ProfileStatus | None:
            await self._supervisor.look()
            return self._supervisor.status_of(name)

        return self._call(look())

    def reaches(self, name: str, forward: str, seconds: float) -> bool:
        """Whether the target of a forward can be connected to through its link, within `seconds`.

        One attempt, now; False also if the profile is not up.
        """

        async def ask() -> bool:
            try:
                await self._supervisor.reach(name, forward, seconds)
            except Failure:
                return False
            return True

        return bool(self._call(ask()))

    def down(self, name: str, drain: float) -> None:
        """Close a profile, if it was up; its connections have `drain` seconds to end by
        themselves."""

        async def down() -> None:
            with suppress(Failure):  # it was never up
                await self._supervisor.down(name, drain)

        self._call(down())

    def close(self) -> None:
        """Close everything, reset open connections, and end the thread. Idempotent."""
        atexit.unregister(self.close)
        if not self._thread.is_alive():  # also in a forked child, which has none of our threads
            return
        with self._lock:
            if self._takes_calls:
                self._loop.call_soon_threadsafe(self._stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _call(self, work: Coroutine[Any, Any, T]) -> T | None:
        """The result of `work` in the loop; None if the loop has ended, or ends before it has
        one."""
        future = self._submitted(work)
        if future is None:
            work.close()
            return None
        try:
            return future.result()
        except CancelledError:
            return None

    def _submitted(self, work: Coroutine[Any, Any, T]) -> Future[T] | None:
        # The garbage collector may call this in the loop's own thread, which cannot wait for
        # itself.
        if not self._thread.is_alive() or threading.current_thread() is self._thread:
            return None
        with self._lock:
            if not self._takes_calls:
                return None
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._serve(self._started.set))
            join_delivered()
        except Exception as error:
            if self._started.is_set():
                raise
            self._refused = error
            self._started.set()

    async def _serve(self, started: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._reactor = Reactor(self._loop)
        self._supervisor = Supervisor(self._reactor)
        watches = Watches(self._supervisor)
        forked.leave_to_parent(self._descriptors)
        started()
        try:
            await self._stop.wait()
        finally:
            try:
                await watches.close()
                await self._supervisor.close(_CLOSE_WITHIN)
            finally:
                with self._lock:
                    self._takes_calls = False
                await asyncio.sleep(0)  # the last calls are tasks now, which end with the loop
                forked.forget(self._descriptors)
                self._reactor.close()

    def _descriptors(self) -> Iterable[int]:
        return (*self._reactor.descriptors(), *descriptors_of(self._loop))

    async def _up(
        self,
        profile: Profile,
        environment: Environment,
        is_decided: Callable[[ProfileStatus], bool],
        seconds: float | None,
        anew: HostAnew | None,
    ) -> ProfileStatus | None:
        events = self._supervisor.subscribe()
        try:
            await self._supervisor.up(profile, environment, anew)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while not is_decided(self._status_of(profile.name)):
                        if await anext(events, None) is None:
                            return None
            return self._status_of(profile.name)
        finally:
            events.close()

    def _status_of(self, name: str) -> ProfileStatus:
        status = self._supervisor.status_of(name)
        assert status is not None  # a profile that was up once is known until the end
        return status
