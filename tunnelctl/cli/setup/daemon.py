"""`daemon`: be it, in the foreground or as the one that another command starts."""

from __future__ import annotations

import ipaddress
import os
from typing import Any

import click

from tunnelctl.cli import caller
from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.output import say
from tunnelctl.client import Client
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import Paths
from tunnelctl.spec.endpoint import LOCALHOST, Endpoint, parse_endpoint

_STOP = "stop"


class _MetricsAddress(click.ParamType[Endpoint]):
    """`9469`, `127.0.0.1:9469`, `[::1]:9469`, or another address that is given as such."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Endpoint:
        """Read one. A name may be anywhere tomorrow: it is refused."""
        try:
            address = parse_endpoint(value)
            if address.is_unix or address.host != LOCALHOST:
                ipaddress.ip_address(address.host)
        except ValueError as error:
            self.fail(f"{error}; write PORT, or an address of this machine as 127.0.0.1:PORT")
        return address


@click.command(
    epilog="Examples: tunnelctl daemon dev --watch --metrics 9469; tunnelctl daemon stop"
)
@click.argument(
    "profiles", nargs=-1, metavar="[PROFILE]... | stop", shell_complete=complete.profiles_or_stop
)
@click.option("--watch", is_flag=True, help="Reload a profile when its file changes.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json", "journald"]),
    default="auto",
    show_default=True,
    help="Of the lines on stderr; auto: journald's where it reads them, else text.",
)
@click.option(
    "--metrics",
    type=_MetricsAddress(),
    help="Serve GET /metrics over TCP, and nothing else; a bare port is on 127.0.0.1.",
)
@click.option("--report-to", type=int, hidden=True, help="A pipe: be a background daemon.")
@click.pass_obj
def daemon(
    options: Options,
    profiles: tuple[str, ...],
    watch: bool,
    log_format: str,
    metrics: Endpoint | None,
    report_to: int | None,
) -> None:
    """Be the daemon in the foreground: bring profiles up, log to stderr, stay until told to end.

    What was wanted up when the last daemon ended is brought up too. SIGHUP reads the files again
    and applies what differs, SIGUSR1 tries again at once, SIGTERM and Ctrl-C end it in order,
    within ten seconds.

    `daemon stop` ends the one that runs, in order, and with it all that is up. What is wanted up
    comes up again with the next one.
    """
    if profiles == (_STOP,):
        _stop(options.client)
        return
    if report_to is not None and os.fork():
        # The command that started us waits for this process only, not for the daemon.
        os._exit(0)
    # Heavy: only for the daemon itself.
    from tunnelctl.daemon.log.destinations import LogFormat
    from tunnelctl.daemon.process import Detached, Settings, run

    background = None if report_to is None else Detached(report_to)
    paths = Paths.from_environ(os.environ)
    form = LogFormat(log_format)
    run(Settings(paths, profiles, background, watch, metrics, form), caller.environment())


def _stop(client: Client) -> None:
    """End the daemon that runs.

    Raises:
        Failure: DAEMON_NOT_RUNNING, none does; NOT_UP, it goes on for longer than it should.
    """
    document = client.status()
    pid = document["daemon"]["pid"]
    if not client.stop_daemon():
        raise Failure(Code.NOT_UP, f"the daemon has not ended yet (pid {pid})", "tunnelctl logs -f")
    say(f"the daemon has ended (pid {pid})")
    wanted = [profile["name"] for profile in document["profiles"] if profile["wanted"] == "up"]
    if wanted:
        say(f"still wanted, and up again with the next one: {', '.join(wanted)}")
