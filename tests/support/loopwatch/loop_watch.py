"""Complains where the daemon's loop is held up: by a call that may block, or by what takes long.

What blocks is told by the call, not by its time, which on a busy machine would be anybody's:
Python's audit events, and the functions below that have none. What takes long is told by the
thread's CPU time, which does not count how long it waits for its turn.

A complaint is a line with the call and where it was made.
"""

from __future__ import annotations

import asyncio
import asyncio.events
import functools
import importlib
import ipaddress
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

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
    }
)
# Without an audit event.
_UNHEARD = {
    "os": ("access", "fdatasync", "fsync", "lstat", "readlink", "stat", "statvfs", "waitpid"),
    "pwd": ("getpwall", "getpwnam", "getpwuid"),
    "grp": ("getgrall", "getgrgid", "getgrnam"),
    "time": ("sleep",),
}
# Where it is right nevertheless: the function, and why.
_ALLOWED = {
    "control_socket.py:close": "at the very end, in the runtime folder",
    "child.py:_reap": "the child has ended, and is only taken note of",
    "destinations.py:text": "a traceback shows lines of the source: of a fault of ours alone",
}
_HERE = os.path.abspath(__file__)
_telling = threading.local()  # who complains opens a file too
_report = ""


def _complain(what: str) -> None:
    _telling.now = True
    try:
        frames = [
            (os.path.basename(frame.filename), frame.lineno or 0, frame.name)
            for frame in reversed(traceback.extract_stack())
            if "tunnelctl" in frame.filename and frame.filename != _HERE
        ]
        if any(f"{file}:{name}" in _ALLOWED for file, _, name in frames):
            return
        where = " < ".join(f"{file}:{line}:{name}" for file, line, name in frames)
        with open(_report, "a") as report:
            report.write(f"{what} < {where}\n")
    finally:
        _telling.now = False


def _on_loop() -> bool:
    return asyncio.events._get_running_loop() is not None


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in _BLOCKING and not getattr(_telling, "now", False) and _on_loop():
        about = arguments[0] if arguments else ""
        is_open = isinstance(about, int)  # a descriptor, of a file that is open already
        is_known = about == os.devnull or (event == "socket.getaddrinfo" and _is_address(about))
        if not (is_open or is_known):
            _complain(f"{event} {about!r}")


def _is_address(host: object) -> bool:
    """Whether there is nothing to look up."""
    try:
        ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return True


def _watched(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if _on_loop() and not getattr(_telling, "now", False):
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


def _work(handle: Any) -> str:
    """The purpose of a handle of the loop: for a step of a task, the task."""
    task = getattr(handle._callback, "__self__", None)
    return repr(task if isinstance(task, asyncio.Task) else handle)


def watch(report: str) -> None:
    """Watch every loop of this process from now on, and write complaints to the file `report`."""
    global _report  # noqa: PLW0603 - one of a process
    _report = report
    for module, names in _UNHEARD.items():
        found = importlib.import_module(module)
        for name in names:
            setattr(found, name, _watched(f"{module}.{name}", getattr(found, name)))
    # Both are replaced on purpose: each call of either is one go of the loop, to be timed.
    handle = asyncio.events.Handle
    handle._run = _timed(_work, handle._run)  # type: ignore[method-assign]  # see above
    from tunnelctl.net.reactor import Reactor

    turn = _timed(lambda _: "a turn of the data path", Reactor.turn)
    Reactor.turn = turn  # type: ignore[method-assign]  # see above
    sys.addaudithook(_heard)
