"""`daemon`: be it, in the foreground or as the one that another command starts."""

from __future__ import annotations

import os

import click

from tunnelctl.config.paths import Paths


@click.command()
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...")
@click.option("--report-to", type=int, hidden=True, help="A pipe: be a background daemon.")
def daemon(profiles: tuple[str, ...], report_to: int | None) -> None:
    """Be the daemon in the foreground: bring profiles up, log to stderr, stay until told to end.

    SIGTERM and Ctrl-C end it in order, within ten seconds.
    """
    if report_to is not None and os.fork():
        # The command that started us waits for this process only, not for the daemon.
        os._exit(0)
    from tunnelctl.daemon.process import Background, run  # heavy: only for the daemon itself

    background = None if report_to is None else Background(report_to)
    run(Paths.from_environ(os.environ), profiles, os.environ, background)
