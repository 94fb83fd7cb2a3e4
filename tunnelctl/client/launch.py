"""Starts the daemon if none answers.

Owns the pipe for its report. Must never bind it to the terminal or to the directory of the command.
"""

from __future__ import annotations

import json
import os
import select
import sys

from tunnelctl.client import sentences
from tunnelctl.client.http import AnswerDeadline, Document, Problem
from tunnelctl.home.paths import SOCKET_VARIABLE, Paths

_START_WITHIN = 30.0  # seconds for imports on a slow machine
_CHUNK = 65536


def start_daemon(paths: Paths) -> list[Document]:
    """Start a daemon of our own version and wait until one answers, which may be another.

    The daemon reports through a pipe: `ready` and the profiles it restored, which are returned, or
    the failure that kept it from starting.

    Raises:
        Failure: that failure.
    """
    import subprocess  # imported only here, because it is slow

    named = {SOCKET_VARIABLE: str(paths.socket)} if paths.is_named else {}
    read_end, write_end = os.pipe()
    try:
        subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "tunnelctl", "daemon", "--report-to", str(write_end)],
            # It must not occupy our directory, so relative paths are made absolute first.
            cwd="/",
            env={**os.environ, **named},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(write_end,),
            start_new_session=True,
            check=False,
        )
        os.close(write_end)
        write_end = -1
        report = _read_report(read_end)
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)
    ready, _, restored = report.partition(b"\n")
    if ready == b"ready":
        return json.loads(restored)["restored"] if restored else []
    try:
        raise Problem(json.loads(report))
    except ValueError:
        raise sentences.daemon_did_not_start() from None


def _read_report(fd: int) -> bytes:
    deadline = AnswerDeadline(_START_WITHIN)
    report = b""
    while select.select([fd], [], [], deadline.left)[0]:
        chunk = os.read(fd, _CHUNK)
        if not chunk:
            break
        report += chunk
    return report.strip()
