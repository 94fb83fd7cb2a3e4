"""The lease of this daemon in etcd, and the transactions on the keys under it.

Owns the proof that this machine may serve: `until`. Must never prolong it without a keepalive and a
transaction that both went through the same leader.

A keepalive alone proves nothing: a leader that was cut off from the others answers it for some
seconds. A transaction needs a majority. Both are asked of the same member, the keepalive first, and
count only if both answers have the same term of Raft: a term has one leader, and the transaction
shows that this leader had a majority after the keepalive reached it. A later leader starts all
leases anew, so the lease lasts at least its whole time from when the keepalive was sent.
"""

from __future__ import annotations

from dataclasses import replace

from tunnelctl import clock
from tunnelctl.fleet import sentences
from tunnelctl.fleet.etcd import Etcd, Json, Member, NoLease
from tunnelctl.fleet.records import (
    FleetView,
    HeldKey,
    Keys,
    RegisteredMachine,
    encoded,
    holding_of,
    range_end,
)
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.election import serves_until

# How long a machine that died is shown, in seconds.
_SHOWN_DEAD = 24 * 3600
# The part of a lease in which all endpoints together have to answer.
_ANSWER_PART = 1 / 4


@dataclass(frozen=True, slots=True)
class KeyAnswer:
    """The result of a transaction on one profile's key: the holder, and the store's revision."""

    holding: HeldKey
    revision: int


@dataclass(frozen=True, slots=True)
class _Round:
    """A confirmed keepalive: the lease, until when it lets this machine serve, the seconds that the
    transaction took, and all keys."""

    lease: int
    until: float
    round_trip: float
    view: FleetView


class Lease:
    """`seconds` is its time to live. `id` is None while there is none, `until` (CLOCK_BOOTTIME)
    when this machine has to stop serving, and `round_trip` the seconds that the last transaction
    took."""

    def __init__(self, etcd: Etcd, keys: Keys, seconds: float) -> None:
        self.id: int | None = None
        self.until = 0.0
        self.round_trip: float | None = None
        self._etcd = etcd
        self._keys = keys
        self._seconds = seconds
        self._within = seconds * _ANSWER_PART
        self._long: int | None = None  # the lease of the key that outlives this machine

    async def renew(self) -> FleetView:
        """Keep the lease alive, or get one, and see all keys of the fleet.

        Raises:
            NoLease: it has ended; the next call gets another.
            Failure: store-lost.
        """
        lease = self.id
        try:
            found = await self._etcd.anywhere(
                lambda member: self._round(member, lease), self._within
            )
        except NoLease:
            self.id = None
            raise
        if found.lease != lease:
            self.id, self.until = found.lease, 0.0
        self.until, self.round_trip = max(self.until, found.until), found.round_trip
        return found.view

    async def _round(self, member: Member, lease: int | None) -> _Round:
        """Changes nothing here: several may run at the same time, each with a lease of its own
        where there was none, and the first to end counts."""
        sent = clock.boottime()
        kept = await (self._grant(member) if lease is None else self._keep_alive(member, lease))
        asked = clock.boottime()
        prefix = self._keys.prefix
        everything = {"key": encoded(prefix), "range_end": encoded(range_end(prefix))}
        answer = await member.put_if([], [{"request_range": everything}], [])
        trip = clock.boottime() - asked
        if _term(kept) != _term(answer):
            raise sentences.leader_changed(member.url)
        found = answer["responses"][0]["response_range"].get("kvs", [])
        view = self._keys.view(_revision(answer), found)
        return _Round(int(kept["ID"]), serves_until(sent, self._seconds), trip, view)

    async def _grant(self, member: Member) -> Json:
        return await member.post("/v3/lease/grant", {"TTL": str(int(self._seconds))})

    async def _keep_alive(self, member: Member, lease: int) -> Json:
        answer = await member.post("/v3/lease/keepalive", {"ID": str(lease)})
        kept: Json = answer["result"]
        if int(kept.get("TTL", 0)) <= 0:
            raise NoLease
        return kept

    async def register(self, machine: RegisteredMachine) -> None:
        """Write the key of this machine.

        Raises:
            NoLease: the lease has ended.
            Failure: store-lost.
        """
        key, known = self._keys.machine(machine.lease), self._keys.known(machine.name)
        value, short = machine.value(), replace(machine, digests={}).value()

        async def work(member: Member) -> None:
            long = await self._long_lease(member)
            puts = [self._put(key, value, machine.lease), self._put(known, short, long)]
            await member.put_if([], puts, [])

        await self._etcd.anywhere(work, self._within)

    async def _long_lease(self, member: Member) -> int:
        """The lease of the key that outlives this machine, kept alive."""
        if self._long is not None:
            answer = await member.post("/v3/lease/keepalive", {"ID": str(self._long)})
            if int(answer["result"].get("TTL", 0)) > 0:
                return self._long
        granted = await member.post("/v3/lease/grant", {"TTL": str(_SHOWN_DEAD)})
        self._long = int(granted["ID"])
        return self._long

    async def take(self, profile: str, value: bytes, last: bytes) -> KeyAnswer:
        """Create the key of a profile if there is none; `last` replaces the record of the last
        holder then. The holder in the answer may be another, or this machine since an earlier
        attempt.

        Raises:
            NoLease: the lease has ended.
            Failure: store-lost; it may have been carried out.
        """
        key, lease = self._keys.profile(profile), self.id
        if lease is None:
            raise NoLease
        free = {"key": encoded(key), "target": "CREATE", "create_revision": "0"}
        puts = [self._put(key, value, lease), self._put(self._keys.file(profile), last)]
        puts.append(self._delete(self._keys.released(profile)))
        see = [{"request_range": {"key": encoded(key)}}]

        async def work(member: Member) -> KeyAnswer:
            answer = await member.put_if([free], [*puts, *see], see)
            found = answer["responses"][-1]["response_range"]["kvs"][0]
            return KeyAnswer(holding_of(found), _revision(answer))

        return await self._etcd.anywhere(work, self._within)

    async def update(self, profile: str, value: bytes, last: bytes) -> None:
        """Change the values of a key that is ours; no effect on another's.

        Raises:
            NoLease, Failure: as `take`.
        """
        lease = self.id
        if lease is None:
            raise NoLease
        key = self._keys.profile(profile)
        puts = [self._put(key, value, lease), self._put(self._keys.file(profile), last)]
        ours = [self._is_ours(key, lease)]
        await self._etcd.anywhere(lambda member: member.put_if(ours, puts, []), self._within)

    async def count_file(self, profile: str, last: bytes) -> None:
        """Make this machine's file of a profile the one that counts.

        Raises:
            Failure: store-lost.
        """
        put = self._put(self._keys.file(profile), last)
        await self._etcd.anywhere(lambda member: member.put_if([], [put], []), self._within)

    async def release(self, profile: str, token: int) -> None:
        """Delete the key of a profile if it has this token, and record that it was given up.

        Raises:
            Failure: store-lost.
        """
        key = self._keys.profile(profile)
        then = [self._delete(key), self._put(self._keys.released(profile), b"")]
        it = [{"key": encoded(key), "target": "CREATE", "create_revision": str(token)}]
        await self._etcd.anywhere(lambda member: member.put_if(it, then, []), self._within)

    async def revoke(self, seconds: float) -> None:
        """End the lease and delete every key of this machine.

        Raises:
            Failure: store-lost; the lease ends by itself later.
        """
        lease, long = self.id, self._long
        self.id = self._long = None

        async def work(member: Member) -> None:
            # First the one that others wait for.
            for one in filter(None, (lease, long)):
                await member.post("/v3/lease/revoke", {"ID": str(one)})

        await self._etcd.anywhere(work, seconds)

    def _put(self, key: str, value: bytes, lease: int = 0) -> Json:
        put = {"key": encoded(key), "value": encoded(value), "lease": str(lease)}
        return {"request_put": put}

    def _delete(self, key: str) -> Json:
        return {"request_delete_range": {"key": encoded(key)}}

    def _is_ours(self, key: str, lease: int) -> Json:
        return {"key": encoded(key), "target": "LEASE", "lease": str(lease)}


def _term(answer: Json) -> str:
    return str(answer["header"].get("raft_term", ""))


def _revision(answer: Json) -> int:
    return int(answer["header"]["revision"])
