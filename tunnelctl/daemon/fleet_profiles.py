"""The profiles of a fleet in this daemon: brought up and cut as the elections say.

Owns which profiles belong to the fleet, the digests of their files, and what status says about
them. Must never bring one up that this machine does not hold.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tunnelctl import clock
from tunnelctl.config.yaml.checked_file import Unreadable, read_profile_file
from tunnelctl.daemon.wanted.profiles import Profiles
from tunnelctl.daemon.wanted.reading import in_one_line, read_first
from tunnelctl.errors import Code, Failure
from tunnelctl.fleet.document import fleet_document
from tunnelctl.fleet.file import FleetSettings
from tunnelctl.fleet.holder import LeaseHolder
from tunnelctl.fleet.members import members
from tunnelctl.home.secrets import resolve_secret
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.threads import in_thread
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.fleet_status import FleetStatus, Role
from tunnelctl.state.documents.snapshot import ErrorStatus, ProfileState, ProfileStatus, Wanted
from tunnelctl.state.election import MARGIN
from tunnelctl.state.holders import Held
from tunnelctl.supervisor.supervisor import Supervisor
from tunnelctl.supervisor.tasks import Tasks

_log = logging.getLogger("tunnelctl")

# The watchdog ends a process that is stuck before the margin of its lease is over.
_WATCHDOG_PART = 0.8
_MEMBERS_WITHIN = 2.0  # seconds
_HELD = Held(service=True)
# The port of a datagram socket that sends nothing: connecting it chooses our address.
_ANY_PORT = 9


@dataclass(slots=True)
class _Known:
    """A profile of the fleet: its file, and the digest of what the file contains."""

    source: str = ""
    files: tuple[str, ...] = ()
    digest: str | None = None
    failure: Failure | None = None
    since: str = ""


class Fleet:
    """This machine in its fleet. `environment` and `cwd` are the daemon's own."""

    def __init__(
        self,
        settings: FleetSettings,
        names: Sequence[str],
        supervisor: Supervisor,
        profiles: Profiles,
        reactor: Reactor,
        environment: Environment,
        cwd: Path,
    ) -> None:
        self._settings = settings
        self._known = {name: _Known() for name in names}
        self._supervisor = supervisor
        self._profiles = profiles
        self._reactor = reactor
        self._environment = environment
        self._cwd = cwd
        self._tasks = Tasks("fleet")
        self._holder: LeaseHolder | None = None

    @property
    def watchdog(self) -> float:
        """The seconds after which a service manager has to end a process that is stuck."""
        return self._settings.lease * MARGIN * _WATCHDOG_PART

    async def join(self) -> None:
        """Become a candidate for every profile whose file can be used.

        Raises:
            Failure: the first one's, where none can be used.
        """
        self._supervisor.join_fleet(self._known, self._status, evicts=self._settings.evict)
        endpoints = self._settings.etcd.endpoints
        address = await in_thread(lambda: _own_address(endpoints), "this machine's address")
        self._holder = LeaseHolder(
            self._settings,
            lambda reference: resolve_secret(reference, self._environment),
            self._reactor,
            self,
            address,
        )
        for name in self._known:
            await self._read(name)
            self._offer(name)
        failures = [known.failure for known in self._known.values()]
        if all(failures) and failures[0] is not None:
            raise failures[0]
        self._holder.start()

    def cut(self, profile: str) -> None:
        """See fleet.holder.Owner."""
        self._profiles.cut(profile)

    def serve(self, profile: str) -> None:
        """See fleet.holder.Owner."""
        self._tasks.spawn(self._bring_up(profile), f"bring up {profile}")

    def changed(self, profile: str) -> None:
        """See fleet.holder.Owner."""
        status = self._status(profile)
        if status is None or self._holder is None:
            return
        self._known[profile].since = clock.rfc3339(clock.wall())
        failure = self._holder.failure(profile)
        state = ProfileState.STANDBY
        if status.role is not Role.STANDBY:
            running = self._supervisor.status_of(profile)
            runs = running is not None and running.wanted is Wanted.UP
            state = running.state if running is not None and runs else ProfileState.STARTING
        told = str(status) if status.role is Role.STANDBY else f"{status}, token {status.token}"
        self._supervisor.remark(profile, state, told, failure)

    def cut_all(self) -> None:
        """The daemon ends: nothing is served from now on."""
        if self._holder is not None:
            self._holder.cut_all()

    async def close(self) -> None:
        """Give every profile up, and leave the fleet."""
        self._tasks.cancel()
        await self._tasks.settle()
        if self._holder is not None:
            await self._holder.close()

    # --- orders: see daemon.wanted.member ----------------------------------------------------

    def has(self, profile: str) -> bool:
        """Whether it belongs to the fleet."""
        return profile in self._known

    async def want(self, profile: str) -> None:
        """A person asks for it here: this machine's file counts."""
        await self._read(profile)
        if failure := self._known[profile].failure:
            raise failure
        self._offer(profile, counts=True)

    async def unwant(self, profile: str) -> None:
        """Give it up."""
        self._known[profile].failure = None
        if self._holder is not None:
            self._holder.unwant(profile)

    async def reread(self) -> None:
        """Offer each profile with the digest that its file has now. One whose file cannot be used
        now keeps the old one: what runs goes on."""
        for name, known in self._known.items():
            was_able = known.digest is not None
            if was_able and self._status(name) is None:
                continue  # taken down
            await self._read(name)
            if known.failure is None:
                self._offer(name)
            elif was_able:
                known.failure = None

    async def files_changed(self) -> bool:
        """Also of profiles that another machine holds."""
        known = [one for one in self._known.values() if one.digest is not None]
        return await in_thread(
            lambda: any(_digest(one.files) != one.digest for one in known), "look at files"
        )

    async def hand_over(self, profile: str) -> str:
        """Give it up for another machine."""
        assert self._holder is not None
        return await self._holder.hand_over(profile)

    async def document(self) -> dict[str, Any]:
        """The whole fleet, as this machine sees it."""
        assert self._holder is not None
        found = await members(self._holder.etcd, _MEMBERS_WITHIN)
        return fleet_document(self._holder, found).as_json()

    def completed(self, statuses: Iterable[ProfileStatus]) -> tuple[ProfileStatus, ...]:
        """All profiles, with what the fleet says about them."""
        found = {status.name: status for status in statuses}
        for name in self._known:
            found[name] = self._completed(name, found.get(name))
        return tuple(found.values())

    # --- files -------------------------------------------------------------------------------

    async def _read(self, name: str) -> None:
        known = self._known[name]
        try:
            reading = await read_first(name, None, self._environment, self._cwd)
            known.source = reading.loaded.profile.source
            known.files = tuple(sorted(reading.loaded.files))
            known.digest = await in_thread(lambda: _digest(known.files), f"digest of {name}")
            known.failure = None
        except Failure as failure:
            known.failure = in_one_line(name, failure)
            _log.error("profile %s is not brought up: %s", name, known.failure)

    def _offer(self, name: str, *, counts: bool = False) -> None:
        digest = self._known[name].digest
        if digest is not None and self._holder is not None:
            self._holder.want(name, digest, counts=counts)

    async def _bring_up(self, name: str) -> None:
        try:
            await self._profiles.bring_up(name)
        except Failure as failure:
            if failure.code is Code.NOT_UP:
                return  # it was cut meanwhile
            _log.error("profile %s is given up: %s", name, failure)
            self._known[name].failure = in_one_line(name, failure)
            self._known[name].digest = None
            assert self._holder is not None
            self._holder.unwant(name)

    # --- status ------------------------------------------------------------------------------

    def _status(self, name: str) -> FleetStatus | None:
        return None if self._holder is None else self._holder.status(name)

    def _completed(self, name: str, running: ProfileStatus | None) -> ProfileStatus:
        known, fleet = self._known[name], self._status(name)
        if fleet is None or self._holder is None:
            if known.failure is not None:
                return _alone(name, known, ProfileState.FAILED, known.failure)
            stopped = ProfileStatus(name, known.source, Wanted.DOWN, ProfileState.STOPPED)
            return stopped if running is None else running
        failure = self._holder.failure(name)
        is_standby = fleet.role is Role.STANDBY
        state = ProfileState.STANDBY if is_standby else ProfileState.STARTING
        if running is None or (is_standby and running.state is not ProfileState.STOPPING):
            return replace(_alone(name, known, state, failure), fleet=fleet)
        error = running.last_error if failure is None else ErrorStatus(**failure.as_dict())
        return replace(running, wanted=Wanted.UP, holders=_HELD, fleet=fleet, last_error=error)


def _alone(name: str, known: _Known, state: ProfileState, failure: Failure | None) -> ProfileStatus:
    """A profile that does not run on this machine."""
    error = None if failure is None else ErrorStatus(**failure.as_dict())
    return ProfileStatus(
        name,
        known.source,
        Wanted.UP,
        state,
        since=known.since or None,
        last_error=error,
        holders=_HELD,
    )


def _digest(files: Sequence[str]) -> str:
    """Of the contents of the files of a profile, wherever they are. Blocking."""
    parts = []
    for file in files:
        with contextlib.suppress(Unreadable):  # removed meanwhile
            parts.append(hashlib.sha256(read_profile_file(Path(file))).hexdigest())
    return hashlib.sha256(" ".join(sorted(parts)).encode()).hexdigest()[:32]


def _own_address(endpoints: Sequence[str]) -> str:
    """The address of this machine toward etcd, for people; empty if it is not known. Blocking."""
    host = urlsplit(endpoints[0]).hostname or ""
    with contextlib.suppress(OSError):
        family, kind, _, _, address = socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as sock:
            sock.connect(address)
            return str(sock.getsockname()[0])
    return ""
