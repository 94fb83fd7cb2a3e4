"""`top`: the status live in a terminal, in a room of its own (tunnelctl/top/)."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

import click

from tunnelctl.cli import caller, sentences
from tunnelctl.cli.main import Options
from tunnelctl.home.extras import install_command


@click.command(epilog="Example: tunnelctl top")
@click.pass_obj
def top(options: Options) -> None:
    """Show forwards, hosts, connections and the log, live in a terminal.

    Broken things come first, with the command that fixes them. Keys: arrows move, / filters, s
    sorts, u, d and r bring a profile up, take it down or reconnect it, c shows connections, l the
    log, ? all keys, q quits. Needs the extra tunnelctl[top].
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise sentences.top_needs_a_terminal("its input and output are no terminal")
    if os.environ.get("TERM") in {None, "", "dumb"}:
        raise sentences.top_needs_a_terminal(f"TERM is {os.environ.get('TERM') or 'not set'}")
    if find_spec("textual") is None:
        raise sentences.no_textual_package(install_command("top"))
    options.client.status()  # no daemon: the same failure as with `ps`
    options.client.on_silence = None  # the screen tells it
    from tunnelctl.top.app import Top  # heavy: textual

    Top(options.client, caller.to_send).show()
