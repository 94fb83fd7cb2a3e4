"""The profiles that this daemon was asked for: from their files to the supervisor, and anew.

Owns what is wanted and why, apart from how it fares: the file and the variables of each profile,
who holds it up, and what is wrong with a file that cannot be loaded. Must never change anything
that runs before every file that takes part was found good.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tunnelctl.config.mistakes import Mistake, ProfileInvalid
from tunnelctl.config.secrets import CREDENTIALS_VARIABLE
from tunnelctl.daemon.leases import Leases
from tunnelctl.daemon.orders import ReloadOrder, RestartOrder, UpOrder
from tunnelctl.daemon.reading import (
    Order,
    Reading,
    demand_variables,
    in_one_line,
    read_again,
    read_first,
    take_stamps,
)
from tunnelctl.daemon.wanted import WantedFile, WantedProfile
from tunnelctl.errors import Code, Failure
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.environment import Environment
from tunnelctl.state.plan import Plan
from tunnelctl.state.snapshot import ErrorStatus, ProfileState, ProfileStatus, Wanted
from tunnelctl.supervisor.supervisor import Supervisor
from tunnelctl.supervisor.tasks import Tasks

_log = logging.getLogger(__name__)

# sd_notify(3), sd_listen_fds(3): meant for the daemon, not for what it starts.
_OF_THE_MANAGER = (
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
)
_SAVED_WITHIN = 2.0  # seconds that an answer waits for the disk


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a reload changes in one profile; None for one that did not run: all of it."""

    name: str
    plan: Plan | None

    def as_json(self) -> dict[str, Any]:
        """One element of the answer to `reload`."""
        return {"name": self.name, "starts": self.plan is None, "changes": list(self._changes())}

    def _changes(self) -> Iterator[dict[str, str]]:
        if self.plan is None:
            return
        for kind, changes in (("host", self.plan.hosts), ("forward", self.plan.forwards)):
            for action in ("removed", "replaced", "retuned", "added"):
                for part in getattr(changes, action):
                    yield {"kind": kind, "name": part.name, "action": action}


class Profiles:
    """`environment` and `cwd` are the daemon's own, for what no command has sent its own for."""

    def __init__(
        self,
        supervisor: Supervisor,
        file: WantedFile,
        *,
        environment: Environment,
        cwd: Path,
    ) -> None:
        self.leases = Leases()
        self._supervisor = supervisor
        self._file = file
        self._own = environment.without(*_OF_THE_MANAGER)
        self._cwd = cwd
        self._orders: dict[str, Order] = {}  # of every profile that is wanted up
        self._errors: dict[str, Failure] = {}  # why a file is not what runs
        self._reloading = asyncio.Lock()
        self._tasks = Tasks("daemon")

    # --- what there is -----------------------------------------------------------------------

    @property
    def any_wanted(self) -> bool:
        """Whether some profile is to be up."""
        return bool(self._orders)

    def status(self) -> tuple[ProfileStatus, ...]:
        """Every profile, those that could not be loaded at the end."""
        running = {status.name: status for status in self._supervisor.status()}
        missing = {name: self._not_loaded(name) for name in self._orders if name not in running}
        return tuple(self._with_error(status) for status in (running | missing).values())

    def status_of(self, name: str) -> ProfileStatus | None:
        """One profile; None when nobody asked for it."""
        status = self._supervisor.status_of(name)
        if status is None and name in self._orders:
            status = self._not_loaded(name)
        return None if status is None else self._with_error(status)

    def _not_loaded(self, name: str) -> ProfileStatus:
        return ProfileStatus(name, str(self._orders[name].file), Wanted.UP, ProfileState.FAILED)

    def _with_error(self, status: ProfileStatus) -> ProfileStatus:
        failure = self._errors.get(status.name)
        return (
            status
            if failure is None
            else replace(status, last_error=ErrorStatus(**failure.as_dict()))
        )

    # --- orders ------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Have up what the last daemon had; what cannot be loaded is shown as failed."""
        for wanted in await in_thread(self._file.read, "wanted profiles"):
            order = Order(wanted.name, Path(wanted.file), self._own, frozenset(wanted.variables))
            self._orders[wanted.name] = order
            try:
                demand_variables(order)
                await self._apply(order, await read_again(order))
            except Failure as failure:
                self._note_error(wanted.name, failure)

    async def up(self, name: str, order: UpOrder, *, keep: bool = True) -> None:
        """Load a profile from its file and have it up, even when who asked has gone meanwhile.

        `keep`: the next daemon has it too, unless the order comes with a lease.

        Raises:
            Failure: PROFILE_NOT_FOUND, CONFIG_INVALID; nothing that runs was changed.
        """
        await self._tasks.whole(self._up(name, order, keep), f"up {name}")

    async def _up(self, name: str, order: UpOrder, keep: bool) -> None:
        known = self.status_of(name)
        environment = self._environment(name, order.environment)
        file = Path(known.source) if order.file is None and known is not None else order.file
        reading = await read_first(name, file, environment, self._cwd)
        profile = reading.loaded.profile
        known, before = self.status_of(name), self._orders.get(name)
        is_fresh = known is None or known.wanted is not Wanted.UP
        is_kept = (keep and order.lease is None) or (before is not None and before.is_kept)
        file, given = Path(profile.source), reading.given(environment)
        self._orders[name] = Order(name, file, environment, given, is_kept, reading.stamps)
        self._note_error(name, None)
        saving = self._save()
        await self._supervisor.up(profile, environment, reading.loaded.anew)
        if order.lease is None:
            self.leases.keep(name)
        elif not self.leases.is_open(order.lease):
            if is_fresh:  # its command was killed meanwhile
                self._take_down((name,))
        elif is_fresh:
            self.leases.hold(order.lease, name)
        await _wait_for(saving)

    async def keep(self, name: str) -> None:
        """No command holds the profile up any more: it stays, here and in the next daemon."""
        self.leases.keep(name)
        if name in self._orders:
            self._orders[name] = replace(self._orders[name], is_kept=True)
            await _wait_for(self._save())

    async def restart(self, name: str, order: RestartOrder) -> None:
        """Drop the links of a profile, or of these hosts of it, and connect anew, now.

        Raises:
            Failure: PROFILE_NOT_FOUND, NOT_UP, or why it could not be loaded.
        """
        if self._supervisor.status_of(name) is None and name in self._errors:
            raise self._errors[name]
        self.hear(name, order.environment)
        await self._supervisor.restart(name, order.hosts)

    def hear(self, name: str, environment: Environment | None) -> None:
        """A command spoke of a profile: what is started for it from now on is in that environment.

        None changes nothing; nor does a profile that is not wanted.
        """
        if name in self._orders:
            order = self._orders[name] = self._orders[name].heard(self._completed(environment))
            self._supervisor.hear(name, order.environment)

    async def down(self, name: str, drain: float) -> ProfileStatus:
        """Close a profile; connections have `drain` seconds. The next daemon will not have it.

        Returns how it is then.

        Raises:
            Failure: PROFILE_NOT_FOUND.
        """
        self.leases.keep(name)
        self._errors.pop(name, None)
        order = self._orders.pop(name, None)
        saving = self._save()
        if order is None or self._supervisor.status_of(name) is not None:
            await self._supervisor.down(name, drain)
        await _wait_for(saving)
        status = self.status_of(name)
        if status is not None or order is None:
            assert status is not None  # `down` has raised for one that nobody knows
            return status
        return ProfileStatus(name, str(order.file), Wanted.DOWN, ProfileState.STOPPED)

    def end_lease(self, lease: str) -> None:
        """The command that came with the lease has ended: take down what it held."""
        self._take_down(self.leases.close(lease))

    def _take_down(self, names: Iterable[str]) -> None:
        """At once, for nobody waits for its connections."""
        for name in names:
            _log.info("the command that brought up %s has ended: taking it down", name)
            self._tasks.spawn(self._down_now(name), f"take down {name}")

    async def _down_now(self, name: str) -> None:
        await self.down(name, 0.0)

    async def reload(self, order: ReloadOrder) -> tuple[Reloaded, ...]:
        """Read the files of wanted profiles again; apply what differs unless it is a dry run.

        Raises:
            Failure: PROFILE_NOT_FOUND for a name that is not wanted; CONFIG_INVALID with the
                mistakes of all files. Then nothing was changed.
        """
        return await self._tasks.whole(self._reload(order), "reload")

    async def _reload(self, order: ReloadOrder) -> tuple[Reloaded, ...]:
        async with self._reloading:
            for name in order.names:
                if name not in self._orders:
                    raise Failure(
                        Code.PROFILE_NOT_FOUND,
                        f"profile {name} is not up",
                        f"tunnelctl up {name} -d",
                    )
            readings = await self._read_all(order)
            done = tuple(
                Reloaded(name, self._supervisor.plan(reading.loaded.profile))
                for name, reading in readings.items()
            )
            for name, reading in () if order.dry_run else readings.items():
                if name in self._orders:  # not taken down meanwhile
                    heard = self._orders[name].heard(self._completed(order.environment))
                    await self._apply(heard, reading)
            return done

    async def files_changed(self) -> bool:
        """Whether a file of a wanted profile is another than when it was read last."""
        return any(
            [order.stamps != await take_stamps(order) for order in tuple(self._orders.values())]
        )

    async def close(self, seconds: float) -> None:
        """End what goes on behind the requests."""
        self._tasks.cancel()
        await self._tasks.settle()
        await self._file.close(seconds)

    # --- how ---------------------------------------------------------------------------------

    def _environment(self, name: str, sent: Environment | None) -> Environment:
        """That of the command; else what is known of the profile, and else the daemon's own."""
        if sent is None:
            known = self._orders.get(name)
            return self._own if known is None else known.environment
        completed = self._completed(sent)
        assert completed is not None
        return completed

    def _completed(self, sent: Environment | None) -> Environment | None:
        """With what only a service manager gives, and to the daemon alone."""
        folder = self._own.get(CREDENTIALS_VARIABLE)
        if sent is None or folder is None:
            return sent
        return Environment({CREDENTIALS_VARIABLE: folder, **sent})

    async def _read_all(self, order: ReloadOrder) -> dict[str, Reading]:
        """Every file that takes part. Unless it is a dry run, status then shows what was found.

        Raises:
            Failure: as `reload`.
        """
        readings: dict[str, Reading] = {}
        invalid: dict[str, ProfileInvalid] = {}
        environment = self._completed(order.environment)
        for name in order.names or tuple(self._orders):
            wanted = self._orders[name].heard(environment)
            try:
                if self._supervisor.status_of(name) is None:
                    demand_variables(wanted)
                readings[name] = await read_again(wanted)
            except ProfileInvalid as failure:
                invalid[name] = failure
            except Failure:
                if order.names:
                    raise
                continue  # it waits for its variables, which no file can give it
            if not order.dry_run:
                await self._note_reading(wanted, invalid.get(name))
        if invalid:
            mistakes: list[Mistake] = [m for failure in invalid.values() for m in failure.mistakes]
            more = sum(failure.more for failure in invalid.values())
            raise ProfileInvalid(", ".join(invalid), mistakes, more)
        return readings

    async def _note_reading(self, order: Order, failure: ProfileInvalid | None) -> None:
        stamps = await take_stamps(order) if failure is not None else order.stamps
        if order.name in self._orders:  # not taken down meanwhile
            self._orders[order.name] = replace(self._orders[order.name], stamps=stamps)
            self._note_error(order.name, failure)

    async def _apply(self, order: Order, reading: Reading) -> None:
        name, profile = order.name, reading.loaded.profile
        given = reading.given(order.environment)
        self._orders[name] = replace(order, variables=given, stamps=reading.stamps)
        self._note_error(name, None)
        self._save()
        if self._supervisor.status_of(name) is None:
            await self._supervisor.up(profile, order.environment, reading.loaded.anew)
        else:
            await self._supervisor.change(profile, order.environment, reading.loaded.anew)

    def _note_error(self, name: str, failure: Failure | None) -> None:
        before = self._errors.pop(name, None)
        if failure is not None:
            shown = self._errors[name] = in_one_line(name, failure)
            self._remark(name, str(shown), shown)
        elif before is not None:
            self._remark(name, "its file can be used again", None)

    def _remark(self, name: str, message: str, failure: Failure | None) -> None:
        status = self.status_of(name)
        if status is not None:
            self._supervisor.remark(name, status.state, message, failure)

    def _save(self) -> asyncio.Task[None]:
        return self._file.save(
            WantedProfile(name, str(order.file), tuple(sorted(order.variables)))
            for name, order in self._orders.items()
            if order.is_kept
        )


async def _wait_for(saving: asyncio.Task[None]) -> None:
    """Until it is on disk, but no longer than a person waits; the disk may hang."""
    await asyncio.wait({saving}, timeout=_SAVED_WITHIN)
