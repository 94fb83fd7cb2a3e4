"""The progress of a profile in words, from the status document and its events.

Pure. The end of a wait is decided in `state/profile/readiness.py`; this says what that means for
the caller, and what Ctrl-C will do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from tunnelctl.cli import sentences
from tunnelctl.errors import Failure
from tunnelctl.state.documents.snapshot import (
    LISTENS_THERE,
    ForwardState,
    ForwardStatus,
    ProfileStatus,
    Wanted,
)
from tunnelctl.state.documents.status_events import SAYS, EventKind, StatusEvent
from tunnelctl.state.profile.readiness import troubles
from tunnelctl.view.texts import listen_addresses, listen_text


def not_ready(profile: ProfileStatus, seconds: float, *, stays_wanted: bool) -> Failure:
    """The message for a profile that took too long, with the last error of each part."""
    failure = sentences.not_ready_but_wanted if stays_wanted else sentences.not_ready_and_given_up
    return failure(profile.name, seconds, troubles(profile))


def stays(profile: ProfileStatus) -> bool:
    """Whether a profile that one attached command holds stays up when that command ends."""
    return bool(profile.holders.after_a_command())


def held_by_others(profile: ProfileStatus) -> str:
    """The reason why it stays."""
    left = profile.holders.after_a_command()
    if left.detached or left.service:
        return f"held until tunnelctl down {profile.name}"
    others = "another command" if left.commands == 1 else f"{left.commands} other commands"
    return f"held by {others}"


def promise(profiles: Iterable[ProfileStatus]) -> str:
    """The effect of Ctrl-C on the profiles of an attached command, as one line."""
    wanted = [profile for profile in profiles if profile.wanted is Wanted.UP]
    left = [f"{one.name} up ({held_by_others(one)})" for one in wanted if stays(one)]
    if not left:
        return "Ctrl-C ends it."
    ends = [profile.name for profile in wanted if not stays(profile)]
    before = f"ends {', '.join(ends)} and " if ends else ""
    return f"Ctrl-C {before}leaves {', '.join(left)}."


def forwarding_lines(profile: ProfileStatus) -> Iterator[str]:
    """A line for each listening address, e.g. `Forwarding from 127.0.0.1:5432 -> db:5432`."""
    for forward in profile.forwards:
        if forward.state is ForwardState.UP:
            target = forward.target or "SOCKS"
            for listen in _listens(forward):
                yield (
                    f"Forwarding from {listen} -> {target} "
                    f"({profile.name}/{forward.name}, via {forward.via})"
                )


def _listens(forward: ForwardStatus) -> Iterator[str]:
    if forward.type in LISTENS_THERE:
        yield listen_text(forward)
    else:
        yield from map(str, listen_addresses(forward))


def is_said(event: StatusEvent) -> bool:
    """Whether an event is a line that a server printed in its session."""
    return event.kind is EventKind.HOST and event.message.startswith(SAYS)


def event_text(event: StatusEvent) -> str:
    """An event as one line, in local time."""
    moment = datetime.fromisoformat(event.at).astimezone().strftime("%H:%M:%S")
    subject = f"{event.profile}/{event.name}" if event.name else event.profile
    message = f": {event.message}" if event.message else ""
    return f"{moment}  {event.kind} {subject} {event.state}{message}"
