"""`answer`: answers the questions of one host."""

from __future__ import annotations

import os

import click

from tunnelctl.cli import caller, sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.asking import Asker, somebody_can_be_asked
from tunnelctl.cli.terminal.output import say
from tunnelctl.client import Client
from tunnelctl.errors import PLACE, Code
from tunnelctl.state.documents.snapshot import HostState, HostStatus
from tunnelctl.state.profile.readiness import as_failure

_TRIES = frozenset({HostState.CONNECTING, HostState.AUTHENTICATING})
_WANTS_NOTHING = frozenset({HostState.UP, HostState.IDLE})
_ASKS = frozenset({Code.NEEDS_INPUT, Code.HOST_KEY_UNKNOWN})
_LOOK_EVERY = 1.0  # seconds; there is no event if a host cannot replace its fallback


@click.command(epilog="Example: tunnelctl answer dev/bastion")
@click.argument("place", metavar=PLACE, shell_complete=complete.hosts)
@click.option(
    "--remember",
    is_flag=True,
    help="Keep a passphrase or password in the daemon's memory until it exits.",
)
@click.pass_obj
def answer(options: Options, place: str, remember: bool) -> None:
    """Answer the questions of a host in needs-input: a passphrase, a password, a code.

    The host tries again at once and asks here; the command returns when the host is up. SSH_ASKPASS
    and SSH_ASKPASS_REQUIRE work as with ssh. A passphrase or password ended with Tab instead of
    Enter is kept for reconnects, too.
    """
    profile, slash, name = place.partition("/")
    if not (profile and slash and name):
        raise click.UsageError(f"{place!r} is not {PLACE}")
    client = options.client
    if _wants_nothing(_host(client, profile, name)):
        say(f"{place} has no question")
        return
    if not somebody_can_be_asked(os.environ):
        raise sentences.nobody_to_answer(place)
    client.hear(profile, caller.to_send())
    with client.events(answers=[place]) as stream:
        asker = Asker(client, stream, remember=remember)
        while _is_trying(host := _host(client, profile, name)):
            asker.next(_LOOK_EVERY)
    if host.fallback is not None or host.state not in _WANTS_NOTHING:
        raise as_failure(profile, host)
    say(f"{place} is {host.state}")


def _wants_nothing(host: HostStatus) -> bool:
    """Whether the host asks nothing. While a fallback serves, the host itself may still ask."""
    asks = (
        host.fallback is not None and host.last_error is not None and host.last_error.code in _ASKS
    )
    return host.state in _WANTS_NOTHING and not asks


def _is_trying(host: HostStatus) -> bool:
    return host.state in _TRIES or host.returning


def _host(client: Client, profile: str, name: str) -> HostStatus:
    """The host in the status.

    Raises:
        Failure: PROFILE_NOT_FOUND; NAME_TAKEN, it is up from another file.
    """
    document = client.status().profiles
    for found in document:
        if found.name == profile:
            selection.demand_ours(selection.sources([found]), [profile])
            for host in found.hosts:
                if host.name == name:
                    return host
            known = [host.name for host in found.hosts]
            raise sentences.no_such_host(profile, name, known)
    raise selection.not_up(profile, [found.name for found in document])
