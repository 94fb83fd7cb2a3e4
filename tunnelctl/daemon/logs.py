"""Where the daemon's log lines go, and that they can harm nobody who reads them.

Owns the format: one record is one line without a secret, and what a terminal could obey is written
as an escape, for server banners and host names come from strangers. Must never stop the daemon: a
full disk costs log lines and one warning in status, nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tunnelctl.clock import rfc3339
from tunnelctl.config.mistakes import printable
from tunnelctl.config.redaction import SECRETS
from tunnelctl.daemon.troubles import Troubles

_TROUBLE = "the log"
_FILE_BYTES = 1 << 20
_OLD_FILES = 3
# Their records repeat what our failures say, with tracebacks where a peer is merely rude.
_QUIET = {"paramiko": logging.CRITICAL, "aiohttp": logging.ERROR, "asyncio": logging.WARNING}


class OneLine(logging.Formatter):
    """`2026-11-22T21:30:00.123Z INFO text`, tracebacks included, always one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its end."""
        moment = rfc3339(datetime.fromtimestamp(record.created, UTC))
        text = f"{moment} {record.levelname} {record.getMessage()}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return printable(SECRETS.redact(text))


def log_to_stderr() -> None:
    """For a daemon in the foreground."""
    _install(logging.StreamHandler(sys.stderr))


def log_to_file(path: Path, troubles: Troubles) -> None:
    """For a daemon in the background: rotated by size, readable by its user alone.

    Without a place to write to the daemon runs on, and writes once there is one.
    """
    _install(PrivateFile(path, troubles))


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


def _install(handler: logging.Handler) -> None:
    # A record that cannot be written is lost; printing a traceback about it helps nobody.
    logging.raiseExceptions = False
    handler.setFormatter(OneLine())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
