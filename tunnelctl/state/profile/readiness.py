"""The end of the wait for a profile: it is ready, or a part of it cannot come up before somebody
acts.

Pure: decides by the status document, for `up`, `run` and `tunnelctl.open` alike.
"""

from __future__ import annotations

from collections.abc import Collection

from tunnelctl.errors import Code, Failure
from tunnelctl.state import sentences
from tunnelctl.state.documents.snapshot import (
    FAILED_FOR_GOOD,
    ForwardState,
    ForwardStatus,
    HostStatus,
    ProfileState,
    ProfileStatus,
    Wanted,
    error_of,
)

# A listener that failed is retried, but the caller must know now.
_SAID_AT_ONCE = frozenset(
    {Code.PORT_IN_USE, Code.PERMISSION_DENIED, Code.FORWARD_DENIED, Code.NAME_NOT_FOUND}
)


def is_ready(profile: ProfileStatus) -> bool:
    """Whether every host is up and every required forward listens, or another machine of the fleet
    is known to serve it."""
    if profile.state is ProfileState.STANDBY:
        return profile.fleet is not None and profile.fleet.is_served
    return profile.state is ProfileState.UP


def failure_of(profile: ProfileStatus, required: Collection[str]) -> Failure | None:
    """The reason why the profile will not be ready soon, if any; `required` names its forwards."""
    for host in profile.hosts:
        if host.state in FAILED_FOR_GOOD:
            return as_failure(profile.name, host)
    for forward in profile.forwards:
        error = forward.last_error
        failed = forward.state is ForwardState.FAILED and forward.name in required
        if failed and error and error.code in _SAID_AT_ONCE:
            return as_failure(profile.name, forward)
    if profile.wanted is Wanted.DOWN and not is_ready(profile):
        return sentences.taken_down_meanwhile(profile.name)
    return None


def as_failure(profile: str, part: HostStatus | ForwardStatus) -> Failure:
    """The last error of a host or forward, with the name of its profile."""
    where = f"{profile}/{part.name}"
    if part.last_error is None:
        return sentences.part_not_up(where, part.state)
    return error_of(part).but(subject=where)


def troubles(profile: ProfileStatus) -> list[str]:
    """Why it is not ready: the last error of each part that is not up; without any, the states of
    its hosts."""
    errors = [
        f"{part.name}: {part.last_error.message}"
        for part in profile.parts
        if part.state != "up" and part.last_error
    ]
    states = [f"{host.name} is {host.state}" for host in profile.hosts]
    return list(dict.fromkeys(errors or states))
