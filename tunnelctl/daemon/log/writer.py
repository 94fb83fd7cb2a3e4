"""A thread writes the log lines, because a disk, a pipe or a terminal may block.

Owns the waiting lines. Must never delay the caller, and never grow without bound: records that do
not fit are counted, and the count is written instead.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections import deque

_WAITING = 10_000  # records
_LAST_WORDS = 1.0  # seconds for the waiting lines when the process ends


class Behind(logging.Handler):
    """Passes records to `handler` in order, with their text formatted when they were logged.

    Before the first record it starts a thread, which ends with `close` or with the process.
    """

    def __init__(self, handler: logging.Handler, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._handler = handler
        self._waiting: deque[logging.LogRecord] = deque()
        self._lost = 0
        self._changed = threading.Condition()
        self._is_writing = False
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler. Redacts the secrets that are known now."""
        written = copy.copy(record)
        written.msg, written.args = self.format(record), None
        written.exc_info = written.exc_text = None
        with self._changed:
            if len(self._waiting) >= _WAITING:
                self._lost += 1
                return
            if self._lost:
                self._waiting.append(self._loss(record, self._lost))
                self._lost = 0
            self._waiting.append(written)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until everything is written, for at most a second."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting or self._is_writing), _LAST_WORDS)

    def close(self) -> None:
        """Write the waiting lines, and accept no more."""
        self.flush()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        super().close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return
                record, self._is_writing = self._waiting.popleft(), True
            self._handler.handle(record)

    def _loss(self, after: logging.LogRecord, count: int) -> logging.LogRecord:
        """A record in place of those that did not fit."""
        lost = copy.copy(after)
        lost.levelno, lost.levelname, lost.args = logging.WARNING, "WARNING", None
        lost.exc_info = lost.exc_text = None
        lost.msg = f"{count} lines were dropped: none could be written for a while"
        lost.msg = self.format(lost)
        return lost
