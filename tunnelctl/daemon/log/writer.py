"""Log lines are written by a thread of their own: a disk, a pipe or a terminal may take none.

Owns the lines that wait. Must never hold up whoever logs, and never grow without end: what has no
room is counted, and that is written instead.
"""

from __future__ import annotations

import copy
import logging
import threading
from collections import deque

_WAITING = 10_000  # records
_LAST_WORDS = 1.0  # seconds for what waits when the process ends


class Behind(logging.Handler):
    """Hands what it is given to `handler`, in its order, as the text that it was at that time.

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
        """See logging.Handler. What is a secret now is taken out now."""
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
        """Wait until all of it is written, a second at most."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting or self._is_writing), _LAST_WORDS)

    def close(self) -> None:
        """Write what waits, and no more."""
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
        """What stands for the records that had no room."""
        lost = copy.copy(after)
        lost.levelno, lost.levelname, lost.args = logging.WARNING, "WARNING", None
        lost.exc_info = lost.exc_text = None
        lost.msg = f"{count} lines have no place here: none could be written for a while"
        lost.msg = self.format(lost)
        return lost
