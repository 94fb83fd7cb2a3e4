"""`daemon`: be it, in the foreground or as the one that another command starts."""

from __future__ import annotations

import os

import click

from tunnelctl.cli import complete
from tunnelctl.config.paths import Paths


@click.command(epilog="Example: tunnelctl daemon dev --watch")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete.profiles)
@click.option("--watch", is_flag=True, help="Reload a profile when its file changes.")
@click.option("--report-to", type=int, hidden=True, help="A pipe: be a background daemon.")
def daemon(profiles: tuple[str, ...], watch: bool, report_to: int | None) -> None:
    """Be the daemon in the foreground: bring profiles up, log to stderr, stay until told to end.

    What was wanted up when the last daemon ended is brought up too. SIGHUP reads the files again
    and applies what differs, SIGUSR1 tries again at once, SIGTERM and Ctrl-C end it in order,
    within ten seconds.
    """
    if report_to is not None and os.fork():
        # The command that started us waits for this process only, not for the daemon.
        os._exit(0)
    from tunnelctl.daemon.process import (
        Background,
        Settings,
        run,
    )  # heavy: only for the daemon itself

    background = None if report_to is None else Background(report_to)
    paths = Paths.from_environ(os.environ)
    run(Settings(paths, profiles, background, watch), os.environ)
