"""The list of causes: each once, with the time of the next attempt and the command that mends it.

Pure: the time is an argument.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime

from tunnelctl.errors import Code, printable
from tunnelctl.state.documents.snapshot import (
    FAILED_FOR_GOOD,
    ErrorStatus,
    ForwardState,
    ForwardStatus,
    Health,
    HostState,
    HostStatus,
    ProfileStatus,
    Wanted,
)
from tunnelctl.view import actions
from tunnelctl.view.rows import Broken
from tunnelctl.view.texts import until_text

AWAY = "waiting for a daemon"  # the only news while none answers
NOT_AGAIN = "not tried again before somebody acts"
_NOW = "being tried now"


def broken(profiles: Iterable[ProfileStatus], now: datetime) -> tuple[Broken, ...]:
    """The causes in the profiles that are wanted up, hopeless ones first. Parts with the same
    failure are one cause."""
    found: dict[str, Broken] = {}
    others: defaultdict[str, list[str]] = defaultdict(list)
    for profile in profiles:
        if profile.wanted is not Wanted.UP:
            continue
        for cause in _causes(profile, now):
            # Two files never fail for one cause.
            key = cause.place if cause.kind == "profile" else cause.why
            if found.setdefault(key, cause) is not cause:
                others[key].append(cause.place)
    causes = [cause._replace(also=tuple(others[key])) for key, cause in found.items()]
    return tuple(sorted(causes, key=lambda cause: not cause.has_failed))


def is_in_trouble(part: HostStatus | ForwardStatus) -> bool:
    """Whether a host or forward is not as requested. Failed clients do not count, unless the server
    forbids all of them."""
    if isinstance(part, HostStatus):
        is_up = part.state in (HostState.UP, HostState.IDLE)
        # An idle host is no problem, but nobody requested it.
        return not is_up or part.fallback is not None or part.ends_unused
    if part.state is not ForwardState.UP or part.health is Health.UNHEALTHY:
        return True
    forbidden = part.last_error is not None and part.last_error.code == Code.FORWARD_DENIED
    return forbidden and "dynamic" not in part.type


def _causes(profile: ProfileStatus, now: datetime) -> Iterator[Broken]:
    name = profile.name
    if profile.last_error:
        yield _cause(profile.last_error, name, "profile", name, has_failed=True, again=NOT_AGAIN)
    for host in profile.hosts:
        if host.last_error and is_in_trouble(host):
            yield _of_host(name, host, host.last_error, now)
    for forward in profile.forwards:
        if forward.last_error and is_in_trouble(forward):
            yield _of_forward(name, forward, forward.last_error, now)


def _of_host(profile: str, host: HostStatus, error: ErrorStatus, now: datetime) -> Broken:
    has_failed = host.state in FAILED_FOR_GOOD
    again = ""
    if has_failed:
        again = NOT_AGAIN
    elif host.state in (HostState.CONNECTING, HostState.AUTHENTICATING) or host.returning:
        again = _NOW
    elif host.next_retry_at:
        attempts = f" (#{host.attempts})" if host.attempts else ""
        again = f"in {until_text(host.next_retry_at, now)}{attempts}"
    cause = _cause(
        error, f"{profile}/{host.name}", "host", profile, has_failed=has_failed, again=again
    )
    return cause._replace(
        again_at=host.next_retry_at,
        mend=actions.mend_host(profile, host),
        serves=host.fallback or "",
    )


def _of_forward(profile: str, forward: ForwardStatus, error: ErrorStatus, now: datetime) -> Broken:
    # One that is tried again has a time for it, or a host that is.
    again = f"in {until_text(forward.next_retry_at, now)}" if forward.next_retry_at else ""
    has_failed = forward.state is ForwardState.FAILED
    cause = _cause(
        error, f"{profile}/{forward.name}", "forward", profile, has_failed=has_failed, again=again
    )
    return cause._replace(again_at=forward.next_retry_at)


def _cause(
    error: ErrorStatus, place: str, kind: str, profile: str, *, has_failed: bool, again: str
) -> Broken:
    mend = actions.mend_profile(profile, error) if kind == "profile" else actions.doctor(profile)
    return Broken(
        place=place,
        kind=kind,
        profile=profile,
        code=error.code,
        why=printable(error.message),
        hint=printable(error.hint),
        again=again,
        again_at=None,
        mend=mend,
        has_failed=has_failed,
    )
