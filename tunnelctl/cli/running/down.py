"""`down` and `restart`: orders for profiles in the daemon."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import click

from tunnelctl.cli import caller, sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.duration import Duration
from tunnelctl.cli.terminal.output import say
from tunnelctl.client import DaemonElsewhere, SocketUnusable
from tunnelctl.clock import monotonic
from tunnelctl.config.profile.find import find_profile, list_profiles
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import Paths, current_folder
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.patterns import has_wildcard
from tunnelctl.state.documents.snapshot import ProfileState, ProfileStatus, Wanted

_STARTS_WITHIN, _LOOKS_EVERY = 15.0, 0.05  # seconds for a daemon that is starting or stopping


@click.command(
    epilog="Examples: tunnelctl down dev; tunnelctl down 'dev*' -t 1m; tunnelctl down --all"
)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete.running)
@click.option("--all", "everything", is_flag=True, help="Every profile.")
@click.option(
    "-t",
    "--timeout",
    type=Duration(),
    default="10s",
    show_default=True,
    help="Time to let open connections end before they are closed.",
)
@click.option(
    "--force", is_flag=True, help="Also take down a profile of that name from another file."
)
@click.pass_obj
def down(
    options: Options, profiles: tuple[str, ...], everything: bool, timeout: float, force: bool
) -> None:
    """Take profiles down (default: `default`), after their connections have ended.

    Attached commands that hold the profiles end too. A daemon that was started by a command exits
    once no profile is wanted up.
    """
    if everything and profiles:
        raise click.UsageError("name profiles or give --all, not both")
    choice = _Choice(profiles, everything=everything, force=force)
    deadline = monotonic() + _STARTS_WITHIN
    while True:
        try:
            known = selection.sources(_wanted(options.client.status().profiles))
        except Failure as failure:
            elsewhere = failure if isinstance(failure, DaemonElsewhere) else None
            if failure.code is not Code.DAEMON_NOT_RUNNING or isinstance(failure, SocketUnusable):
                raise
            if elsewhere is not None and elsewhere.is_the_users:
                raise
            if _forget(options.client.paths, choice):
                if elsewhere is not None:
                    say(str(elsewhere))
                return
            if monotonic() > deadline:  # one that neither answers nor ends
                raise
            select.select([], [], [], _LOOKS_EVERY)
            continue
        orders = [(name, options.client.begin_down(name, timeout)) for name in choice.of(known)]
        for name, order in orders:
            order.answer()
            say(f"{name} is down")
        return


@click.command(epilog="Examples: tunnelctl restart dev; tunnelctl restart dev/bastion")
@click.argument("places", nargs=-1, metavar="[PROFILE[/HOST]]...", shell_complete=complete.tunnels)
@click.pass_obj
def restart(options: Options, places: tuple[str, ...]) -> None:
    """Reconnect the hosts of profiles now (default: all profiles that are wanted up).

    Local ports stay bound; new clients wait. Wildcards are accepted.
    """
    known = options.client.status().profiles
    wanted = _wanted(known)
    names = [profile.name for profile in wanted]
    chosen = selection.hosts(wanted, places or names, [profile.name for profile in known])
    if places:
        selection.demand_ours(selection.sources(wanted), chosen)
    for name, hosts in chosen.items():
        options.client.restart(name, caller.to_send(), hosts)
        say(f"{name}: reconnecting {', '.join(hosts) or 'every host'}")
    if not (places or names):
        say("no profile is up: nothing to reconnect")


def _wanted(profiles: Iterable[ProfileStatus]) -> list[ProfileStatus]:
    # One that is stopping can be told to hurry.
    return [p for p in profiles if p.wanted is Wanted.UP or p.state is ProfileState.STOPPING]


def _forget(paths: Paths, choice: _Choice) -> bool:
    """Clear the list for the next daemon; False if one is starting."""
    from tunnelctl.daemon.control_socket import in_place_of_a_daemon  # only for this
    from tunnelctl.daemon.wanted.saved import load, store

    try:
        wanted = load(paths.wanted_file).profiles
    except (OSError, ValueError):  # none of them would be started
        wanted = ()
    if not wanted:
        say("no daemon is running, so nothing is up")
        return True
    with in_place_of_a_daemon(paths) as is_ours:
        if not is_ours:
            return False
        last = load(paths.wanted_file)
        wanted = last.profiles
        names = choice.of({one.name: one.file for one in wanted})
        if names:
            kept = tuple(one for one in wanted if one.name not in names)
            store(paths.wanted_file, str(paths.socket), replace(last, profiles=kept))
    for name in names:
        say(f"{name} is down: no daemon is running, and the next one will not bring it up")
    return True


@dataclass(frozen=True, slots=True)
class _Choice:
    """The profiles to take down: `words`, or `everything`; `force`: regardless of their files."""

    words: Sequence[str]
    everything: bool
    force: bool

    def of(self, known: Mapping[str, str]) -> list[str]:
        """The `known` profiles among those named, with their files.

        Raises:
            click.UsageError: nothing is named, and there is no `default`.
            Failure: PROFILE_NOT_FOUND, a name that means nothing; NAME_TAKEN, one that is not from
                the file that the name means here.
        """
        wanted = list(known)
        if self.everything:
            if not wanted:
                say("nothing is up")
            return wanted
        names = _named(self.words, wanted)
        if not self.force:
            selection.demand_ours(known, names, sentences.another_file_kept_up)
        return names


def _named(names: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """The profiles to take down; one that exists and is not up is skipped."""
    chosen: list[str] = []
    for name in dict.fromkeys(names or ["default"]):
        if has_wildcard(name):
            files = [found.name for found in list_profiles(os.environ, current_folder())]
            meant = selection.profiles([name], dict.fromkeys([*wanted, *files]))
            running = [one for one in meant if one in wanted]
            if not running:
                say(f"no profile that matches {name} is up")
            chosen += running
        elif name in wanted:
            chosen.append(name)
        elif names:
            find_profile(name, environ=os.environ, cwd=current_folder(), others=wanted)
            say(f"profile {name} is not up")
        else:
            up = f"; up now: {', '.join(wanted)}" if wanted else ""
            raise click.UsageError(f"name a profile, or give --all{up}")
    return list(dict.fromkeys(chosen))
