"""This machine in its fleet: the lease, the elections of its profiles, and the deadline.

Owns the conversation between the elections (`state/election.py`), which decide, and the store. The
watch of etcd is a doorbell: it makes this machine look earlier, and what counts is what a
transaction sees. Must never serve past the deadline: the reactor asks for it first in every turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Coroutine
from typing import Any

from tunnelctl import __version__, clock
from tunnelctl.errors import Failure
from tunnelctl.fleet import sentences
from tunnelctl.fleet.elections import Elections, Owner
from tunnelctl.fleet.etcd import Etcd, EtcdError, NoLease
from tunnelctl.fleet.file import FleetSettings
from tunnelctl.fleet.joining import Joining
from tunnelctl.fleet.lease import Lease
from tunnelctl.fleet.records import (
    FleetView,
    Keys,
    RegisteredMachine,
    encoded,
    holding_value,
    last_value,
    range_end,
)
from tunnelctl.net.reactor import Reactor
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.secret import ResolveSecret
from tunnelctl.state import candidates
from tunnelctl.state.documents.fleet_status import FleetStatus, Role, Store
from tunnelctl.state.election import (
    ElectionState,
    Event,
    Free,
    Granted,
    HandOver,
    Look,
    Refused,
    Release,
    Renewed,
    StoreSilent,
    Take,
    UnwantedHere,
    WantedHere,
    renewed_every,
)

_log = logging.getLogger("tunnelctl")

# Of a lease, until a failed renewal is tried again: soon while a deadline comes nearer.
_AGAIN_PART, _SOON_PART = 1 / 15, 1 / 50
_LEAST_PAUSE = 0.05  # seconds between two looks
_TAKES = 16  # transactions at the same time
_REPORT_EVERY = 60.0  # seconds between two reports of the round trip
_REVOKE_WITHIN = 1.0
_HANDED_OVER_WITHIN = 10.0
_ROLES = {ElectionState.HOLDING: Role.HOLDER, ElectionState.ALONE: Role.ALONE}


@dataclass(frozen=True, slots=True)
class _Told:
    """The last report about a profile."""

    status: FleetStatus
    failure: str


class LeaseHolder:
    """One for a daemon. `address` is that of this machine, for the others to see."""

    def __init__(
        self,
        settings: FleetSettings,
        resolve: ResolveSecret,
        reactor: Reactor,
        owner: Owner,
        address: str,
    ) -> None:
        self.settings = settings
        self.view = FleetView(0)
        self.trouble: Failure | None = None  # why the store is lost
        self.complaint: Failure | None = None  # what it refuses although it answers
        self._keys = Keys(settings.fleet)
        self._prefix = self._keys.prefix
        self.etcd = Etcd(settings.etcd, resolve, self._prefix)
        self.lease = Lease(self.etcd, self._keys, settings.lease)
        self._address = address
        self._owner = owner
        self._elections = Elections(settings, reactor, owner, self._request, self._tell)
        self._joining = Joining(settings.machine, settings.lease)
        self._digests: dict[str, str] = {}
        self._told: dict[str, _Told] = {}
        self._reported = -_REPORT_EVERY
        self._round_trip_ms: float | None = None
        self._bell = asyncio.Event()
        self._news = asyncio.Event()
        self._looks_at = 0.0
        self._taking = asyncio.Semaphore(_TAKES)
        self._tasks: set[asyncio.Task[None]] = set()
        self._releases: set[asyncio.Task[None]] = set()

    # --- orders of the daemon ----------------------------------------------------------------

    def start(self) -> None:
        """Begin to renew the lease."""
        self._spawn(self._renew_for_ever(), "renew the lease")
        self._spawn(self._listen_for_ever(), "watch the fleet")

    def want(self, profile: str, digest: str, *, counts: bool = False) -> None:
        """Make this machine a candidate for a profile whose file has this digest. `counts`: a
        person says that this file is the right one."""
        self._elections.add(profile)
        changed = self._digests.get(profile) != digest
        self._digests[profile] = digest
        last = self.view.last.get(profile)
        if counts and (last is None or last.digest != digest):
            value = last_value(self.settings.machine, digest)
            self._spawn(self._send(self.lease.count_file(profile, value)), "count a file")
        if self._elections[profile].serves and changed:
            self._spawn(self._send(self._publish(profile)), "publish a digest")
        self._elections.handle(profile, WantedHere())
        self._ring()

    def unwant(self, profile: str) -> None:
        """This machine is no candidate any more, and gives the profile up if it holds it."""
        self._digests.pop(profile, None)
        if self._elections.get(profile) is not None:
            self._elections.handle(profile, UnwantedHere())
            self._ring()

    async def hand_over(self, profile: str) -> str:
        """Give a profile up for another machine to take, whose name is returned.

        Raises:
            Failure: profile-not-found, not-up where nothing was done; not-ready if nobody took it.
        """
        election = self._elections.get(profile)
        if election is None:
            raise sentences.not_in_fleet(profile)
        if not election.serves:
            raise sentences.not_holder(profile, election.holder)
        if not self.candidates(profile, but=self.settings.machine):
            raise sentences.nobody_to_take(profile)
        self._elections.handle(profile, HandOver())
        try:
            async with asyncio.timeout(_HANDED_OVER_WITHIN):
                while self._elections[profile].holder in ("", self.settings.machine):
                    await self._news.wait()
        except TimeoutError:
            raise sentences.not_taken_over(profile, _HANDED_OVER_WITHIN) from None
        return self._elections[profile].holder

    def cut_all(self) -> None:
        """The daemon ends: stop serving now. `close` gives the keys up."""
        self._elections.handle_all(UnwantedHere())

    async def close(self) -> None:
        """Give up every key, so that others can take them at once."""
        if self._releases:
            await asyncio.wait(self._releases, timeout=_REVOKE_WITHIN)
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._elections.close()
        with contextlib.suppress(Failure):
            await self.lease.revoke(_REVOKE_WITHIN)
        await self.etcd.close()

    # --- what there is -----------------------------------------------------------------------

    @property
    def profiles(self) -> tuple[str, ...]:
        """The profiles of the fleet that this daemon knows."""
        return self._elections.names

    def status(self, profile: str) -> FleetStatus | None:
        """The fleet's part of the status of a profile; None if it is not wanted here."""
        election = self._elections.get(profile)
        if election is None or election.state is ElectionState.UNWANTED:
            return None
        return FleetStatus(
            self.settings.fleet,
            self.settings.machine,
            _ROLES.get(election.state, Role.STANDBY),
            election.holder or None,
            election.holder_token or None,
            Store.LOST if self.trouble or not election.seen else Store.OK,
        )

    def failure(self, profile: str) -> Failure | None:
        """Why this machine cannot take a profile, or cannot prove that it may."""
        if self.trouble is not None:
            return self.trouble
        digest, holding = self._digests.get(profile), self.view.holdings.get(profile)
        last = self.view.last.get(profile)
        if holding is not None and holding.lease != self.lease.id and holding.digest != digest:
            return sentences.file_differs(profile, holding.machine)
        if holding is None and last is not None and self._rank(profile) is None:
            return sentences.file_differs(profile, last.machine)
        names = [machine.name for machine in self.view.machines]
        if names.count(self.settings.machine) > 1:
            return sentences.machine_named_twice(self.settings.machine)
        return self.complaint

    def candidates(self, profile: str, *, but: str = "") -> list[str]:
        """The live machines that may take a profile, the next one first, without `but`."""
        digests, last = self.view.digests(profile), self.view.last.get(profile)
        able = [one for one in digests if candidates.may_take(one, digests, last)]
        return candidates.ordered(profile, (one for one in able if one != but))

    def _rank(self, profile: str) -> int | None:
        machine, mine = self.settings.machine, self._digests.get(profile)
        if mine is None:
            return None
        digests, last = {**self.view.digests(profile), machine: mine}, self.view.last.get(profile)
        # At the start of a fleet the last holder is like any other.
        gave_up = last.machine if last is not None and self._elections[profile].was_held else ""
        return candidates.rank(profile, machine, digests, last, gave_up=gave_up)

    # --- the lease ---------------------------------------------------------------------------

    async def _renew_for_ever(self) -> None:
        while True:
            self._looks_at = math.inf
            began = clock.boottime()
            if await self._renew():
                self._looks_at = min(self._looks_at, began + renewed_every(self.settings.lease))
            else:
                part = _SOON_PART if self._elections.holds_any else _AGAIN_PART
                self._looks_at = clock.boottime() + self.settings.lease * part
            await self._wait()

    async def _wait(self) -> None:
        """Until the next look is due, or the bell rings."""
        await asyncio.sleep(_LEAST_PAUSE)
        while (left := self._looks_at - clock.boottime()) > 0 and not self._bell.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._bell.wait()
        self._bell.clear()

    async def _renew(self) -> bool:
        """One round; returns whether the store answered."""
        try:
            view = await self.lease.renew()
        except NoLease:
            self._lease_ended()
            self._ring()
            return True
        except Failure as failure:
            self._lost(failure)
            return False
        except (KeyError, IndexError, TypeError, ValueError) as error:
            self._lost(sentences.refused_by_etcd(self._prefix, f"{type(error).__name__}: {error}"))
            return False
        self.trouble = None
        self._saw(view)
        await self._register()
        return True

    def _saw(self, view: FleetView) -> None:
        if view.revision < self.view.revision:
            return  # a member that is behind
        self.view = view
        self._joining.saw(view, clock.boottime())
        for profile in self._elections.names:
            self._elections.handle(profile, self._seen(profile, view))

    def _seen(self, profile: str, view: FleetView) -> Event:
        holding = view.holdings.get(profile)
        if holding is None:
            joining = self._joining.until(profile, view)
            return Free(self._rank(profile), view.revision, joining, profile in view.released)
        if holding.lease == self.lease.id:
            return Renewed(holding.token, self.lease.until, view.revision)
        return Refused(holding.machine, holding.token, view.revision)

    def _lost(self, failure: Failure) -> None:
        if self.trouble is None:  # what each attempt fails with is in status
            _log.warning("fleet %s: %s", self.settings.fleet, failure)
        self.trouble = failure
        self._elections.handle_all(StoreSilent())

    def _lease_ended(self) -> None:
        """Its keys are gone, or about to be taken."""
        _log.warning("fleet %s: the lease of this machine has ended", self.settings.fleet)
        self._elections.lose_all()

    async def _register(self) -> None:
        """Tell the others about this machine, when something changed."""
        lease, now = self.lease.id, clock.boottime()
        if lease is None:
            return
        if now - self._reported >= _REPORT_EVERY and self.lease.round_trip is not None:
            self._reported = now
            self._round_trip_ms = round(self.lease.round_trip * 1000, 2)
        machine = RegisteredMachine(
            self.settings.machine,
            lease,
            __version__,
            self._address,
            self._round_trip_ms,
            dict(self._digests),
        )
        if machine in self.view.machines:
            self.complaint = None
            return
        try:
            await self.lease.register(machine)
        except NoLease:
            self.lease.id = None
            self._lease_ended()
        except Failure as failure:
            self.complaint = failure
            self._tell_all()
        else:
            self._ring()

    async def _listen_for_ever(self) -> None:
        watch = {
            "create_request": {
                "key": encoded(self._prefix),
                "range_end": encoded(range_end(self._prefix)),
            }
        }
        while True:
            pause = self.settings.lease * _AGAIN_PART
            with contextlib.suppress(Failure, EtcdError):
                async for answer in self.etcd.watch(watch, self.settings.lease):
                    result = answer.get("result", {})
                    if result.get("created") and not result.get("canceled"):
                        pause = _LEAST_PAUSE
                    # What happened before the watch was created is seen by a look after that.
                    events = result.get("events", ())
                    if result.get("created") or self._keys.is_news(self.view, events):
                        self._ring()
            await asyncio.sleep(pause)

    def _ring(self) -> None:
        self._bell.set()

    # --- what the elections ask for ----------------------------------------------------------

    def _request(self, profile: str, action: Take | Release | Look) -> None:
        match action:
            case Take():
                self._spawn(self._take(profile), f"take {profile}")
            case Release(token):
                self._release(profile, token)
            case Look(at):
                self._looks_at = min(self._looks_at, at)
                wait = max(0.0, at - clock.boottime())
                asyncio.get_running_loop().call_later(wait, self._ring)

    def _release(self, profile: str, token: int) -> None:
        request = self._send(self.lease.release(profile, token))
        task = self._spawn(request, f"release {profile}")
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _take(self, profile: str) -> None:
        digest = self._digests.get(profile, "")
        value, last = self._values(profile, digest)
        event: Event
        try:
            async with self._taking:
                answer = await self.lease.take(profile, value, last)
        except NoLease:
            event = StoreSilent()
        except (Failure, KeyError, IndexError, TypeError, ValueError) as error:
            if isinstance(error, Failure):
                self.complaint = error
            event = StoreSilent()
        else:
            holding, revision = answer.holding, answer.revision
            if holding.lease == self.lease.id:
                event = Granted(holding.token, self.lease.until, revision)
            else:
                event = Refused(holding.machine, holding.token, revision)
        self._elections.handle(profile, event)

    def _values(self, profile: str, digest: str) -> tuple[bytes, bytes]:
        machine, since = self.settings.machine, clock.rfc3339(clock.wall())
        value = holding_value(machine, self._address, digest, since)
        return value, last_value(machine, digest)

    async def _publish(self, profile: str) -> None:
        value, last = self._values(profile, self._digests.get(profile, ""))
        await self.lease.update(profile, value, last)

    async def _send(self, request: Coroutine[Any, Any, None]) -> None:
        """A request whose effect, or lack of it, the next look shows."""
        with contextlib.suppress(NoLease, Failure):
            await request
        self._ring()

    # --- telling -----------------------------------------------------------------------------

    def _tell_all(self) -> None:
        for profile in self._elections.names:
            self._tell(profile)

    def _tell(self, profile: str) -> None:
        status, failure = self.status(profile), self.failure(profile)
        if status is None:
            self._told.pop(profile, None)
            return
        if not self._elections[profile].seen and self.trouble is None:
            return  # nothing is known yet
        told = _Told(status, "" if failure is None else failure.code)
        if self._told.get(profile) != told:
            self._told[profile] = told
            self._news.set()
            self._news = asyncio.Event()
            self._owner.changed(profile)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=f"fleet: {name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s failed", task.get_name(), exc_info=error)
