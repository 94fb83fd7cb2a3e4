"""The state of a row in a few words, and in one of seven conditions.

Pure: the time is an argument. Must never say `up` of a forward whose host is not.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from tunnelctl.state.documents.snapshot import (
    FAILED_FOR_GOOD,
    ForwardState,
    ForwardStatus,
    Health,
    HostState,
    HostStatus,
    ProfileState,
    ProfileStatus,
)
from tunnelctl.view.texts import until_text


class Condition(StrEnum):
    """The condition of a row, in the words of the summary; the order is that of the rows."""

    FAILED = "failed"
    NOT_UP = "not up"
    UNHEALTHY = "unhealthy"  # up, and its target is not
    IDLE = "idle"  # listens, and connects for its first client
    UP = "up"
    STANDBY = "standby"  # another machine of the fleet runs it
    STOPPED = "stopped"


RANK = {condition: rank for rank, condition in enumerate(Condition)}


class ShownState(NamedTuple):
    """The text of a state, and its condition."""

    text: str
    condition: Condition


_OF_HOSTS = {
    HostState.IDLE: Condition.IDLE,
    HostState.UP: Condition.UP,
    HostState.FAILED: Condition.FAILED,
    HostState.NEEDS_INPUT: Condition.FAILED,
    HostState.STOPPING: Condition.STOPPED,
    HostState.STOPPED: Condition.STOPPED,
}
_OF_PROFILES = {
    ProfileState.UP: Condition.UP,
    ProfileState.STANDBY: Condition.STANDBY,
    ProfileState.FAILED: Condition.FAILED,
    ProfileState.STOPPING: Condition.STOPPED,
    ProfileState.STOPPED: Condition.STOPPED,
}


def of_forward(forward: ForwardStatus, host: HostStatus, now: datetime) -> ShownState:
    """The state of a forward whose host is `host`: `up (healthy)`, `retry in 7s (#4)`."""
    state, error = forward.state, forward.last_error
    if state is ForwardState.STOPPED:
        return ShownState("stopped", Condition.STOPPED)
    if host.state in (HostState.STOPPING, HostState.STOPPED):
        return ShownState("stopping", Condition.STOPPED)
    if state is ForwardState.FAILED:
        return ShownState(f"failed: {error.code}" if error else "failed", Condition.FAILED)
    if host.state is not HostState.UP:
        return of_host(host, now)
    if state is not ForwardState.UP:
        return ShownState(state, Condition.NOT_UP)
    if forward.health is Health.UNKNOWN:
        return ShownState(state, Condition.UP)
    is_unhealthy = forward.health is Health.UNHEALTHY
    condition = Condition.UNHEALTHY if is_unhealthy else Condition.UP
    return ShownState(f"up ({forward.health})", condition)


def of_host(host: HostStatus, now: datetime) -> ShownState:
    """The state of a host: `up`, `connecting (queued)`, `needs-input: auth-failed`."""
    condition = _OF_HOSTS.get(host.state, Condition.NOT_UP)
    if host.state is HostState.BACKOFF:
        text = f"retry in {until_text(host.next_retry_at, now)} (#{host.attempts})"
        return ShownState(text, condition)
    if host.state in FAILED_FOR_GOOD:
        cause = host.last_error.code if host.last_error else host.state
        # A host without a terminal to ask is in needs-input because of needs-input.
        text = host.state if cause == host.state else f"{host.state}: {cause}"
        return ShownState(text, condition)
    return ShownState(f"{host.state} (queued)" if host.queued else host.state, condition)


def of_profile(profile: ProfileStatus) -> ShownState:
    """The state of a profile: `up`, `standby (on m2)`, `failed: config-invalid`."""
    if profile.state is ProfileState.STANDBY and profile.fleet is not None:
        return ShownState(str(profile.fleet), Condition.STANDBY)
    error = profile.last_error
    text = f"{profile.state}: {error.code}" if error else profile.state
    return ShownState(text, _OF_PROFILES.get(profile.state, Condition.NOT_UP))
