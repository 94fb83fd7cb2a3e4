"""The view model: from the daemon's documents to everything that a face shows.

Pure: the time is an argument. Owns the order of the rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tunnelctl.errors import printable
from tunnelctl.state.documents.snapshot import (
    ErrorStatus,
    ForwardStatus,
    HostStatus,
    ProfileStatus,
    Status,
    Wanted,
)
from tunnelctl.view import actions, condition, trouble
from tunnelctl.view.condition import RANK, Condition
from tunnelctl.view.rows import ConnectionRow, ForwardRow, HostRow, ProfileRow, View
from tunnelctl.view.texts import (
    NOTHING,
    Curve,
    age_text,
    both_ways,
    listen_text,
    milliseconds_text,
    sum_of_curves,
)

if TYPE_CHECKING:  # `ps` is quicker without
    from tunnelctl.state.documents.connection_status import ConnectionList, ConnectionStatus
    from tunnelctl.state.documents.history import ForwardHistory, History

# Bytes a second received and sent, by profile and forward.
RateOf = Callable[[str, str], tuple[float, float]]
_NO_RATE: tuple[None, None] = (None, None)


def build(
    status: Status,
    connections: ConnectionList | None,
    history: History | None,
    now: datetime,
    rates: RateOf | None = None,
) -> View:
    """The view at `now`.

    `connections` and `history` are None if the daemon was not asked, or does not have them.
    Rates are those of `rates`, or of the last sample in `history`; without both they are unknown.
    """
    scene = _Scene(now, rates, _curves(history))
    rows: list[ForwardRow] = []
    hosts: list[HostRow] = []
    profiles: list[ProfileRow] = []
    round_trips = {
        (host.profile, host.host): host.rtt_ms for host in (history.hosts if history else ())
    }
    for profile in status.profiles:
        its_rows = scene.forwards_of(profile)
        by_host: defaultdict[str, list[ForwardRow]] = defaultdict(list)
        for row in its_rows:
            by_host[row.via].append(row)
        profiles.append(scene.profile(profile, its_rows))
        rows += its_rows or [scene.empty(profile)]
        hosts += [
            scene.host(
                profile, host, by_host[host.name], round_trips.get((profile.name, host.name), ())
            )
            for host in profile.hosts
        ]
    return View(
        at=now.isoformat(timespec="milliseconds"),
        daemon_version=status.daemon.version,
        daemon_pid=status.daemon.pid,
        warnings=tuple(map(printable, status.daemon.warnings)),
        broken=trouble.broken(status.profiles, now),
        profiles=tuple(profiles),
        forwards=tuple(sorted(rows, key=_rank)),
        hosts=tuple(sorted(hosts, key=_rank)),
        connections=_connections(connections.connections, now) if connections else (),
        ended=_connections(reversed(connections.ended), now) if connections else (),
        rates=_rates_text(*_sum_of_rates(rows)),
    )


def summary(rows: Iterable[ForwardRow]) -> str:
    """The number of rows and their conditions: `312 forwards: 3 failed, 5 not up, 304 up`."""
    conditions = [row.condition for row in rows]
    if not conditions:
        return "no forwards"
    counts = [(conditions.count(one), one) for one in Condition]
    parts = [f"{count} {one}" for count, one in counts if count]
    plural = "" if len(conditions) == 1 else "s"
    return f"{len(conditions)} forward{plural}: {', '.join(parts)}"


def to_json(view: View) -> dict[str, Any]:
    """The view as an object for programs: the fields of the rows, and in addition `place` and
    `actions` of each, with the question before an action."""
    document = view._asdict()
    clients = clients_of(view)
    for name in ("broken", "profiles", "forwards", "hosts", "connections", "ended"):
        document[name] = [_row_json(row, clients) for row in document[name]]
    return {**document, "summary": summary(view.forwards)}


def clients_of(view: View) -> dict[str, int]:
    """The number of clients that are connected, by PROFILE and PROFILE/HOST; those who wait for a
    host lose nothing by its restart."""
    of_profiles = {row.name: row.connections for row in view.profiles}
    of_hosts = {
        row.place: row.connections if row.condition is Condition.UP else 0 for row in view.hosts
    }
    return of_profiles | of_hosts


def _row_json(row: Any, clients: Mapping[str, int]) -> dict[str, Any]:
    document = row._asdict()
    if document.get("mend") is not None:
        document["mend"] = row.mend._asdict()
    its_actions = [
        {**action._asdict(), "question": actions.question(action, clients)}
        for action in row.actions
    ]
    return {**document, "place": row.place, "actions": its_actions}


class _Scene(NamedTuple):
    """The common part of the rows of one view."""

    now: datetime
    rates: RateOf | None
    curves: Mapping[tuple[str, str], ForwardHistory]

    def forwards_of(self, profile: ProfileStatus) -> list[ForwardRow]:
        """Its forwards, in the order of the file."""
        hosts = {host.name: host for host in profile.hosts}
        return [self.forward(profile, rule, hosts[rule.via]) for rule in profile.forwards]

    def forward(
        self, profile: ProfileStatus, forward: ForwardStatus, host: HostStatus
    ) -> ForwardRow:
        """One forward whose host is `host`."""
        shown = condition.of_forward(forward, host, self.now)
        rate_in, rate_out = self.rate(profile.name, forward.name)
        curve = self.curves.get((profile.name, forward.name))
        return ForwardRow(
            profile=profile.name,
            name=forward.name,
            type=forward.type,
            listen=listen_text(forward),
            target=forward.target or NOTHING,
            via=forward.via,
            status=shown.text,
            condition=shown.condition,
            is_wanted=profile.wanted is Wanted.UP,
            health=forward.health,
            connections=forward.connections_open,
            connections_total=forward.connections_total,
            connections_failed=forward.connections_failed,
            bytes_in=forward.bytes_in,
            bytes_out=forward.bytes_out,
            moved=both_ways(forward.bytes_in, forward.bytes_out),
            rate_in=rate_in,
            rate_out=rate_out,
            rates=_rates_text(rate_in, rate_out),
            since=forward.since,
            age=age_text(forward.since, self.now),
            error=_error_text(forward.last_error),
            labels=forward.labels,
            is_inspected=forward.inspect is not None,
            curve_in=curve.bytes_in if curve else (),
            curve_out=curve.bytes_out if curve else (),
        )

    def empty(self, profile: ProfileStatus) -> ForwardRow:
        """The row of a profile without forwards, such as one that could not be loaded."""
        shown = condition.of_profile(profile)
        return ForwardRow(
            profile=profile.name,
            name="",
            type=NOTHING,
            listen=NOTHING,
            target=NOTHING,
            via=NOTHING,
            status=shown.text,
            condition=shown.condition,
            is_wanted=profile.wanted is Wanted.UP,
            health="",
            connections=0,
            connections_total=0,
            connections_failed=0,
            bytes_in=0,
            bytes_out=0,
            moved=NOTHING,
            rate_in=None,
            rate_out=None,
            rates=NOTHING,
            since=None,
            age=NOTHING,
            error=_error_text(profile.last_error),
        )

    def profile(self, profile: ProfileStatus, rows: list[ForwardRow]) -> ProfileRow:
        """One profile with the `rows` of its forwards."""
        shown = condition.of_profile(profile)
        rate_in, rate_out = _sum_of_rates(rows)
        return ProfileRow(
            name=profile.name,
            source=profile.source,
            status=shown.text,
            condition=shown.condition,
            is_wanted=profile.wanted is Wanted.UP,
            holders=str(profile.holders),
            hosts=len(profile.hosts),
            forwards=len(rows),
            forwards_up=sum(row.condition is Condition.UP for row in rows),
            connections=sum(row.connections for row in rows),
            rate_in=rate_in,
            rate_out=rate_out,
            rates=_rates_text(rate_in, rate_out),
            since=profile.since,
            age=age_text(profile.since, self.now),
            error=_error_text(profile.last_error),
        )

    def host(
        self, profile: ProfileStatus, host: HostStatus, rows: list[ForwardRow], curve_rtt: Curve
    ) -> HostRow:
        """One host of a profile, with the `rows` of its own forwards."""
        shown = condition.of_host(host, self.now)
        rate_in, rate_out = _sum_of_rates(rows)
        is_troubled = host.last_error is not None and trouble.is_in_trouble(host)
        return HostRow(
            profile=profile.name,
            name=host.name,
            status=shown.text,
            condition=shown.condition,
            is_wanted=profile.wanted is Wanted.UP,
            address=host.address or "",
            rtt_ms=host.rtt_ms,
            round_trip=milliseconds_text(host.rtt_ms),
            cipher=host.cipher or "",
            kex=host.kex or "",
            server=printable(host.server or ""),
            reconnects=host.reconnects,
            attempts=host.attempts,
            links=len(host.links),
            fallback=host.fallback or "",
            connections=sum(row.connections for row in rows),
            rate_in=rate_in,
            rate_out=rate_out,
            rates=_rates_text(rate_in, rate_out),
            since=host.since,
            age=age_text(host.since, self.now),
            error=_error_text(host.last_error),
            mend=actions.mend_host(profile.name, host) if is_troubled else None,
            said=tuple(map(printable, host.said or ())),
            curve_in=sum_of_curves(*(row.curve_in for row in rows)),
            curve_out=sum_of_curves(*(row.curve_out for row in rows)),
            curve_rtt=curve_rtt,
        )

    def rate(self, profile: str, forward: str) -> tuple[float, float] | tuple[None, None]:
        """Bytes a second of a forward in and out, or None if they are not known."""
        if self.rates is not None:
            return self.rates(profile, forward)
        curve = self.curves.get((profile, forward))
        if curve is None or not (curve.bytes_in and curve.bytes_out):
            return _NO_RATE
        return curve.bytes_in[-1], curve.bytes_out[-1]


def _connections(listed: Iterable[ConnectionStatus], now: datetime) -> tuple[ConnectionRow, ...]:
    from tunnelctl.view.connection_rows import connection_row  # `ps` is quicker without

    return tuple(connection_row(one, now) for one in listed)


def _rank(row: ForwardRow | HostRow) -> int:
    return RANK[row.condition]


def _curves(history: History | None) -> dict[tuple[str, str], ForwardHistory]:
    return {(one.profile, one.forward): one for one in (history.forwards if history else ())}


def _error_text(error: ErrorStatus | None) -> str:
    return printable(str(error)) if error else ""


def _rates_text(rate_in: float | None, rate_out: float | None) -> str:
    return NOTHING if rate_in is None or rate_out is None else both_ways(rate_in, rate_out)


def _sum_of_rates(rows: list[ForwardRow]) -> tuple[float | None, float | None]:
    """The rates together; None if none of them is known."""
    known = [(row.rate_in, row.rate_out) for row in rows]
    pairs = [(come, gone) for come, gone in known if come is not None and gone is not None]
    if not pairs:
        return None, None
    return sum(come for come, _ in pairs), sum(gone for _, gone in pairs)
