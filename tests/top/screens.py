"""The screens of `top` as text, all from the same documents: a change can be read in a diff.

Below each are the looks of its texts: as much as a picture shows. `python -m tests.top.screens`
writes them, and the picture in README.md. pytest-textual-snapshot 1.1 needs a pytest before 9
(syrupy 4.8.0), and compares pictures, in which nobody can read what changed.
"""

from __future__ import annotations

import asyncio
import html
import re
from dataclasses import replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from tests.view.samples import NOW, forward, host, profile, status
from tunnelctl import __version__
from tunnelctl.client import Client
from tunnelctl.errors import Code, Failure
from tunnelctl.home.paths import Paths
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.connection_status import (
    ClientProcess,
    ConnectionEnd,
    ConnectionList,
    ConnectionState,
    ConnectionStatus,
)
from tunnelctl.state.documents.history import ForwardHistory, History, HostHistory
from tunnelctl.state.documents.snapshot import (
    ErrorStatus,
    ForwardState,
    Health,
    HostState,
    ProfileState,
)
from tunnelctl.top.app import Top
from tunnelctl.top.messages import Away, LineLogged, NewView
from tunnelctl.view import model
from tunnelctl.view.rows import View

FOLDER = Path(__file__).with_name("screens")
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "top.svg"
SMALL, LARGE, WIDE = (80, 24), (200, 60), (110, 13)
_CHARACTER = 12.2  # the width of a character in the picture
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # from elsewhere
_TEXT = re.compile(r'<text [^>]*x="([\d.]+)"[^>]*line-(\d+)\)">([^<]*)</text>')
_LOOK = re.compile(r"\.terminal-\d+-(r\d+) \{ fill: (#\w+)([^}]*)\}")
_LOOKING = re.compile(r'<text class="terminal-\d+-(r\d+)" [^>]*line-(\d+)\)">([^<]*)</text>')
_BACK = re.compile(r'<rect fill="(#\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"')
_LINE_HEIGHT = 24.4
# As textual exports the colours of a terminal.
_NAMES = {
    "#c5c8c6": "plain",
    "#cc555a": "red",
    "#98a84b": "green",
    "#d0b344": "yellow",
    "#868887": "dim",
    "#292929": "reversed",
}

_SINCE = "2026-11-22T11:57:00.000Z"
_AWAY = ErrorStatus("unreachable", "edge (192.0.2.7:22): no answer", "check the network")
_UNKNOWN = ErrorStatus(
    "host-key-unknown", "lab (192.0.2.9:22): the host key is not known", "compare it, then trust it"
)


def a_view() -> View:
    """A profile that works, and two that do not."""
    bastion = host(
        address="10.0.0.7:22",
        rtt_ms=0.84,
        cipher="aes128-gcm@openssh.com",
        kex="mlkem768x25519-sha256",
        server="OpenSSH_9.2p1",
        reconnects=2,
        since=_SINCE,
    )
    edge = host(
        name="edge",
        state=HostState.BACKOFF,
        attempts=4,
        next_retry_at="2026-11-22T12:00:07.000Z",
        last_error=_AWAY,
        since="2026-11-22T11:59:48.000Z",
    )
    lab = host(name="lab", state=HostState.FAILED, last_error=_UNKNOWN, since=_SINCE)
    web = forward(name="web", listen="127.0.0.1:8080", target="web.internal:80", bytes_in=0)
    hello = forward(
        name="hello",
        type="remote",
        listen="localhost:62893",
        target="127.0.0.1:62893",
        via="edge",
        state=ForwardState.PENDING,
        since="2026-11-22T11:59:48.000Z",
        connections_open=0,
        bytes_in=0,
        bytes_out=0,
    )
    shell = forward(
        name="shell",
        listen="127.0.0.1:2222",
        target="board:22",
        via="lab",
        connections_open=0,
        bytes_in=0,
        bytes_out=0,
    )
    profiles = (
        profile([bastion, edge], [forward(health=Health.HEALTHY), web, hello]),
        profile([lab], [shell], name="lab", state=ProfileState.FAILED),
    )
    wave = tuple(float(1000 * (step % 60)) for step in range(300))
    history = History(
        "2026-11-22T12:00:00.000Z",
        (ForwardHistory("dev", "db", wave, tuple(value / 10 for value in wave)),),
        (HostHistory("dev", "bastion", (*[None] * 100, *[0.8] * 150, *[2.4] * 50)),),
    )
    document = status(*profiles)
    ours = replace(document, daemon=replace(document.daemon, version=__version__))
    return model.build(ours, _connections(), history, NOW)


def _connections() -> ConnectionList:
    psql = ConnectionStatus(
        "17",
        "dev",
        "db",
        "127.0.0.1:53122",
        "db.internal:5432",
        "bastion",
        "2026-11-22T11:58:00.000Z",
        ConnectionState.OPEN,
        process=ClientProcess(4711, "psql", "anna"),
        link=1,
        bytes_in=1_200_000,
        bytes_out=340_000,
        rate_in=12_000.0,
        rate_out=300.0,
    )
    curl = ConnectionStatus(
        "12",
        "dev",
        "web",
        "127.0.0.1:40000",
        "web.internal:80",
        "bastion",
        "2026-11-22T11:50:00.000Z",
        ConnectionState.ENDED,
        until="2026-11-22T11:51:00.000Z",
        how=ConnectionEnd.REFUSED,
        error=ErrorStatus("target-refused", "web.internal:80 refused the connection", ""),
    )
    return ConnectionList((psql,), (curl,))


LINES: list[dict[str, Any]] = [
    {"at": "2026-11-22T11:57:00.000+00:00", "level": "INFO", "message": "host dev/bastion up"},
    {
        "at": "2026-11-22T11:59:48.000+00:00",
        "level": "WARNING",
        "message": "host dev/edge backoff: edge (192.0.2.7:22): no answer",
    },
]
STOPPED = Failure(Code.DAEMON_NOT_RUNNING, "the daemon has stopped")


class Still(Top):
    """A screen that shows what it is given, and reads no daemon."""

    def __init__(self) -> None:
        nowhere = Client(Paths.from_environ({"HOME": "/", "TUNNELCTL_SOCKET": "/nonexistent/sock"}))
        super().__init__(nowhere, lambda: Environment({}))

    def start_reading(self) -> None:
        """Nothing is read."""


# Each screen: its size, and the keys that lead to it.
SCREENS: dict[str, tuple[tuple[int, int], tuple[str, ...]]] = {
    "forwards-80x24": (SMALL, ()),
    "forwards-200x60": (LARGE, ()),
    "hosts-80x24": (SMALL, ("h",)),
    "hosts-200x60": (LARGE, ("h",)),
    "connections-80x24": (SMALL, ("c",)),
    "connections-200x60": (LARGE, ("c",)),
    "filter-80x24": (SMALL, ("slash", "d", "b", "enter")),
    "by-name-80x24": (SMALL, ("s",)),
    "host-80x24": (SMALL, ("h", "end", "enter")),
    "forward-80x24": (SMALL, ("s", "enter")),
    "help-80x24": (SMALL, ("question_mark",)),
    "down-80x24": (SMALL, ("end", "d")),
    "close-80x24": (SMALL, ("c", "x")),
}


async def shown(name: str) -> str:
    """The text of one of the screens."""
    size, keys = SCREENS[name]
    app = Still()
    async with app.run_test(size=size) as pilot:
        app.post_message(NewView(a_view()))
        await pilot.pause()
        await pilot.press(*keys)
        await pilot.pause()
        return with_looks(app.export_screenshot())


async def away() -> str:
    """The text of the screen after the daemon went away."""
    app = Still()
    async with app.run_test(size=SMALL) as pilot:
        app.post_message(NewView(a_view()))
        app.post_message(Away(STOPPED))
        await pilot.pause()
        return with_looks(app.export_screenshot())


def line_logged(number: int) -> LineLogged:
    """One of the lines of a log."""
    return LineLogged(LINES[number])


async def picture() -> str:
    """The first screen as SVG."""
    app = Still()
    async with app.run_test(size=WIDE) as pilot:
        app.post_message(NewView(a_view()))
        await pilot.pause()
        return _FONTS.sub("", app.export_screenshot(title="tunnelctl top"))


def text_of(app: Top) -> str:
    """The lines of the screen, as the picture that textual exports has them."""
    return text_in(app.export_screenshot())


def text_in(drawn: str) -> str:
    """The lines of a picture."""
    lines: dict[int, str] = {}
    for x, line, text in _TEXT.findall(drawn):
        column = round(float(x) / _CHARACTER)
        words = html.unescape(text).replace("\xa0", " ")
        lines[int(line)] = lines.get(int(line), "").ljust(column) + words
    height = max(lines, default=-1) + 1
    return "".join(f"{lines.get(at, '').rstrip()}\n" for at in range(height))


def with_looks(drawn: str) -> str:
    """The lines of a picture, and below them the line, the look and the text of all that is not
    plain, and the columns with a background."""
    names = {
        number: " ".join([_NAMES.get(fill, fill), *re.findall(r"font-weight: (\w+)", more)])
        for number, fill, more in _LOOK.findall(drawn)
    }
    texts = [
        ((int(line), names[number]), html.unescape(text).replace("\xa0", " ").strip())
        for number, line, text in _LOOKING.findall(drawn)
        if names[number] != "plain" and text.strip("\xa0\n ")
    ]
    backs = [
        ((round(float(y) / _LINE_HEIGHT), f"on {_NAMES.get(fill, fill)}"), _columns(x, width))
        for fill, x, y, width in _BACK.findall(drawn)
    ]
    looks = [
        f"{line:>3} {look}: {' | '.join(value for _, value in group)}"
        for (line, look), group in groupby([*texts, *backs], key=itemgetter(0))
    ]
    return "\n".join([text_in(drawn), *looks, ""])


def _columns(x: str, width: str) -> str:
    first, last = float(x) / _CHARACTER, (float(x) + float(width)) / _CHARACTER
    return f"{round(first)}-{round(last)}"


def main() -> None:
    """Write every screen."""
    for name in SCREENS:
        (FOLDER / f"{name}.txt").write_text(asyncio.run(shown(name)))
    (FOLDER / "away-80x24.txt").write_text(asyncio.run(away()))
    PICTURE.write_text(asyncio.run(picture()), encoding="utf-8")


if __name__ == "__main__":
    main()
