"""`requests`: the HTTP requests that passed through a forward with `inspect: http`.

Must never pass text of a peer to a terminal without escaping it.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tunnelctl.cli import sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.output import in_colour, json_text, say, shown_on, width_of
from tunnelctl.client import Client
from tunnelctl.errors import Code, Failure, printable, reason
from tunnelctl.view.columns import CUT
from tunnelctl.view.request_rows import REQUESTS, request_row
from tunnelctl.view.texts import NOTHING

if TYPE_CHECKING:  # `--help` is quicker without
    from tunnelctl.client.http import Stream
    from tunnelctl.state.documents.exchange import Headers, HttpExchange, HttpExchanges

_LINE = "{:>5}  {:<12}  {:<7}  {}  {:>8}  {:>5}  "
_STATUS_WIDTH = len("STATUS")
_COLOURS = {2: "green", 3: "cyan", 4: "yellow", 5: "red"}
_ALL = 1000  # what the daemon keeps at most
_AGAIN = 0.1  # seconds until a forward is asked again whose stream has ended


@click.command(
    epilog="Examples: tunnelctl requests dev/web -f; tunnelctl requests dev/web --har web.har; "
    "tunnelctl requests dev/web --replay 5 -H 'Authorization: Bearer …'"
)
@click.argument("place", metavar="PROFILE/FORWARD", shell_complete=complete.forwards)
@click.option("-f", "--follow", is_flag=True, help="Print new requests until interrupted.")
@click.option(
    "-n",
    "--number",
    "count",
    type=click.IntRange(0, _ALL),
    help="Number of requests.  [default: 50; all that are kept with --json and --har]",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the document with headers and bodies; with -f, one JSON object per line.",
)
@click.option(
    "--har",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="Write an HTTP Archive (HAR 1.2); - is standard output.",
)
@click.option("--replay", metavar="ID", help="Send this request again, and print the answer.")
@click.option(
    "-H",
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="With --replay: a header to send, instead of that of the request.",
)
@click.pass_obj
def requests(
    options: Options,
    place: str,
    follow: bool,
    count: int | None,
    as_json: bool,
    har: Path | None,
    replay: str | None,
    headers: tuple[str, ...],
) -> None:
    """Show the HTTP requests that passed through a forward with `inspect: http`.

    The daemon keeps the last 1,000 in memory, with at most 64 KiB of each body, and without the
    values of Authorization, Cookie, Set-Cookie and Proxy-Authorization.

    --replay sends a request to the forward's own target again, with the header Tunnelctl-Replay.
    Headers whose values are not kept are left out unless -H sets them.
    """
    profile, slash, forward = place.partition("/")
    if not (profile and slash and forward):
        raise click.UsageError(f"{place!r} is not PROFILE/FORWARD")
    _check_options(follow=follow, as_json=as_json, har=har, replay=replay, headers=headers)
    client = options.client
    if replay is not None:
        _replay(client, (profile, forward), replay, tuple(map(_header, headers)), as_json=as_json)
    elif follow:
        _follow(client, (profile, forward), 50 if count is None else count, as_json=as_json)
    elif as_json:
        found = client.requests(profile, forward, count)
        click.echo(json_text(found.document), nl=False)
    elif har is not None:
        _write_har(client.requests(profile, forward, count), har)
    else:
        _print_table(client, (profile, forward), 50 if count is None else count)


def _check_options(
    *, follow: bool, as_json: bool, har: Path | None, replay: str | None, headers: tuple[str, ...]
) -> None:
    if har is not None and (follow or as_json):
        raise click.UsageError("--har excludes --follow and --json")
    if replay == "":
        raise click.UsageError("--replay takes an ID")
    if replay is not None and (follow or har is not None):
        raise click.UsageError("--replay excludes --follow and --har")
    if headers and replay is None:
        raise click.UsageError("--header has no meaning without --replay")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip()):
        raise click.UsageError("--header must be 'NAME: VALUE'")
    return name.strip(), value.strip()


# The table.


def _print_table(client: Client, place: tuple[str, str], count: int) -> None:
    found = client.requests(*place, count)
    if found.exchanges:
        click.echo(_titles())
    for exchange in found.exchanges:
        click.echo(_line(exchange))
    if count and not found.exchanges:
        say(f"no request has passed through {found.forward} yet")
    if found.dropped:
        say(f"older requests that are no longer kept: {found.dropped}")
    reasons = ", ".join(f"{count} {name}" for name, count in found.not_inspected.items() if count)
    if reasons:
        say(f"connections that were not inspected: {reasons}")


def _follow(client: Client, place: tuple[str, str], count: int, *, as_json: bool) -> None:
    """Print each request when it has ended; a stream also when it begins."""
    stream = client.follow_requests(*place, count)
    if not as_json:
        click.echo(_titles())
    while True:
        try:
            with stream:
                _print_each(stream, as_json=as_json)
        except Failure as failure:
            if failure.code is not Code.DAEMON_NOT_RUNNING:
                raise
        # It ends with the daemon, and with the forward: then this tells which, or a reload has
        # opened another.
        time.sleep(_AGAIN)
        stream = client.follow_requests(*place, _ALL)


def _print_each(stream: Stream[HttpExchange], *, as_json: bool) -> NoReturn:
    shown: set[tuple[int, bool]] = set()
    while True:
        exchange = stream.next()
        if exchange is None or not (exchange.has_ended or exchange.is_stream or as_json):
            continue
        state = (exchange.id, exchange.has_ended)
        if as_json:
            click.echo(json.dumps(exchange.as_json()))
        elif state not in shown:
            shown.add(state)
            click.echo(_line(exchange))


def _titles() -> str:
    *columns, path = REQUESTS.titles
    return _LINE.format(*columns) + path


def _line(exchange: HttpExchange) -> str:
    row = request_row(exchange)
    status = (row.status or NOTHING).rjust(_STATUS_WIDTH)
    cells = (row.id, row.time, row.method[:7])
    width, path = width_of(sys.stdout), row.path
    start = _LINE.format(*cells, status, row.duration, row.size)
    if width is not None and len(start) + len(path) > width:
        path = path[: max(1, width - len(start) - 1)] + CUT
    colour = _COLOURS.get((exchange.status or 0) // 100)
    if colour and in_colour(sys.stdout):
        start = _LINE.format(*cells, click.style(status, fg=colour), row.duration, row.size)
    return shown_on(sys.stdout, start + path)


# Other forms.


def _write_har(found: HttpExchanges, path: Path) -> None:
    from tunnelctl.inspect.har import archive

    text = json.dumps(archive(found.exchanges), indent=2, ensure_ascii=True) + "\n"
    if str(path) == "-":
        click.echo(text, nl=False)
        return
    try:
        _write_to(path, text.encode())
    except OSError as error:
        raise sentences.archive_not_written(str(path), reason(error)) from None


def _write_to(path: Path, content: bytes) -> None:
    """Write a file whole; but into what a link, a device or a pipe leads to, never in its place."""
    from tunnelctl.home.whole_file import write_whole

    if path.is_symlink() or (path.exists() and not path.is_file()):
        with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(content)
    else:
        write_whole(path, content)


def _replay(
    client: Client, place: tuple[str, str], number: str, headers: Headers, *, as_json: bool
) -> None:
    found = selection.sources(client.status(place[:1]).profiles)
    selection.demand_ours(found, place[:1])
    answer = client.replay(*place, number, headers)
    if as_json:
        click.echo(json_text(answer), nl=False)
    else:
        _print_answer(answer)
    if answer["left_out"]:
        names = ", ".join(map(str, answer["left_out"]))
        say(f"sent without {names}: not kept (set each with -H 'NAME: VALUE')")
    if answer["truncated"]:
        say("only the first part of the body is shown")


def _print_answer(answer: Mapping[str, Any]) -> None:
    """The response as it came; on a terminal, escaped."""
    click.echo(printable(f"{answer['version']} {answer['status']}"))
    for name, value in answer["headers"]:
        click.echo(shown_on(sys.stdout, printable(f"{name}: {value}")))
    click.echo("")
    text = answer["body"]
    body = base64.b64decode(answer["body_base64"]) if text is None else text.encode()
    if not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(body)
    elif text is None:
        say(f"the body of {len(body)} bytes is not text")
    else:
        for line in text.splitlines():
            click.echo(shown_on(sys.stdout, printable(line.replace("\t", "    "))))
