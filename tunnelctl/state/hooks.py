"""Which hook a change of a profile's state calls for. Pure."""

from __future__ import annotations

from enum import StrEnum

from tunnelctl.state.snapshot import ProfileState


class Hook(StrEnum):
    """The keys of `hooks` in a profile."""

    ON_UP = "on_up"
    ON_DOWN = "on_down"
    ON_FAILED = "on_failed"


def hook_of(before: ProfileState | None, now: ProfileState) -> Hook | None:
    """The hook of a change from one state to another; each time up is followed by one down, unless
    it fails for good."""
    if now is before:
        return None
    if now is ProfileState.UP:
        return Hook.ON_UP
    if now is ProfileState.FAILED:
        return Hook.ON_FAILED
    return Hook.ON_DOWN if before is ProfileState.UP else None
