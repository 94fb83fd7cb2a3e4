"""`dashboard`: serve the page on 127.0.0.1 until interrupted."""

from __future__ import annotations

import click

from tunnelctl.cli import caller
from tunnelctl.cli.main import Options


@click.command(epilog="Examples: tunnelctl dashboard; tunnelctl dashboard --port 8022 --read-only")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port to listen on at 127.0.0.1; by default the system chooses a free one.",
)
@click.option("--read-only", is_flag=True, help="Show everything and change nothing.")
@click.option("--no-browser", is_flag=True, help="Print the address without opening a browser.")
@click.pass_obj
def dashboard(options: Options, port: int, read_only: bool, no_browser: bool) -> None:
    """Serve a page that shows forwards, hosts, connections and the log, and can change them.

    Prints its address, which works once: it logs in the browser that opens it first. Only programs
    of this user can use the page (docs/dashboard.md). It needs a running daemon to start, and waits
    for it if it goes away. Ctrl-C ends the dashboard, and no tunnel.
    """
    client = options.client
    status = client.status()  # without a daemon this fails as `ps` does
    from tunnelctl.dashboard.process import DashboardSettings, run  # heavy: aiohttp

    paths = client.paths
    settings = DashboardSettings(
        port=port,
        socket=paths.socket,
        folder=paths.runtime_dir,
        environment=caller.to_send(),
        status=status,
        read_only=read_only,
        with_browser=not no_browser,
        debug=options.debug,
    )
    run(settings, click.echo)
