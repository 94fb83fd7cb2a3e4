"""`up`: bring profiles up and, when attached, hold them until Ctrl-C.

Owns the order: every file is validated before any is sent to the daemon. While it stays attached,
its event stream is the lease on its profiles: the lease ends with the process, however that ends.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

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
from tunnelctl.client import Client

if TYPE_CHECKING:
    from tunnelctl.config.exchange.ssh_words import Words

DEFAULT_PROFILE = "default"


@click.command(
    cls=SshLine,
    epilog="Examples: tunnelctl up dev; tunnelctl up -d -L 5432:db:5432 -D 1080 bastion",
)
@click.argument(
    "profiles", nargs=-1, metavar="[PROFILE]... | HOST", shell_complete=complete.profiles_or_host
)
@click.option(
    "-d", "--detach", is_flag=True, help="Return once ready; the daemon keeps the tunnels up."
)
@click.option(
    "--wait-timeout",
    type=Duration(),
    default="30s",
    show_default=True,
    help="Time to wait until ready.",
)
@click.option("-f", "--file", type=click.Path(path_type=Path), help="Path of the profile.")
@adhoc.options
@click.pass_obj
def up(
    options: Options,
    /,
    profiles: tuple[str, ...],
    detach: bool,
    wait_timeout: float,
    file: Path | None,
    name: str | None,
    permit: tuple[str, ...],
    allow: tuple[str, ...],
    replace: bool,
    line: Words | None,
) -> int:
    """Bring profiles up (default: `default`) and wait until they are ready.

    Without -d the command stays in the foreground, prints state changes, and holds the profiles
    until Ctrl-C. A profile goes down when its last holder exits. A profile that is not ready in
    time stays wanted: the daemon keeps trying. A name that is already up from another file is not
    changed.

    With -L, -R and -D the command takes the arguments of ssh and needs no profile. In that form -f
    has its meaning in ssh, and is the same as -d.
    """
    file = file or options.file
    client = options.client

    def hold(plans: tuple[CheckedProfile, ...]) -> int:
        return _hold(client, plans, detach=detach, wait_timeout=wait_timeout, replace=replace)

    if line is not None:
        if file is not None:
            raise click.UsageError("with -L, -R and -D comes one HOST, and no file")
        adhoc.refuse_command(line)
        unnamed, document = adhoc.name_and_document(AdHoc(line, permit, allow))
        detach |= line.in_background
        return adhoc.AdHocProfile(unnamed, document, name, replace).hold(client, hold)
    if permit or allow:
        raise click.UsageError("--permit and --allow go with -L, -R and -D")
    names: Sequence[str | None] = names_of(profiles) or [None if file else DEFAULT_PROFILE]
    return hold(plans_of(names, file, name, client))


def _hold(
    client: Client,
    plans: tuple[CheckedProfile, ...],
    *,
    detach: bool,
    wait_timeout: float,
    replace: bool,
) -> int:
    ensure_daemon_of_ours(client, plans)
    lease = None if detach else secrets.token_hex(16)
    with ended_in_order(), watch(client, lease, plans) as stream:
        session = Holding(client, stream, plans, lease)
        try:
            session.bring_up(wait_timeout, replace=replace)
            return 0 if detach else session.stay()
        except KeyboardInterrupt:
            session.take_down()
            raise
