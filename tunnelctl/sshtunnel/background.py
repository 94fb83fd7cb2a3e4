"""A supervisor on a thread of its own, for programs that have no event loop.

Owns that thread, its loop and its reactor. Every method may be called from any thread, also during
or after `close`, and in a forked child; it blocks until it is done. Must never outlive `close`, nor
keep the process alive or delay its exit if `close` is not called.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from tunnelctl.errors import Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.selector import new_event_loop
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.profile import Profile
from tunnelctl.state.snapshot import ForwardState, HostState, ProfileState, ProfileStatus
from tunnelctl.supervisor.supervisor import Supervisor

T = TypeVar("T")

_CLOSE_WITHIN = 10.0  # seconds
_NOT_UP = frozenset({HostState.BACKOFF, HostState.FAILED, HostState.NEEDS_INPUT})


class Background:
    """Starts when it is constructed. `name` is the thread's.

    Raises:
        OSError: the loop cannot get its resources, such as descriptors.
    """

    def __init__(self, name: str) -> None:
        self._started = threading.Event()
        self._refused: Exception | None = None
        self._lock = threading.Lock()
        self._takes_calls = True  # under the lock
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        self._started.wait()
        if self._refused is not None:
            raise self._refused
        # A daemon thread stops running when the interpreter exits: calls would never return then.
        atexit.register(self.close)

    def up(self, profile: Profile, environment: Environment) -> ProfileStatus | None:
        """Start `profile` and wait for the result of its first attempt.

        That is: all of it is up; or one of its hosts has failed, or waits for another attempt; or
        the hosts are up and each forward has been opened or has failed. Parts that are not up then
        have a `last_error`. Each host's `connect_timeout` bounds the wait. Programs run in
        `environment`. None if this was closed meanwhile.
        """
        return self._call(self._up(profile, environment))

    def status(self, name: str) -> ProfileStatus | None:
        """The current status of the profile; None if it was never up, or if this is closed."""

        async def look() -> ProfileStatus | None:
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
        """Close a profile; its connections have `drain` seconds to end by themselves."""

        async def down() -> None:
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
        except Exception as error:
            if self._started.is_set():
                raise
            self._refused = error
            self._started.set()

    async def _serve(self, started: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        reactor = Reactor(self._loop)
        self._supervisor = Supervisor(reactor)
        started()
        try:
            await self._stop.wait()
        finally:
            try:
                await self._supervisor.close(_CLOSE_WITHIN)
            finally:
                with self._lock:
                    self._takes_calls = False
                await asyncio.sleep(0)  # the last calls are tasks now, which end with the loop
                reactor.close()

    async def _up(self, profile: Profile, environment: Environment) -> ProfileStatus | None:
        events = self._supervisor.subscribe()
        try:
            await self._supervisor.up(profile, environment)
            while not _is_decided(status := self._status_of(profile.name)):
                if await anext(events, None) is None:
                    return None
            return status
        finally:
            events.close()

    def _status_of(self, name: str) -> ProfileStatus:
        status = self._supervisor.status_of(name)
        assert status is not None  # a profile that was up once is known until the end
        return status


def _is_decided(status: ProfileStatus) -> bool:
    if status.state is ProfileState.UP or any(host.state in _NOT_UP for host in status.hosts):
        return True
    # A port that is in use is known before its host has answered, and the host's result is needed
    # too.
    hosts_are_up = all(host.state is HostState.UP for host in status.hosts)
    return hosts_are_up and all(f.state is not ForwardState.PENDING for f in status.forwards)
