"""Actions, carried out through the control API.

Blocks: called in threads. Must never raise anything but a Failure.
"""

from __future__ import annotations

from collections.abc import Callable

from tunnelctl.client import Client
from tunnelctl.spec.drain import DRAIN
from tunnelctl.spec.environment import Environment
from tunnelctl.view.actions import Action, Verb

# What the screen can do itself; everything else is a command for a shell.
POSSIBLE = frozenset({Verb.UP, Verb.DOWN, Verb.RESTART, Verb.CLOSE})


def carry_out(
    client: Client, action: Action, source: str, environment: Callable[[], Environment]
) -> str:
    """Do it; what was done, in one line. `source` is the file of its profile.

    Raises:
        Failure: the daemon refused it, or went away.
    """
    profile = action.profile
    if action.verb is Verb.UP:
        client.up(profile, source, environment(), None)
        return f"{profile}: coming up"
    if action.verb is Verb.DOWN:
        client.begin_down(profile, DRAIN).answer()
        return f"{profile} is down"
    if action.verb is Verb.RESTART:
        hosts = [action.host] if action.host else []
        client.restart(profile, environment(), hosts)
        return f"{profile}: reconnecting {action.host or 'every host'}"
    assert action.verb is Verb.CLOSE
    client.close_connection(action.connection)
    return f"connection {action.connection} is closed"
