"""The status of a tunnel, its events and its log records.

Owns what was last reported, so that each change is reported once. Must never change the tunnel.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field, replace
from datetime import datetime, timedelta
from weakref import WeakKeyDictionary

from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.barring import Barring
from tunnelctl.spec.forward import ProbeType
from tunnelctl.spec.host import Host
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.documents.snapshot import (
    FAILED_FOR_GOOD,
    ForwardState,
    ForwardStatus,
    Health,
    HostState,
    HostStatus,
    LinkStatus,
)
from tunnelctl.state.documents.status_events import EventKind
from tunnelctl.state.host.machine import Machine
from tunnelctl.state.host.outage import Outage
from tunnelctl.state.profile.overall import CountedPart, forward_part, host_part
from tunnelctl.state.throttle import LogThrottle, Throttle
from tunnelctl.supervisor.forwards.forwarding import Forwarding
from tunnelctl.supervisor.journal import Journal, error_status
from tunnelctl.supervisor.links import Links

_NOT_UP_BECAUSE = (HostState.BACKOFF, *FAILED_FOR_GOOD)


@dataclass(slots=True)
class _Told:
    """The last reported state of one forward, and the limit on events about its connections."""

    state: ForwardState = ForwardState.PENDING
    since: datetime = field(default_factory=clock.wall)
    caveat: Failure | None = None
    connections: Throttle = field(default_factory=Throttle)
    in_log: LogThrottle = field(default_factory=LogThrottle)


class Teller:
    """For one host of `profile`; `state` is its first state."""

    def __init__(self, profile: str, journal: Journal, state: HostState) -> None:
        self._profile = profile
        self._journal = journal
        self._announced: tuple[HostState, int, Code | None] = (state, 0, None)
        self._since = clock.wall()
        self._outage = Outage()
        self._warned: set[str] = set()
        self._in_log = LogThrottle()  # for the lines of the server
        self._told: WeakKeyDictionary[Forwarding, _Told] = WeakKeyDictionary()
        self._logged: dict[tuple[EventKind, str], str] = {}  # the state of each forward

    @property
    def is_quiet(self) -> bool:
        """Whether the log leaves out the changes of the host, because it is unstable."""
        return self._outage.is_quiet

    def asked(self) -> None:
        """The user asked for the host: the log reports the result."""
        self._outage.forget()
        self._warned.clear()

    def host(self, host: Host, machine: Machine, links: Links) -> bool:
        """Report the state of the host if the state, the serving candidate or the reason changed
        since the last report. Returns whether it did."""
        why_not_home = machine.passed_over if machine.on_fallback else machine.waits
        reason = why_not_home.code if why_not_home else None
        before, self._announced = self._announced, (machine.state, machine.candidate, reason)
        if self._announced == before:
            return False
        if self._announced[:2] != before[:2]:
            self._since = clock.wall()
        was_lost = before[0] is HostState.UP and machine.state is HostState.CONNECTING
        failure = machine.failure if was_lost else _failure_told(machine)
        message = _host_message(host, machine, links)
        if was_lost and failure is not None:
            message = f"{failure}; connecting again {message}"
        code, why = ("", "") if failure is None else (str(failure.code), str(failure))
        at = clock.rfc3339(clock.wall())
        remark = self._outage.told(machine.state, code, why, clock.monotonic(), at)
        self._record(EventKind.HOST, host.name, machine.state, message, failure, remark)
        return True

    def warn(self, name: str, machine: Machine, warning: Failure) -> None:
        """Report once a problem of a login to the host, or to a hop, that did not stop the
        login."""
        text = str(warning)
        if text not in self._warned:
            self._warned.add(text)
            self._record(EventKind.HOST, name, machine.state, text, warning)

    def said(self, name: str, message: str) -> None:
        """Report a line that the server printed in its session."""
        remark = self._in_log.remark("lines", clock.monotonic())
        self._record(EventKind.HOST, name, HostState.UP, message, None, remark)

    def forward(self, item: Forwarding, machine: Machine) -> None:
        """Report a forward if its state changed since the last report."""
        state, told = _forward_state(item, machine), self._told_of(item)
        if state is not told.state:
            told.state = state
            told.since = clock.wall()
        elif item.caveat is told.caveat:
            return
        told.caveat = item.caveat
        failure, message = None, ""
        if state is ForwardState.FAILED:
            failure = _forward_failure(item, machine)
            message = str(failure)
        elif state is ForwardState.UP:
            failure = item.caveat
            message = f"listens on {item.side.listening}" + (f"; {failure}" if failure else "")
        self._of_forward(EventKind.FORWARD, item.rule.name, state, message, failure)

    def connection_failed(self, name: str, item: Forwarding, failure: Failure) -> None:
        """Report that a connection could not be opened, unless the limit on such events is
        reached."""
        told = self._told_of(item)
        held_back = told.connections.ask(clock.monotonic())
        if held_back is not None:
            more = f"; {held_back} more before it" if held_back else ""
            message = f"{failure}{more}"
            remark = told.in_log.remark("such events", clock.monotonic())
            self._record(EventKind.CONNECTION, name, "failed", message, failure, remark)

    def health(self, item: Forwarding) -> None:
        """Report that the health of a forward changed."""
        failure = item.probe_failure
        message = str(failure) if failure is not None else "its target answers"
        if item.left_alone is not None:
            message += f"; {_not_probed(item.left_alone)}"
        self._of_forward(EventKind.HEALTH, item.rule.name, item.health, message, failure)

    def host_status(
        self, host: Host, machine: Machine, links: Links, extra: Iterable[Link], *, queued: bool
    ) -> HostStatus:
        """The host as it is now, with the `extra` links to it; `queued`: its attempt waits for
        others."""
        link = links.get(machine.epoch)
        status = HostStatus(
            name=host.name,
            state=machine.state,
            since=clock.rfc3339(self._since),
            attempts=0 if machine.state is HostState.UP else machine.attempts,
            reconnects=machine.reconnects,
            next_retry_at=_later(self._since, machine.since, machine.retry_at),
            fallback=host.candidates[machine.candidate].name if machine.on_fallback else None,
            returning=machine.homing is not None,
            queued=queued and machine.state is HostState.CONNECTING,
            ends_unused=machine.unused is not None,
            last_error=error_status(_why(machine)),
            connects=links.took,
        )
        if link is None or machine.state is not HostState.UP:
            return status
        return replace(
            status,
            address=link.info.address,
            rtt_ms=round_trip(link),
            cipher=link.info.cipher,
            mac=link.info.mac,
            kex=link.info.kex,
            host_key=link.info.host_key,
            strict_kex=link.info.strict_kex,
            server=link.info.server,
            said=links.said(machine.epoch),
            links=tuple(map(_link_status, (link, *extra))),
        )

    def forward_status(self, item: Forwarding, machine: Machine) -> ForwardStatus:
        """A forward as it is now; `machine` is that of its host."""
        rule, counters, retry_at = item.rule, item.side.counters, item.tries.retry_at
        return ForwardStatus(
            name=rule.name,
            type=rule.type,
            listen=str(item.side.listening or rule.listen),
            target=None if rule.target is None else str(rule.target),
            via=rule.via,
            state=_forward_state(item, machine),
            bound=item.side.listening is not None,
            since=clock.rfc3339(self._told_of(item).since),
            health=item.health,
            health_reason=_unknown_because(item, machine),
            health_since=clock.rfc3339(item.health_since),
            attempts=item.tries.count,
            next_retry_at=None if retry_at is None else clock.rfc3339(retry_at),
            connections_open=counters.open,
            connections_total=counters.total,
            connections_failed=counters.failed,
            failures=tuple((str(code), count) for code, count in counters.failures.items()),
            bytes_in=counters.bytes_in,
            bytes_out=counters.bytes_out,
            last_error=error_status(_forward_failure(item, machine)),
            labels=rule.labels,
            inspect=None if rule.inspect is None else str(rule.inspect),
        )

    def _told_of(self, item: Forwarding) -> _Told:
        told = self._told.get(item)
        if told is None:
            told = self._told[item] = _Told()
        return told

    def _of_forward(
        self, kind: EventKind, name: str, state: str, message: str, failure: Failure | None
    ) -> None:
        """Report what follows from a change of the host. If such changes are not logged, failures
        still are, once."""
        is_new = failure is not None and self._logged.get((kind, name)) != state
        is_logged = is_new or not self.is_quiet
        if is_logged:
            self._logged[kind, name] = state
        self._record(kind, name, state, message, failure, "" if is_logged else None)

    def _record(
        self,
        kind: EventKind,
        name: str,
        state: str,
        message: str,
        failure: Failure | None,
        remark: str | None = "",
    ) -> None:
        self._journal.record(kind, self._profile, name, state, message, failure, remark)


def round_trip(link: Link) -> float | None:
    """In milliseconds; None until one was measured."""
    return None if link.liveness.rtt is None else round(link.liveness.rtt * 1000, 3)


def _link_status(link: Link) -> LinkStatus:
    channels = len(link.connection.channels)
    return LinkStatus(link.info.address, link.info.cipher, round_trip(link), channels)


def part_of_host(machine: Machine) -> CountedPart:
    """The host's contribution to the state of its profile."""
    return host_part(machine.state, machine.attempts, lazy=machine.is_on_demand)


def part_of(item: Forwarding) -> CountedPart | None:
    """A forward's contribution to the state of its profile; None if it is not required."""
    return forward_part(item.state, item.retried) if item.rule.required else None


def _forward_state(item: Forwarding, machine: Machine) -> ForwardState:
    """A bound listener is not up if its host failed permanently."""
    hopeless = machine.state in FAILED_FOR_GOOD
    return item.state if item.is_stopped or not hopeless else ForwardState.FAILED


def _forward_failure(item: Forwarding, machine: Machine) -> Failure | None:
    unanswered = item.probe_failure if item.state is ForwardState.UP else None
    # Why it does not listen is its own failure; failed connections follow from the failure of the
    # host.
    own = item.last_error if item.state is ForwardState.FAILED else None
    return own or machine.hopeless or unanswered or item.last_error or item.caveat


def _unknown_because(item: Forwarding, machine: Machine) -> str | None:
    """Why the health is unknown; None if it is known."""
    if item.health is not Health.UNKNOWN:
        return None
    if item.rule.target is None and item.rule.probe.type is ProbeType.NONE:
        return "its clients name the targets"
    if item.rule.probe.type is ProbeType.NONE:
        return "the profile says probe: none"
    if item.left_alone is not None:
        return _not_probed(item.left_alone)
    if machine.state is not HostState.UP:
        return "there is no link"
    return "no answer decides yet" if item.state is ForwardState.UP else "it does not listen"


def _not_probed(target: Barring) -> str:
    return f"not probed: {target}; connections of its clients show whether it works"


def _later(moment: datetime, same: float, later: float | None) -> str | None:
    """The time of day at `later`, given that `moment` was at `same` on the monotonic clock."""
    return None if later is None else clock.rfc3339(moment + timedelta(seconds=later - same))


def _why(machine: Machine) -> Failure | None:
    """The reason why the host is not up, waits for a program, or is replaced by a fallback; or that
    its server ends unused links."""
    failure = machine.passed_over if machine.on_fallback else machine.waits or machine.failure
    return failure or machine.unused


def _failure_told(machine: Machine) -> Failure | None:
    """Why the host is not up, or a fallback serves."""
    if machine.state in _NOT_UP_BECAUSE:
        return machine.failure
    if machine.waits is not None:
        return machine.waits
    tells = machine.state in (HostState.CONNECTING, HostState.UP)
    return machine.passed_over if machine.candidate and tells else None


def _host_message(host: Host, machine: Machine, links: Links) -> str:
    serving = host.candidates[machine.candidate]
    instead = f", the fallback {serving.name}: {machine.passed_over}" if machine.candidate else ""
    match machine.state:
        case HostState.CONNECTING:
            where = "the embedded server" if serving.embedded else serving.address
            return str(machine.waits or f"to {where}{instead}")
        case HostState.AUTHENTICATING:
            return str(machine.waits or "")
        case HostState.UP:
            info = links[machine.epoch].info
            return f"{info.address}, {info.cipher}, {info.server}{instead}"
        case HostState.BACKOFF:
            wait = (machine.retry_at or 0.0) - machine.since
            return f"{machine.failure}; next try in {wait:.1f} s"
        case HostState.FAILED | HostState.NEEDS_INPUT:
            return str(machine.failure)
        case HostState.IDLE:
            return str(machine.unused or "")
        case _:
            return ""
