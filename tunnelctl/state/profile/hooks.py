"""Selects the hook for a change of a profile's state. Pure."""

from __future__ import annotations

from enum import StrEnum

from tunnelctl.state.documents.snapshot import ProfileState


class Hook(StrEnum):
    """The keys of `hooks` in a profile."""

    ON_UP = "on_up"
    ON_DOWN = "on_down"
    ON_FAILED = "on_failed"


def hook_of(before: ProfileState | None, now: ProfileState) -> Hook | None:
    """The hook for a change between two states. Every `up` is followed by a `down`, unless the
    profile fails permanently."""
    if now is before:
        return None
    if now is ProfileState.UP:
        return Hook.ON_UP
    if now is ProfileState.FAILED:
        return Hook.ON_FAILED
    return Hook.ON_DOWN if before is ProfileState.UP else None
