"""The destinations of the daemon's log lines, and their format.

One record is one line, without secrets, and with every character escaped that a terminal could
interpret, because server banners and host names come from strangers. Must never stop or delay the
daemon: a full disk costs log lines and causes one warning in status, nothing else.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TextIO

from tunnelctl.clock import rfc3339
from tunnelctl.daemon.log.writer import Behind
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.errors import printable
from tunnelctl.home.redaction import SECRETS
from tunnelctl.state.documents.status_events import StatusEvent

_STDERR = 2
_TROUBLE = "the log"
# Levels of syslog(3) for those of logging.
_PRIORITIES = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
_FILE_BYTES = 1 << 20
_OLD_FILES = 3
# Characters kept of a long line, so that a few remote texts cannot fill the log. The end of a
# traceback says more than its middle.
_HEAD, _TAIL = 6_000, 2_000
# Their records repeat our failures, with tracebacks even for a peer that only misbehaves.
_QUIET = {"paramiko": logging.CRITICAL, "aiohttp": logging.ERROR, "asyncio": logging.WARNING}


class LogFormat(StrEnum):
    """The format of the lines; AUTO is the journal's if stderr is connected to it, else text."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    JOURNALD = "journald"


class OneLine(logging.Formatter):
    """`2026-11-22T21:30:00.123Z INFO text`, tracebacks included, always one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its line feed."""
        return f"{moment(record)} {record.levelname} {self.text(record)}"

    def text(self, record: logging.LogRecord) -> str:
        """The message without time and level."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        text = printable(SECRETS.redact(text))
        if len(text) > _HEAD + _TAIL:
            text = f"{text[:_HEAD]} […] {text[-_TAIL:]}"
        return text


class JsonLine(OneLine):
    """One JSON object per line, with the keys of `logs --json`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its line feed."""
        profile, name = about(record)
        line = {
            "at": moment(record),
            "level": record.levelname,
            "profile": profile,
            "name": name,
            "message": self.text(record),
        }
        return json.dumps(line)


class JournalLine(OneLine):
    """`<6>text`, as the journal reads it from a service's stderr (sd-daemon(3)). The journal adds
    the time."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its line feed."""
        return f"<{_PRIORITIES.get(record.levelno, 5)}>{self.text(record)}"


def moment(record: logging.LogRecord) -> str:
    """The time as RFC 3339."""
    return rfc3339(datetime.fromtimestamp(record.created, UTC))


def about(record: logging.LogRecord) -> tuple[str, str]:
    """The profile, and the host or forward, that the record is about; empty if there is none."""
    event = getattr(record, "event", None)
    return (event.profile, event.name) if isinstance(event, StatusEvent) else ("", "")


def log_to_stderr(form: LogFormat, environ: Mapping[str, str]) -> None:
    """For a daemon in the foreground."""
    if form is LogFormat.AUTO:
        form = LogFormat.JOURNALD if _is_journal(sys.stderr, environ) else LogFormat.TEXT
    _install(_Stderr(), _FORMATTERS[form]())


class _Stderr(logging.Handler):
    """Standard error without Python's buffer and locks, so that the end of the process does not
    wait for a reader that does not read."""

    def createLock(self) -> None:
        """See logging.Handler. Only one thread writes."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        """See logging.Handler, whose own needs a lock in Python 3.13."""
        passes = self.filter(record)
        if passes:
            self.emit(passes if isinstance(passes, logging.LogRecord) else record)
        return bool(passes)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; a failure to write is ignored, because it could be reported nowhere."""
        line = memoryview((self.format(record) + "\n").encode(errors="replace"))
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(_STDERR, line) :]


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether stderr is connected to the journal (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        found = os.fstat(stream.fileno())
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def log_to_file(path: Path, troubles: Troubles) -> None:
    """For a daemon in the background: rotated by size, readable only by its user.

    If the file cannot be opened, the daemon runs without it and writes once it can.
    """
    _install(PrivateFile(path, troubles), OneLine())


class PrivateFile(RotatingFileHandler):
    """A log file of mode 0600, regardless of the umask; created again if it was removed."""

    def __init__(self, path: Path, troubles: Troubles) -> None:
        self._troubles = troubles
        self._inode = 0
        super().__init__(
            path, maxBytes=_FILE_BYTES, backupCount=_OLD_FILES, encoding="utf-8", delay=True
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or note that it cannot be written."""
        self._failed = False
        self._reopen_if_removed()
        super().emit(record)
        if not self._failed:
            self._troubles.end(_TROUBLE)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the record. The part that was not written must not precede the next record."""
        self._failed = True
        error = sys.exc_info()[1]
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.close()
        why = (isinstance(error, OSError) and error.strerror) or error
        self._troubles.begin(_TROUBLE, f"the log {self.baseFilename} cannot be written: {why}")

    def _reopen_if_removed(self) -> None:
        if self.stream is None:
            return
        try:
            is_there = os.stat(self.baseFilename).st_ino == self._inode
        except OSError:
            is_there = False
        if not is_there:
            self.stream.close()
            self.stream = None

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, 0o600)
        self._inode = os.fstat(descriptor).st_ino
        return TextIOWrapper(open(descriptor, "ab"), encoding=self.encoding, line_buffering=True)


_FORMATTERS: Mapping[LogFormat, type[OneLine]] = {
    LogFormat.TEXT: OneLine,
    LogFormat.JSON: JsonLine,
    LogFormat.JOURNALD: JournalLine,
}


def _install(handler: logging.Handler, formatter: OneLine) -> None:
    # A record that cannot be written is dropped; a traceback about it would help nobody.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [Behind(handler, formatter)]
    root.setLevel(logging.INFO)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
