"""`demo`: show tunnelctl in one command and one process, on ports that the system chooses.

Every figure that it prints is measured in this run. Must never touch the user's daemon, files or
ports, and leaves nothing behind.
"""

from __future__ import annotations

import click


@click.command(epilog="Examples: tunnelctl demo; tunnelctl demo --megabytes 256")
@click.option(
    "--megabytes",
    type=click.IntRange(1, 4096),
    default=64,
    show_default=True,
    help="Amount to send in each direction.",
)
def demo(megabytes: int) -> None:
    """Open a tunnel to a built-in server, break it and measure it.

    Starts an SSH server in this process, forwards in both directions through it, sends data, kills
    the server while a client waits, and shows how the tunnel recovers on the same port.
    """
    import asyncio

    from tunnelctl.cli.demo.story import tell  # heavy: the whole product
    from tunnelctl.net.selector import new_event_loop

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(tell(megabytes * 1_000_000))
