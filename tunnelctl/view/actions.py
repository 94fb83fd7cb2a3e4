"""The actions on a row, each with the command that does the same.

Pure. Owns the commands' texts, which a shell reads as they stand. Must never carry out an action.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from tunnelctl.errors import Code
from tunnelctl.state.documents.snapshot import ErrorStatus, HostState, HostStatus


class Verb(StrEnum):
    """The actions, named as the commands are."""

    UP = "up"
    DOWN = "down"
    RESTART = "restart"
    CLOSE = "close"  # a connection
    ANSWER = "answer"
    TRUST = "trust"
    DOCTOR = "doctor"
    CHECK = "check"


class Action(NamedTuple):
    """One action: `command` does the same in a shell.

    For a face that does it itself through the control API: `profile`, and in addition the `host`,
    or the id of the `connection` that it is about; both are empty otherwise.
    """

    verb: Verb
    command: str
    profile: str
    host: str = ""
    connection: str = ""


def of_profile(profile: str, *, is_wanted: bool) -> tuple[Action, ...]:
    """The actions for a profile."""
    return (restart(profile), down(profile), doctor(profile)) if is_wanted else (up(profile),)


def of_host(
    profile: str, host: str, *, is_wanted: bool, mend: Action | None = None
) -> tuple[Action, ...]:
    """The actions for a host, or for a forward through it; what mends it comes first."""
    if not is_wanted:
        return (up(profile),)
    usual = (restart(profile, host), down(profile), doctor(profile))
    return usual if mend is None else (mend, *(one for one in usual if one != mend))


def up(profile: str) -> Action:
    """Bring a profile up, and return."""
    return _action(Verb.UP, profile, "", f"up {shlex.quote(profile)} -d")


def down(profile: str) -> Action:
    """Take a profile down."""
    return _action(Verb.DOWN, profile)


def restart(profile: str, host: str = "") -> Action:
    """Reconnect a host, or every host of a profile."""
    return _action(Verb.RESTART, profile, host)


def doctor(profile: str) -> Action:
    """Diagnose the paths of a profile."""
    return _action(Verb.DOCTOR, profile)


def check(profile: str) -> Action:
    """Report the mistakes in the file of a profile."""
    return _action(Verb.CHECK, profile)


def close(connection: str, profile: str) -> Action:
    """Reset a connection."""
    command = f"tunnelctl connections --close {shlex.quote(connection)}"
    return Action(Verb.CLOSE, command, profile, connection=connection)


def question(action: Action, clients: Mapping[str, int]) -> str:
    """What a face asks before an action, as it disconnects clients; empty if it asks nothing.

    `clients` are the numbers of those that are connected, by PROFILE and PROFILE/HOST.
    """
    place = f"{action.profile}/{action.host}" if action.host else action.profile
    count = clients.get(place, 0)
    connected = f" {count} client{' is' if count == 1 else 's are'} connected." if count else ""
    match action.verb:
        case Verb.DOWN:
            return f"Take {action.profile} down?{connected}"
        case Verb.RESTART if count:
            return f"Reconnect {action.host or 'every host'} of {action.profile}?{connected}"
        case Verb.CLOSE:
            return f"Reset connection {action.connection}?"
    return ""


def mend_host(profile: str, host: HostStatus) -> Action:
    """The action for a host in trouble. A host that is retried can be retried now; what a person
    has to decide, or to find out, has its own command."""
    code = host.last_error.code if host.last_error else ""
    if code == Code.HOST_KEY_UNKNOWN:
        return _action(Verb.TRUST, profile, host.name)
    if host.state is HostState.NEEDS_INPUT:
        return _action(Verb.ANSWER, profile, host.name)
    # `restart` also gives the daemon the environment of the shell, with its agent and secrets.
    if code in (Code.AGENT_UNAVAILABLE, Code.SECRET_UNAVAILABLE):
        return restart(profile, host.name)
    is_tried = host.state in (HostState.BACKOFF, HostState.CONNECTING, HostState.AUTHENTICATING)
    return restart(profile, host.name) if is_tried else doctor(profile)


def mend_profile(profile: str, error: ErrorStatus) -> Action:
    """The action for a profile whose file is not what runs."""
    return check(profile) if error.code == Code.CONFIG_INVALID else doctor(profile)


def replay(place: str, number: int) -> str:
    """The command that sends a request of an inspected forward, PROFILE/FORWARD, again."""
    return f"tunnelctl requests {shlex.quote(place)} --replay {number}"


def _action(verb: Verb, profile: str, host: str = "", words: str = "") -> Action:
    place = shlex.quote(f"{profile}/{host}" if host else profile)
    return Action(verb, f"tunnelctl {words or f'{verb} {place}'}", profile, host)
