"""Detects that the cause of a refused login is gone: a key, certificate, agent or its keys changed.

Owns a check every other second while a host waits, in a thread, because files may be on a disk that
hangs, and an agent may wait for a person. Must never check while no host waits, and neither sign
nor ask.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Hashable, Sequence

from tunnelctl.errors import Failure
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.ssh.chain import everybody
from tunnelctl.ssh.login.identities import what_is_there
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host.facts import Machine
from tunnelctl.supervisor.logins.refusals import Refusals
from tunnelctl.supervisor.tasks import Tasks

_EVERY = 1.5  # seconds


class LoginWatch:
    """For one tunnel, whose `hosts` may serve: calls `on_change` when a login may succeed now.

    The last result is kept between two waits: a change during a login, possibly too late for that
    login, is noticed after it.
    """

    def __init__(
        self,
        hosts: Callable[[], Sequence[Host]],
        environment: Callable[[], Environment],
        refusals: Refusals,
        tasks: Tasks,
        on_change: Callable[[], None],
    ) -> None:
        self._hosts = hosts
        self._environment = environment
        self._refusals = refusals
        self._tasks = tasks
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None
        self._first: asyncio.Task[None] | None = None  # the result when the login began
        self._seen: Hashable = None  # nothing yet

    def follow(self, machine: Machine) -> None:
        """The machine has a new state: check while a change of credentials could end its wait.

        Also check once when a login begins: a key that was missing then and is back at the first
        check after the failure is a change.
        """
        may_wait = machine.state is HostState.BACKOFF or machine.on_fallback
        waits = (may_wait and machine.is_spaced) or machine.state is HostState.NEEDS_INPUT
        if waits and self._task is None:
            self._task = self._tasks.spawn(self._watch(), "watch keys and the agent")
        elif not waits:
            self._stop()
            if machine.state is HostState.AUTHENTICATING:
                if self._seen is None and self._first is None:
                    self._first = self._tasks.spawn(self._look_first(), "look at keys")
            elif not machine.is_spaced:
                self._forget_seen()

    def forget(self) -> None:
        """The hosts have changed."""
        self._stop()
        self._forget_seen()

    def lift(self) -> None:
        """The next login to the hosts may begin at once."""
        self._refusals.lift(self._hosts(), self._environment())

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _forget_seen(self) -> None:
        if self._first is not None:
            self._first.cancel()
            self._first = None
        self._seen = None

    async def _look_first(self) -> None:
        self._seen = await self._look()

    async def _look(self) -> Hashable:
        look = functools.partial(_look, everybody(self._hosts()), self._environment())
        try:
            return await in_thread(look, "look at keys")
        except Failure:  # no thread is free
            return self._seen

    async def _watch(self) -> None:
        if self._first is not None:
            await asyncio.wait([self._first])
        while True:
            now = await self._look()
            before, self._seen = self._seen, now
            if before not in (None, now):
                self.lift()
                self._on_change()  # which stops the watch, unless the wait continues
            await asyncio.sleep(_EVERY)


def _look(hosts: frozenset[Host], environment: Environment) -> Hashable:
    ordered = sorted(hosts, key=lambda host: host.name)
    return tuple(what_is_there(host, environment) for host in ordered)
