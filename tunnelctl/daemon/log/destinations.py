"""Where the daemon's log lines go, and that they can harm nobody who reads them.

Owns the format: one record is one line without a secret, and what a terminal could obey is written
as an escape, for server banners and host names come from strangers. Must never stop the daemon, nor
hold it up: a full disk costs log lines and one warning in status, nothing else.
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
from tunnelctl.state.status_events import StatusEvent

_STDERR = 2
_TROUBLE = "the log"
# Levels of syslog(3), by ours.
_PRIORITIES = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}
_FILE_BYTES = 1 << 20
_OLD_FILES = 3
# Characters of a long line that are kept, lest a few from afar are the whole log; the end of a
# traceback tells more than its middle.
_HEAD, _TAIL = 6_000, 2_000
# Their records repeat what our failures say, with tracebacks where a peer is merely rude.
_QUIET = {"paramiko": logging.CRITICAL, "aiohttp": logging.ERROR, "asyncio": logging.WARNING}


class LogFormat(StrEnum):
    """The form of the lines; AUTO is the journal's where stderr leads there, else text."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"
    JOURNALD = "journald"


class OneLine(logging.Formatter):
    """`2026-11-22T21:30:00.123Z INFO text`, tracebacks included, always one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        return f"{moment(record)} {record.levelname} {self.text(record)}"

    def text(self, record: logging.LogRecord) -> str:
        """What it says, without when and how bad."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        text = printable(SECRETS.redact(text))
        if len(text) > _HEAD + _TAIL:
            text = f"{text[:_HEAD]} […] {text[-_TAIL:]}"
        return text


class JsonLine(OneLine):
    """One JSON object a line, with the keys that `logs --json` has."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
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
    """`<6>text`, as the journal reads it from a service's stderr (sd-daemon(3)); it has the time
    itself."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        return f"<{_PRIORITIES.get(record.levelno, 5)}>{self.text(record)}"


def moment(record: logging.LogRecord) -> str:
    """When, as RFC 3339."""
    return rfc3339(datetime.fromtimestamp(record.created, UTC))


def about(record: logging.LogRecord) -> tuple[str, str]:
    """The profile, and the host or forward, that it is about; empty where it is about none."""
    event = getattr(record, "event", None)
    return (event.profile, event.name) if isinstance(event, StatusEvent) else ("", "")


def log_to_stderr(form: LogFormat, environ: Mapping[str, str]) -> None:
    """For a daemon in the foreground."""
    if form is LogFormat.AUTO:
        form = LogFormat.JOURNALD if _is_journal(sys.stderr, environ) else LogFormat.TEXT
    _install(_Stderr(), _FORMATTERS[form]())


class _Stderr(logging.Handler):
    """Standard error, past Python's own buffer and locks: at the end of the process nobody waits
    for a line that nobody reads."""

    def createLock(self) -> None:
        """See logging.Handler. One thread writes."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; there is nobody to tell that it cannot be written."""
        line = memoryview((self.format(record) + "\n").encode(errors="replace"))
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(_STDERR, line) :]


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the journal reads it (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        found = os.fstat(stream.fileno())
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def log_to_file(path: Path, troubles: Troubles) -> None:
    """For a daemon in the background: rotated by size, readable by its user alone.

    Without a place to write to the daemon runs on, and writes once there is one.
    """
    _install(PrivateFile(path, troubles), OneLine())


class PrivateFile(RotatingFileHandler):
    """A log file of mode 0600, whatever the umask says; made anew when somebody removed it."""

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
        """The record is lost. What the file did not take must not come before the next one."""
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
    # A record that cannot be written is lost; printing a traceback about it helps nobody.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [Behind(handler, formatter)]
    root.setLevel(logging.INFO)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
