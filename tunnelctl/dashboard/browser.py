"""Opens the dashboard in the user's browser.

Owns the file that leads there: every user can read the arguments of a program (proc(5), cmdline),
so a browser is given the path of a file that only its user can read, not the token. Must never
start a browser in the terminal.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from html import escape
from pathlib import Path

from tunnelctl.errors import Failure
from tunnelctl.home.whole_file import write_whole
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.environment import Environment

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


@contextmanager
def opened(url: str, folder: Path, environment: Environment) -> Iterator[None]:
    """Open a browser if this session can show one; without one, or if it fails, nothing happens:
    the address was printed."""
    if sys.platform != "darwin" and not any(map(environment.get, _DISPLAYS)):
        yield
        return
    file = folder / "dashboard.html"
    try:
        with suppress(OSError, Failure):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_whole(file, _leading_to(url).encode())
            in_thread(lambda: _open(file, environment), "browser")
        yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def _open(file: Path, environment: Environment) -> None:
    """Python's own choice of the browser. It has no terminal, and its output is dropped."""
    nothing = subprocess.DEVNULL
    subprocess.run(  # noqa: S603 - our own interpreter and a module of its library
        [sys.executable, "-m", "webbrowser", file.as_uri()],
        env=environment.to_bytes(),
        stdin=nothing,
        stdout=nothing,
        stderr=nothing,
        start_new_session=True,  # Ctrl-C ends the dashboard, not the browser
        check=False,
    )


def _leading_to(url: str) -> str:
    link = escape(url)
    return (
        '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer">'
        f'<meta http-equiv="refresh" content="0; url={link}"><title>tunnelctl</title>'
        f'<a href="{link}">tunnelctl dashboard</a>\n'
    )
