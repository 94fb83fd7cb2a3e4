"""`daemon`: run the daemon in the foreground, or as a background process of a command."""

from __future__ import annotations

import gc
import importlib.util
import ipaddress
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from tunnelctl.cli import caller, sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.output import say
from tunnelctl.client import Client
from tunnelctl.home.paths import Paths
from tunnelctl.spec.endpoint import LOCALHOST, Endpoint, parse_endpoint
from tunnelctl.state.documents.snapshot import Wanted

_STOP = "stop"
_AIOHTTP = "aiohttp"


class _MetricsAddress(click.ParamType[Endpoint]):
    """An address to listen on: `9469`, `127.0.0.1:9469`, `[::1]:9469`."""

    name = "address"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Endpoint:
        """Parse an address. Names are refused: they may resolve differently later."""
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
    help="Format of the log on stderr; auto: journald if stderr is the journal, else text.",
)
@click.option(
    "--metrics",
    type=_MetricsAddress(),
    help="Serve only GET /metrics over TCP; a bare port is on 127.0.0.1.",
)
@click.option(
    "--fleet",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Join the fleet of this file: exactly one of its machines runs each profile.",
)
@click.option("--report-to", type=int, hidden=True, help="A pipe: run as a background daemon.")
@click.pass_obj
def daemon(
    options: Options,
    profiles: tuple[str, ...],
    watch: bool,
    log_format: str,
    metrics: Endpoint | None,
    fleet: Path | None,
    report_to: int | None,
) -> None:
    """Run the daemon in the foreground: bring profiles up and log to stderr until stopped.

    Profiles that were wanted up when the last daemon ended are brought up too. SIGHUP rereads the
    profiles and applies the differences, SIGUSR1 retries at once, SIGTERM and Ctrl-C stop the
    daemon cleanly within ten seconds.

    `daemon stop` stops the running daemon cleanly, with all its tunnels. The next daemon brings up
    the profiles that were wanted.
    """
    if profiles == (_STOP,):
        _stop(options.client)
        return
    if fleet is not None and not profiles:
        raise click.UsageError("--fleet needs the names of the profiles that the fleet runs")
    if report_to is not None and os.fork():
        # The command that started us waits for this process only, not for the daemon.
        os._exit(0)
    with quick_imports(server_only=fleet is None):  # heavy: only for the daemon itself
        from tunnelctl.daemon.log.destinations import LogFormat
        from tunnelctl.daemon.process import DaemonSettings, Detached, run

    background = None if report_to is None else Detached(report_to)
    paths = Paths.from_environ(os.environ)
    form = LogFormat(log_format)
    settings = DaemonSettings(paths, profiles, background, watch, metrics, form)
    if fleet is not None:
        from tunnelctl.fleet.file import load_fleet

        settings = replace(settings, fleet=load_fleet(fleet, os.environ))
    run(settings, caller.environment())


@contextmanager
def quick_imports(*, server_only: bool) -> Iterator[None]:
    """Import the daemon's modules with less work.

    Their objects live as long as the process, so collecting garbage among them is wasted, also in
    later collections. `invoke` is imported by paramiko.config, which reads ssh_config: unused here.
    With `server_only`, aiohttp has no client; the fleet's store needs one.
    """
    gc.disable()
    sys.modules["invoke"] = None  # type: ignore[assignment]  # an import of it fails (sys.modules)
    try:
        if server_only:
            _import_server()
        yield
    finally:
        del sys.modules["invoke"]
        gc.freeze()
        gc.enable()


def _import_server() -> None:
    """Import `aiohttp.web` without what `aiohttp` imports of itself, which is mostly its client and
    the certificates that it trusts: a sixth of the daemon's start, and 3 MB."""
    spec = importlib.util.find_spec(_AIOHTTP)
    assert spec is not None
    package = importlib.util.module_from_spec(spec)  # it is not executed
    package.__dict__["__version__"] = ""  # for the header Server alone
    sys.modules[_AIOHTTP] = package
    try:
        importlib.import_module(f"{_AIOHTTP}.web")
    except (ImportError, AttributeError):  # another version, which needs more of itself
        for name in [name for name in sys.modules if name.partition(".")[0] == _AIOHTTP]:
            del sys.modules[name]


def _stop(client: Client) -> None:
    """Stop the running daemon.

    Raises:
        Failure: DAEMON_NOT_RUNNING; NOT_UP, it did not stop in time.
    """
    status = client.status()
    pid = status.daemon.pid
    if not client.stop_daemon():
        raise sentences.daemon_not_ended(pid)
    say(f"the daemon has stopped (pid {pid})")
    wanted = [profile.name for profile in status.profiles if profile.wanted is Wanted.UP]
    if wanted:
        say(f"still wanted, and brought up by the next daemon: {', '.join(wanted)}")
