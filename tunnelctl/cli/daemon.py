"""`daemon`: be it, in the foreground or as the one that another command starts."""

from __future__ import annotations

import os

import click

from tunnelctl.cli import caller, complete
from tunnelctl.config.paths import Paths


@click.command(epilog="Example: tunnelctl daemon dev --watch")
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete.profiles)
@click.option("--watch", is_flag=True, help="Reload a profile when its file changes.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json", "journald"]),
    default="auto",
    show_default=True,
    help="Of the lines on stderr; auto: journald's where it reads them, else text.",
)
@click.option("--report-to", type=int, hidden=True, help="A pipe: be a background daemon.")
def daemon(profiles: tuple[str, ...], watch: bool, log_format: str, report_to: int | None) -> None:
    """Be the daemon in the foreground: bring profiles up, log to stderr, stay until told to end.

    What was wanted up when the last daemon ended is brought up too. SIGHUP reads the files again
    and applies what differs, SIGUSR1 tries again at once, SIGTERM and Ctrl-C end it in order,
    within ten seconds.
    """
    if report_to is not None and os.fork():
        # The command that started us waits for this process only, not for the daemon.
        os._exit(0)
    # Heavy: only for the daemon itself.
    from tunnelctl.daemon.logs import LogFormat
    from tunnelctl.daemon.process import Background, Settings, run

    background = None if report_to is None else Background(report_to)
    paths = Paths.from_environ(os.environ)
    run(Settings(paths, profiles, background, watch, LogFormat(log_format)), caller.environment())
