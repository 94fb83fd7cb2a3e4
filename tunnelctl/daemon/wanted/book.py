"""The wanted profiles: how each is loaded, who holds it up, and the error of its file.

Owns these. They change in one step with the supervisor's queue, without an await in between, so
that the last order is the last in both. Saves the list for the next daemon. Must never read a
profile's file.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace

from tunnelctl import clock
from tunnelctl.daemon import sentences
from tunnelctl.daemon.wanted.holders import Holders
from tunnelctl.daemon.wanted.limits import Limits
from tunnelctl.daemon.wanted.reading import Order, ProfileReading, in_one_line
from tunnelctl.daemon.wanted.saved import WantedProfile
from tunnelctl.daemon.wanted.saving import WantedFile
from tunnelctl.errors import Failure
from tunnelctl.home.secrets import CREDENTIALS_VARIABLE
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.snapshot import ErrorStatus, ProfileState, ProfileStatus, Wanted
from tunnelctl.state.holders import DETACHED, Held, Holder
from tunnelctl.state.sentences import time_is_up
from tunnelctl.supervisor.supervisor import Supervisor
from tunnelctl.supervisor.tasks import Tasks

_log = logging.getLogger(__name__)

# sd_notify(3), sd_listen_fds(3): for the daemon, not for the programs that it starts.
_OF_THE_MANAGER = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)


class Book:
    """`environment` is the daemon's own, used until a command sends another."""

    def __init__(self, supervisor: Supervisor, file: WantedFile, environment: Environment) -> None:
        self.holders = Holders()
        self.orders: dict[str, Order] = {}  # of every profile that is wanted up
        self.errors: dict[str, Failure] = {}  # why the file differs from what runs
        self.limits = Limits(self._time_is_up)
        self.own = environment.without(*_OF_THE_MANAGER)
        self._told: dict[str, Held] = {}  # the holders as last reported in an event
        self._supervisor = supervisor
        self._file = file
        self._tasks = Tasks("daemon")
        supervisor.held.on_change = self.save

    # --- what there is -----------------------------------------------------------------------

    def status(self) -> tuple[ProfileStatus, ...]:
        """Every profile, those that could not be loaded at the end."""
        running = {status.name: status for status in self._supervisor.status()}
        missing = {name: self._not_loaded(name) for name in self.orders if name not in running}
        return tuple(self._completed_status(one) for one in (running | missing).values())

    def status_of(self, name: str) -> ProfileStatus | None:
        """One profile; None if nobody asked for it."""
        status = self._supervisor.status_of(name)
        if status is None and name in self.orders:
            status = self._not_loaded(name)
        return None if status is None else self._completed_status(status)

    def _not_loaded(self, name: str) -> ProfileStatus:
        state = ProfileState.FAILED if name in self.errors else ProfileState.STARTING
        return ProfileStatus(name, str(self.orders[name].file), Wanted.UP, state)

    def _completed_status(self, status: ProfileStatus) -> ProfileStatus:
        """With the fields that only this class knows. A profile that still stops may be wanted
        again."""
        failure = self.errors.get(status.name)
        return replace(
            status,
            wanted=Wanted.UP if status.name in self.orders else Wanted.DOWN,
            last_error=None if failure is None else ErrorStatus(**failure.as_dict()),
            holders=self.holders.held(status.name),
        )

    def environment_of(self, name: str, sent: Environment | None) -> Environment:
        """That of the command; else the one stored for the profile, else the daemon's own."""
        if sent is None:
            known = self.orders.get(name)
            return self.own if known is None else known.environment
        completed = self.completed(sent)
        assert completed is not None
        return completed

    def completed(self, sent: Environment | None) -> Environment | None:
        """With the variables that only a service manager sets, and only for the daemon."""
        folder = self.own.get(CREDENTIALS_VARIABLE)
        if sent is None or folder is None:
            return sent
        return Environment({CREDENTIALS_VARIABLE: folder, **sent})

    # --- what is wanted ----------------------------------------------------------------------

    def want(self, order: Order, reading: ProfileReading) -> Awaitable[None]:
        """Run a profile as it was read. The result completes once that is applied.

        Raises (when waited for):
            Failure: daemon-not-running when the supervisor is closing.
        """
        self.orders[order.name] = replace(
            order,
            identity=reading.identity,  # a link may point to another file now
            variables=reading.given(order.environment),
            stamps=reading.stamps,
            reading=reading.number,
        )
        self.note_error(order.name, None)
        profile, anew = reading.loaded.profile, reading.loaded.anew
        return self._supervisor.up(profile, order.environment, anew)

    def _time_is_up(self, name: str, holder: Holder) -> None:
        if holder in self.holders.of(name):
            self._remark(name, time_is_up(), None)
            self.end(name, holder, 0.0)

    def end(self, name: str, holder: Holder, drain: float) -> None:
        """Remove a holder from a profile; without holders it goes down."""
        self._ended(name, drain, is_last=self.holders.end(name, holder))

    def let_go(self, name: str, lease: str, drain: float) -> None:
        """A command releases a profile; without holders it goes down."""
        self._ended(name, drain, is_last=self.holders.let_go(name, lease))

    def _ended(self, name: str, drain: float, *, is_last: bool) -> None:
        if is_last and name in self.orders:  # otherwise it was not wanted yet
            _log.info("%s has no holder left: taking it down", name)
            _, stopping = self.drop(name, drain)
            self._tasks.spawn(finished(stopping), f"take down {name}")
        else:
            self.tell_holders(name)

    def drop(self, name: str, drain: float) -> tuple[asyncio.Task[None], Awaitable[None]]:
        """It is not wanted any more. Returns the task that saves this, and the stop of the
        profile."""
        for holder in self.holders.clear(name):
            self.limits.set(name, holder, None)
        for kept in (self.errors, self._told, self.orders):
            kept.pop(name, None)
        return self.save(), self._supervisor.down(name, drain)

    def note_error(self, name: str, failure: Failure | None) -> None:
        before = self.errors.pop(name, None)
        if failure is not None:
            shown = self.errors[name] = in_one_line(name, failure)
            self._remark(name, str(shown), shown)
        elif before is not None:
            self._remark(name, sentences.file_usable_again(), None)

    def _remark(self, name: str, message: str, failure: Failure | None) -> None:
        status = self.status_of(name)
        if status is not None:
            self._supervisor.remark(name, status.state, message, failure)

    def tell_holders(self, name: str) -> None:
        """Report the holders of a wanted profile: the note of `up` about Ctrl-C depends on them."""
        if name in self.orders:
            held = self.holders.held(name)
            if self._told.get(name, held) != held:
                self._remark(name, sentences.held_by(str(held)), None)
            self._told[name] = held

    def save(self) -> asyncio.Task[None]:
        wanted = (
            WantedProfile(name, str(order.file), tuple(sorted(order.variables)), self._until(name))
            for name, order in self.orders.items()
            if DETACHED in self.holders.of(name)
        )
        return self._file.save(wanted, self._supervisor.held)

    def _until(self, name: str) -> int | None:
        left = self.limits.left(name, DETACHED)
        return None if left is None else round(clock.wall().timestamp() + left)

    async def close(self, seconds: float) -> None:
        """Stop all timers and tasks; wait for the file to be saved, for at most `seconds`."""
        self.limits.close()
        self._tasks.cancel()
        await self._tasks.settle()
        await self._file.close(seconds)


async def finished(stopping: Awaitable[None]) -> None:
    """Wait for the stop of a profile."""
    with suppress(Failure):  # it could not be loaded, so nothing has to be stopped
        await stopping
