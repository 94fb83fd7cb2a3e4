"""The orders to a daemon: up, down, release, restart, reload, and the profiles of its start.

Owns the effect of each order: a file that is read, a holder more or less, a place in the
supervisor's queue. Must never change anything that runs before the file was found valid.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from pathlib import Path

from tunnelctl import clock
from tunnelctl.config.profile.find import find_profile
from tunnelctl.config.profile.load import Loaded
from tunnelctl.config.sentences import name_taken
from tunnelctl.daemon import sentences
from tunnelctl.daemon.orders import CheckOrder, ReloadOrder, RestartOrder, UpOrder
from tunnelctl.daemon.wanted.book import Book, finished
from tunnelctl.daemon.wanted.holders import Holders, command
from tunnelctl.daemon.wanted.member import FleetMember
from tunnelctl.daemon.wanted.reading import (
    Order,
    ProfileReading,
    demand_variables,
    identities,
    read_again,
    read_first,
    read_only,
)
from tunnelctl.daemon.wanted.reloading import Reloaded, Reloading, applied
from tunnelctl.daemon.wanted.saving import WantedFile
from tunnelctl.errors import Code, Failure
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.snapshot import ProfileState, ProfileStatus, Wanted
from tunnelctl.state.holders import DETACHED, SERVICE, Holder
from tunnelctl.state.sentences import taken_down_meanwhile
from tunnelctl.supervisor.supervisor import Supervisor
from tunnelctl.supervisor.tasks import Tasks, unexpected

_log = logging.getLogger(__name__)

_SAVED_WITHIN = 2.0  # seconds that an answer waits for the disk
_LOADED_WITHIN = 5.0  # seconds that a starting daemon waits for a file


class Profiles:
    """`environment` and `cwd` are the daemon's own, used until a command sends others."""

    def __init__(
        self,
        supervisor: Supervisor,
        file: WantedFile,
        *,
        environment: Environment,
        cwd: Path,
    ) -> None:
        self._supervisor = supervisor
        self._file = file
        self._cwd = cwd
        self._book = Book(supervisor, file, environment)
        self._reloading = Reloading(supervisor, self._book)
        self._tasks = Tasks("daemon")
        self._not_found: set[str] = set()  # named by the service, without a file
        self.fleet: FleetMember | None = None

    # --- what there is -----------------------------------------------------------------------

    @property
    def holders(self) -> Holders:
        """The holders of the profiles, and the leases of attached commands."""
        return self._book.holders

    @property
    def any_wanted(self) -> bool:
        """Whether any profile is wanted up."""
        return bool(self._book.orders)

    def status(self) -> tuple[ProfileStatus, ...]:
        """Every profile, those that could not be loaded at the end."""
        statuses = self._book.status()
        return statuses if self.fleet is None else self.fleet.completed(statuses)

    def status_of(self, name: str) -> ProfileStatus | None:
        """One profile; None if nobody asked for it."""
        if self.fleet is not None and self.fleet.has(name):
            return next(one for one in self.status() if one.name == name)
        return self._book.status_of(name)

    # --- orders ------------------------------------------------------------------------------

    async def restore(self) -> None:
        """Start the profiles of the last daemon. One that cannot be loaded is shown, and stays
        wanted.

        All of them are wanted before any is loaded, so that nothing is lost if the daemon ends
        meanwhile. A file that does not answer delays neither the others nor the daemon.
        """
        wanted = await in_thread(self._file.read, "wanted profiles")
        self._supervisor.held.restore(self._file.held)
        known = await identities([Path(one.file) for one in wanted])
        now = clock.wall().timestamp()
        for one in wanted:
            left = None if one.until is None else one.until - now
            if left is not None and left <= 0:
                _log.info("%s is not restored: its ttl has expired", one.name)
                continue
            if self.fleet is not None and self.fleet.has(one.name):
                continue  # only the fleet brings it up
            file, variables = Path(one.file), frozenset(one.variables)
            order = Order(one.name, file, known[file], self._book.own, variables)
            self._book.orders[one.name] = order
            self.holders.add(one.name, DETACHED)
            self._book.limits.set(one.name, DETACHED, left)
        self._book.save()
        for name in tuple(self._book.orders):
            loading = self._tasks.spawn(self._load(name), f"load {name}")
            await asyncio.wait({loading}, timeout=_LOADED_WITHIN)

    def restored(self) -> list[dict[str, str | None]]:
        """The profiles that `restore` has started, for the command that started this daemon: each
        `name`, and as `error` the reason if it could not be loaded."""
        errors = self._book.errors
        return [
            {"name": name, "error": str(errors[name]) if name in errors else None}
            for name in self._book.orders
        ]

    async def _load(self, name: str) -> None:
        order = self._book.orders.get(name)
        if order is None:  # its time is over already
            return
        try:
            demand_variables(order)
            await self._reloading.apply(order, await read_again(order))
        except Failure as failure:
            self._book.note_error(name, failure)
        except Exception as error:  # of one file; the others must still start
            self._book.note_error(name, unexpected(error, f"loading {order.file}"))

    async def start(self, names: Iterable[str]) -> None:
        """Start the profiles that a service names. One that cannot be loaded does not affect the
        others: it is shown as failed, or only logged if it has no file, and a reload tries it
        again.

        Raises:
            Failure: the first one's, where nothing at all could be brought up.
        """
        failures = []
        for name in dict.fromkeys(names):
            try:
                await self.up(name, UpOrder(), service=True)
            except Failure as failure:
                failures.append(failure)
                await self._not_started(name, failure)
        if failures and not self._supervisor.status():
            raise failures[0]

    async def _not_started(self, name: str, failure: Failure) -> None:
        _log.error("profile %s is not brought up: %s", name, failure)
        if failure.code is Code.PROFILE_NOT_FOUND:
            self._not_found.add(name)
        elif name not in self._book.orders:
            file = await in_thread(
                lambda: find_profile(name, environ=self._book.own, cwd=self._cwd), f"find {name}"
            )
            known = await identities([file])
            self._book.orders[name] = Order(name, file, known[file], self._book.own)
            self.holders.add(name, SERVICE)
            self._book.note_error(name, failure)

    async def _start_found(self) -> None:
        """Start those named by the service that had no file before."""
        names, self._not_found = self._not_found, set()
        for name in sorted(names):
            try:
                await self.up(name, UpOrder(), service=True)
            except Failure as failure:
                await self._not_started(name, failure)

    async def check(self, order: CheckOrder) -> list[tuple[Path, Loaded]]:
        """Read profiles and change nothing, for a command that is about to bring them up.

        Raises:
            Failure: every mistake of every file.
        """
        environment = order.environment or self._book.own
        return await read_only(order.files, environment)

    async def up(self, name: str, order: UpOrder, *, service: bool = False) -> None:
        """Load a profile from its file and bring it up, even if the caller disconnects meanwhile.

        It is held by the command whose lease comes with the order, else until `down`, also by the
        next daemon unless the order is that of the `service`. A profile of the fleet is offered to
        it instead.

        Raises:
            Failure: PROFILE_NOT_FOUND, CONFIG_INVALID, NAME_TAKEN: nothing that runs was changed;
                NOT_UP: a `down` came meanwhile. USAGE: a command cannot hold a profile of a fleet.
        """
        if self.fleet is not None and self.fleet.has(name):
            if order.lease is not None:
                raise sentences.fleet_holds(name)
            await self.fleet.want(name)
            return
        await self._order_up(name, order, service=service)

    async def bring_up(self, name: str) -> None:
        """Bring up a profile of the fleet that this machine holds. Raises Failure as `up`."""
        await self._order_up(name, UpOrder(), service=True)

    def cut(self, name: str) -> None:
        """Stop serving a profile before this returns: no drain, no notice to the server."""
        self._supervisor.cut(name)
        if name in self._book.orders or self.holders.held(name):
            _, stopping = self._book.drop(name, 0.0)
            self._tasks.spawn(finished(stopping), f"take down {name}")

    async def _order_up(self, name: str, order: UpOrder, *, service: bool) -> None:
        holder = SERVICE if service else DETACHED
        if order.lease is not None:
            holder = command(order.lease)
            if not self.holders.is_open(order.lease):
                raise sentences.lease_ended(name)
        under_way = self.holders.begin_order(name, order.lease)
        await self._tasks.whole(self._up(name, order, holder, under_way), f"up {name}")

    async def _up(self, name: str, order: UpOrder, holder: Holder, under_way: Holder) -> None:
        try:
            known = self.status_of(name)
            environment = self._book.environment_of(name, order.environment)
            file = Path(known.source) if order.file is None and known is not None else order.file
            reading = await read_first(name, file, environment, self._cwd)
            file = Path(reading.loaded.profile.source)
            wanted = Order(name, file, reading.identity, environment)
            applying = self._take(wanted, reading, order, holder, under_way)
        finally:
            self._book.end(name, under_way, 0.0)
        saving = self._book.save()
        if applying is not None:
            await applied(applying)
        await _wait_for(saving)

    def _take(
        self,
        wanted: Order,
        reading: ProfileReading,
        asked: UpOrder,
        holder: Holder,
        under_way: Holder,
    ) -> Awaitable[None] | None:
        """Run a profile as it was read, held by `holder`, in one step. Returns what completes once
        it is applied; None if a later reading was applied already."""
        name, before = wanted.name, self._book.orders.get(wanted.name)
        if under_way not in self.holders.of(name):
            raise taken_down_meanwhile(name)
        is_another = before is not None and before.identity != wanted.identity
        if before is not None and is_another and not asked.replace:
            raise name_taken(name, str(before.file))
        for other in self.holders.of(name) - {under_way} if is_another else ():
            self.holders.end(name, other)
        self.holders.add(name, holder)
        self.holders.end(name, under_way)
        self._book.limits.set(name, holder, asked.ttl)
        if before is not None:
            self._book.tell_holders(name)
            if not is_another and before.reading > reading.number:
                return None
        return self._book.want(wanted, reading)

    async def keep(self, name: str) -> None:
        """Hold a wanted profile until `down`, here and in the next daemon."""
        if name in self._book.orders:
            self.holders.add(name, DETACHED)
            self._book.tell_holders(name)
            await _wait_for(self._book.save())

    async def restart(self, name: str, order: RestartOrder) -> None:
        """Close the links of a profile, or of these hosts of it, and connect again now.

        Raises:
            Failure: PROFILE_NOT_FOUND, NOT_UP, or why it could not be loaded.
        """
        if self._supervisor.status_of(name) is None and name in self._book.errors:
            raise self._book.errors[name]
        self.hear(name, order.environment)
        await self._supervisor.restart(name, order.hosts)

    def hear(self, name: str, environment: Environment | None) -> None:
        """Use the environment of a command for programs that are started for the profile from now
        on.

        No effect if it is None or the profile is not wanted.
        """
        if name in self._book.orders:
            order = self._book.orders[name].heard(self._book.completed(environment))
            self._book.orders[name] = order
            self._supervisor.hear(name, order.environment)

    async def down(self, name: str, drain: float) -> ProfileStatus:
        """Close a profile, whoever holds it; connections have `drain` seconds to end. The next
        daemon does not start it.

        Returns its status afterwards.

        Raises:
            Failure: PROFILE_NOT_FOUND.
        """
        is_in_fleet = self.fleet is not None and self.fleet.has(name)
        if self.fleet is not None and is_in_fleet:
            await self.fleet.unwant(name)
        order, is_held = self._book.orders.get(name), bool(self.holders.held(name))
        saving, stopping = self._book.drop(name, drain)
        try:
            await stopping
        except Failure:  # the supervisor does not know it
            if order is None and not is_held and not is_in_fleet:
                raise
        await _wait_for(saving)
        file = "" if order is None else str(order.file)
        return self.status_of(name) or ProfileStatus(name, file, Wanted.DOWN, ProfileState.STOPPED)

    async def release(self, name: str, lease: str, drain: float) -> ProfileStatus:
        """Release the hold of the command with this lease. If it was the last holder, the profile
        goes down as by `down`. If the profile goes down already, its connections have at most
        `drain` seconds left.

        Returns its status afterwards.

        Raises:
            Failure: PROFILE_NOT_FOUND.
        """
        self._book.let_go(name, lease, drain)
        if not self.holders.held(name):
            return await self.down(name, drain)
        status = self.status_of(name)
        if status is None:  # its first `up` is under way
            raise sentences.profile_not_up(name)
        return status

    def end_lease(self, lease: str) -> None:
        """The command with the lease has ended, and does not wait for connections to end."""
        for name in self.holders.close(lease):
            self._book.let_go(name, lease, 0.0)

    async def reload(self, order: ReloadOrder) -> tuple[Reloaded, ...]:
        """Read the files of wanted profiles again; apply the changes unless it is a dry run.

        Raises:
            Failure: PROFILE_NOT_FOUND or NOT_UP for a name that is not wanted; CONFIG_INVALID with
                the mistakes of all files. Nothing was changed then.
        """
        if not order.names and not order.dry_run:
            await self._start_found()
        if self.fleet is not None and not order.dry_run:
            await self.fleet.reread()
            elsewhere = [name for name in order.names if self._runs_elsewhere(name)]
            if elsewhere and len(elsewhere) == len(order.names):
                return ()
            order = order.without(elsewhere)
        return await self._tasks.whole(self._reloading.reload(order), "reload")

    async def files_changed(self) -> bool:
        """Whether a file of a wanted profile has changed since it was last read."""
        if self.fleet is not None and await self.fleet.files_changed():
            return True
        return await self._reloading.files_changed()

    def _runs_elsewhere(self, name: str) -> bool:
        """Whether it is a profile of the fleet that does not run here."""
        return self.fleet is not None and self.fleet.has(name) and name not in self._book.orders

    async def close(self, seconds: float) -> None:
        """Cancel the tasks of requests and save the list, for at most `seconds`."""
        self._tasks.cancel()
        await self._tasks.settle()
        await self._book.close(seconds)


async def _wait_for(saving: asyncio.Task[None]) -> None:
    """Wait until it is on disk, but no longer than a person waits, because the disk may hang."""
    await asyncio.wait({saving}, timeout=_SAVED_WITHIN)
