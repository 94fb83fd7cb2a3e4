"""`run`: a command that has its tunnels for as long as it runs, and no longer.

Owns the environment that the command is given and the signals that reach it. The profile is held
by a lease: however this process ends, what it brought up goes down.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import click

from tunnelctl.cli import complete
from tunnelctl.cli.durations import Duration
from tunnelctl.cli.main import Options
from tunnelctl.cli.output import say
from tunnelctl.cli.session import Session, ended_in_order, ensure_daemon_of_ours, plans_of, watch
from tunnelctl.cli.table import listen_addresses
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import Endpoint

# What a shell exits with for a command that it cannot start (POSIX, 2.8.2).
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_FROM_SIGNAL = 128
_PASSED_ON = frozenset(
    {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
)
# What a terminal sends to a whole group of processes by itself, the command among them.
_OF_THE_TERMINAL = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGHUP})
_SI_KERNEL = 128  # sigaction(2) si_code: nobody's kill(2)


@click.command(
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example: tunnelctl run dev -- sh -c 'psql -h $TUNNELCTL_DB_HOST -p $TUNNELCTL_DB_PORT'",
)
@click.option(
    "--wait-timeout", type=Duration(), default="30s", show_default=True, help="How long to wait."
)
@click.argument("profile", shell_complete=complete.profiles)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="[--] CMD...")
@click.pass_obj
def run(options: Options, profile: str, command: tuple[str, ...], wait_timeout: float) -> int:
    """Bring a profile up, run a command, take the profile down; the command's exit code.

    The command finds each forward's address in TUNNELCTL_<FORWARD>_HOST, _PORT and _ADDRESS.
    A profile that was up before stays up.
    """
    if command[0] == "--":
        command = command[1:]
    elif command[0].startswith("-"):
        raise click.UsageError(
            f"options come before PROFILE, and -- before a command that is called {command[0]}"
        )
    if not command:
        raise click.UsageError("no command to run")
    plans = plans_of([profile], options.file)
    client = options.client
    ensure_daemon_of_ours(client)
    lease = secrets.token_hex(16)
    with ended_in_order(), client.events(lease), watch(client, None, plans) as stream:
        session = Session(client, stream, plans, for_command=True)
        try:
            session.bring_up(lease, wait_timeout)
            stream.close()  # from now on the terminal is the command's
            environ = {**os.environ, **addresses(session.profiles()[plans[0].name])}
            return _run(command, environ)
        finally:
            session.take_down()


def addresses(profile: Mapping[str, Any]) -> dict[str, str]:
    """The variables for the forwards that listen, from a profile of the status document.

    Raises:
        Failure: two forwards would share a variable.
    """
    named: dict[str, str] = {}
    variables: dict[str, str] = {}
    for forward in profile["forwards"]:
        word = re.sub("[^A-Z0-9]", "_", forward["name"].upper())
        if word in named:
            raise Failure(
                Code.CONFIG_INVALID,
                f"{profile['name']}: forwards {named[word]} and {forward['name']} would both be "
                f"TUNNELCTL_{word}_PORT",
                "rename one of them",
            )
        named[word] = forward["name"]
        if forward["state"] == "up":
            endpoint = listen_addresses(forward)[0]
            variables.update(_variables(f"TUNNELCTL_{word}", endpoint))
    return variables


def _variables(prefix: str, endpoint: Endpoint) -> dict[str, str]:
    address = {f"{prefix}_ADDRESS": str(endpoint)}
    if endpoint.is_unix:
        return address
    return {f"{prefix}_HOST": endpoint.host, f"{prefix}_PORT": str(endpoint.port), **address}


def _run(command: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run it to its end and pass signals on; its exit code, as a shell has it."""
    waited_for = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited_for)
    try:
        child = subprocess.Popen(  # noqa: S603 - the user's own command
            command,
            env=environ,
            # The mask is inherited; there is no other thread that could hold a lock here.
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before),  # noqa: PLW1509
        )
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        say(f"{command[0]} cannot be run: {error.strerror}")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
    while child.poll() is None:
        received = signal.sigwaitinfo(waited_for)
        number = signal.Signals(received.si_signo)
        by_terminal = number in _OF_THE_TERMINAL and received.si_code == _SI_KERNEL
        if number in _PASSED_ON and not by_terminal and child.poll() is None:
            child.send_signal(number)
    # What came for us meanwhile was the command's: it must not end the taking down.
    while signal.sigtimedwait(waited_for, 0) is not None:
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = child.returncode
    return code if code >= 0 else _FROM_SIGNAL - code
