"""Complains where the daemon's loop is held up: by a call that may block, or by what takes long.

Python imports it at the start of each command of a test's world (tests/support/world.py puts its
folder on PYTHONPATH). What blocks is told by the call, not by its time, which on a busy machine
would be anybody's: Python's audit events, and the functions below that have none. What takes long
is told by the thread's CPU time, which does not count how long it waits for its turn.

Writes each complaint, a line with the call and where it was made, to $TUNNELCTL_LOOP_REPORT.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import functools
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

_REPORT = os.environ.get("TUNNELCTL_LOOP_REPORT", "")
_TOO_LONG = 0.05  # seconds of CPU in one callback, or one turn of the data path

# https://docs.python.org/3/library/audit_events.html
_BLOCKING = frozenset(
    {
        "fcntl.flock",
        "fcntl.lockf",
        "import",
        "open",
        "os.chmod",
        "os.chown",
        "os.fork",
        "os.link",
        "os.listdir",
        "os.mkdir",
        "os.posix_spawn",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.scandir",
        "os.symlink",
        "os.system",
        "os.truncate",
        "os.utime",
        "shutil.rmtree",
        "socket.getaddrinfo",
        "socket.gethostbyaddr",
        "socket.gethostbyname",
        "socket.getnameinfo",
        "subprocess.Popen",
        "tempfile.mkdtemp",
        "tempfile.mkstemp",
        "time.sleep",
    }
)
# Without an audit event.
_UNHEARD = {
    "os": ("access", "fdatasync", "fsync", "lstat", "readlink", "stat", "statvfs", "waitpid"),
    "pwd": ("getpwall", "getpwnam", "getpwuid"),
    "grp": ("getgrall", "getgrgid", "getgrnam"),
}
_HERE = os.path.abspath(__file__)
_busy = False


def _complain(what: str) -> None:
    global _busy
    if _busy:
        return
    _busy = True
    try:
        frames = [
            f"{os.path.basename(frame.filename)}:{frame.lineno}:{frame.name}"
            for frame in traceback.extract_stack()
            if "tunnelctl" in frame.filename and frame.filename != _HERE
        ]
        with open(_REPORT, "a") as report:
            report.write(f"{what} < {' < '.join(reversed(frames))}\n")
    finally:
        _busy = False


def _on_loop() -> bool:
    return asyncio.events._get_running_loop() is not None


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _BLOCKING and not _busy and _on_loop():
        _complain(f"{event} {arguments[0] if arguments else ''!r}")


def _watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if _on_loop():
            _complain(f"{name} {arguments[:1]!r}")
        return function(*arguments, **named)

    return call


def _timed(name: Callable[[Any], str], function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(self: Any, *arguments: Any) -> Any:
        started = time.thread_time()
        try:
            return function(self, *arguments)
        finally:
            took = time.thread_time() - started
            if took > _TOO_LONG:
                _complain(f"{took * 1000:.0f} ms of CPU in {name(self)}")

    return call


def _watch() -> None:
    import importlib

    for module, names in _UNHEARD.items():
        found = importlib.import_module(module)
        for name in names:
            setattr(found, name, _watched(f"{module}.{name}", getattr(found, name)))
    asyncio.events.Handle._run = _timed(repr, asyncio.events.Handle._run)  # type: ignore[method-assign]
    from tunnelctl.net.reactor import Reactor

    Reactor.turn = _timed(lambda _: "a turn of the data path", Reactor.turn)  # type: ignore[method-assign]
    sys.addaudithook(_heard)


if _REPORT and "daemon" in sys.orig_argv:
    _watch()
