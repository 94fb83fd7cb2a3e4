"""`run`: run a command with its tunnels up, then take them down.

Owns the environment of the command and the signals passed to it. A lease holds the profiles: it
ends with this process, however that ends.
"""

from __future__ import annotations

import dataclasses
import os
import re
import secrets
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from tunnelctl.cli import sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.profiles.profile_files import names_of
from tunnelctl.cli.running import adhoc
from tunnelctl.cli.running.adhoc import AdHoc, SshLine
from tunnelctl.cli.running.holding import (
    CheckedProfile,
    Holding,
    ended_in_order,
    ensure_daemon_of_ours,
    plans_of,
    watch,
)
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.duration import Duration
from tunnelctl.cli.terminal.output import say
from tunnelctl.client import Client
from tunnelctl.config.profile.find import find_profile
from tunnelctl.errors import Failure, reason
from tunnelctl.home.paths import current_folder
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.state.documents.snapshot import ForwardState, ProfileStatus
from tunnelctl.view.texts import listen_addresses

if TYPE_CHECKING:
    from tunnelctl.config.exchange.ssh_words import Words

# What a shell exits with for a command that it cannot start (POSIX, 2.8.2).
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_FROM_SIGNAL = 128
_PASSED_ON = frozenset(
    {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
)
# Signals that a terminal sends to a whole process group, which includes the command.
_OF_THE_TERMINAL = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
_SI_KERNEL = 128  # sigaction(2) si_code: not from kill(2)


class RunLine(SshLine):
    """After the first word that is not an option, every word may belong to the command."""

    leading = True


@click.command(
    cls=RunLine,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Examples: tunnelctl run dev -- sh -c 'psql -h $TUNNELCTL_DB_HOST'; "
    "tunnelctl run -L 5432:db:5432 bastion -- psql -h 127.0.0.1",
)
@click.option(
    "--wait-timeout",
    type=Duration(),
    default="30s",
    show_default=True,
    help="Time to wait until ready.",
)
@adhoc.options
@click.argument(
    "words",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="PROFILE... | HOST [--] CMD...",
    shell_complete=complete.profiles_or_host,
)
@click.pass_obj
def run(
    options: Options,
    words: tuple[str, ...],
    wait_timeout: float,
    name: str | None,
    permit: tuple[str, ...],
    allow: tuple[str, ...],
    replace: bool,
    line: Words | None,
) -> int:
    """Bring profiles up, run a command, then take them down. Exits with the command's exit code.

    The address of each forward is in the variables TUNNELCTL_<FORWARD>_HOST, _PORT and _ADDRESS;
    with several profiles also in TUNNELCTL_<PROFILE>_<FORWARD>_HOST, _PORT and _ADDRESS. Profiles
    that have another holder stay up. With -L, -R and -D the command takes the arguments of ssh and
    needs no profile.
    """
    client = options.client
    if line is not None:
        if options.file is not None:
            raise click.UsageError("with -L, -R and -D comes one HOST, and no file")
        command = _command(line.remote)
        asked = AdHoc(dataclasses.replace(line, remote=()), permit, allow, "run")
        unnamed, document = adhoc.name_and_document(asked)
        profile = adhoc.AdHocProfile(unnamed, document, name, replace)
        return profile.hold(
            client, lambda plans: _held(client, plans, command, wait_timeout, replace)
        )
    if permit or allow:
        raise click.UsageError("--permit and --allow go with -L, -R and -D")
    profiles, command = _parted(words)
    plans = plans_of(names_of(profiles), options.file, name, options.client)
    return _held(client, plans, command, wait_timeout, replace)


def _held(
    client: Client,
    plans: tuple[CheckedProfile, ...],
    command: Sequence[str],
    wait_timeout: float,
    replace: bool,
) -> int:
    ensure_daemon_of_ours(client, plans)
    lease = secrets.token_hex(16)
    with ended_in_order(), client.hold(lease), watch(client, None, plans) as stream:
        session = Holding(client, stream, plans, lease, for_command=True)
        try:
            session.bring_up(wait_timeout, replace=replace)
            stream.close()  # from here on the terminal belongs to the command
            environ = {**os.environ, **addresses(tuple(session.profiles().values()))}
            code = _run(command, environ)
            session.say_what_was_lost()
            return code
        finally:
            session.take_down()


def _parted(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Split the words into profiles and the command.

    `--` ends a list of profiles. As it may also be part of the command (`run dev kubectl exec pod
    -- ls`), the second word is a profile only if a profile has this name, or no program has.
    """
    if not words:
        raise click.UsageError("it is PROFILE... -- CMD..., and no profile is named")
    at = words.index("--") if "--" in words else 1
    profiles = words[:at]
    is_command = len(profiles) > 1 and not _is_profile(profiles[1]) and shutil.which(profiles[1])
    if is_command or any(word.startswith("-") for word in profiles):
        profiles = words[:1]
    rest = words[len(profiles) :]
    if rest and rest[0] != "--" and rest[0].startswith("-"):
        raise click.UsageError(
            f"options come before PROFILE, and -- before a command that is called {rest[0]}"
        )
    return tuple(profiles), _command(rest[1:] if rest[:1] == ("--",) else rest)


def _is_profile(word: str) -> bool:
    try:
        find_profile(word, environ=os.environ, cwd=current_folder())
    except Failure:
        return False
    return True


def _command(words: Sequence[str]) -> tuple[str, ...]:
    if not words:
        raise click.UsageError("no command to run")
    return tuple(words)


def addresses(profiles: Sequence[ProfileStatus]) -> dict[str, str]:
    """The variables for the forwards that listen, from profiles of the status document.

    With several profiles each forward has variables with the profile's name, and those without it
    where they are unique.

    Raises:
        Failure: two forwards would share a variable.
    """
    short = Counter(_word(rule.name) for profile in profiles for rule in profile.forwards)
    owners: dict[str, str] = {}
    variables: dict[str, str] = {}
    for profile in profiles:
        for rule in profile.forwards:
            word = _word(rule.name)
            words = [word] if len(profiles) == 1 else [f"{_word(profile.name)}_{word}"]
            if len(profiles) > 1 and short[word] == 1:
                words.append(word)
            for each in words:
                _own(owners, each, f"{profile.name}/{rule.name}")
                if rule.state is ForwardState.UP:
                    prefix = f"TUNNELCTL_{each}"
                    variables.update(_variables(prefix, listen_addresses(rule)[0]))
    return variables


def _word(name: str) -> str:
    return re.sub("[^A-Z0-9]", "_", name.upper())


def _own(owners: dict[str, str], word: str, forward: str) -> None:
    other = owners.setdefault(word, forward)
    if other != forward:
        raise sentences.same_variable(other, forward, word)


def _variables(prefix: str, endpoint: Endpoint) -> dict[str, str]:
    address = {f"{prefix}_ADDRESS": str(endpoint)}
    if endpoint.is_unix:
        return address
    return {f"{prefix}_HOST": endpoint.host, f"{prefix}_PORT": str(endpoint.port), **address}


def _run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command, pass signals on, and return its exit code as a shell does."""
    waited_for = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    try:
        child = subprocess.Popen(  # noqa: S603 - the user's own command
            command,
            env=environ,
            # The mask is inherited; there is no other thread that could hold a lock here.
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509 - see above
        )
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        say(f"{command[0]} cannot be run: {reason(error)}")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
    while child.poll() is None:
        received = signal.sigwaitinfo(waited_for)
        number = signal.Signals(received.si_signo)
        by_terminal = number in _OF_THE_TERMINAL and received.si_code == _SI_KERNEL
        if number in _PASSED_ON and not by_terminal and child.poll() is None:
            child.send_signal(number)
    # Signals received meanwhile were for the command; they must not interrupt the shutdown.
    while signal.sigtimedwait(waited_for, 0) is not None:
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = child.returncode
    return code if code >= 0 else _FROM_SIGNAL - code
