"""Reads files that the user named, without waiting forever. Blocking: for a worker thread.

A named pipe, a device, or a file on a network disk that is away may never answer, and a thread that
waits for one cannot be ended. So one thread reads it, shared by all callers with the same request
for the same file, and each of them waits for a limited time: until its deadline (`until`), and a
few seconds at most. Owns both limits, of time and of size. Must never start a second thread for a
file that does not answer.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from tunnelctl import clock
from tunnelctl.net.forked import lock_of_process
from tunnelctl.quick_dataclass import dataclass

T = TypeVar("T")

# Seconds for one file; an automounter that mounts at the first access needs some of it.
_SECONDS = 5.0
# Seconds for one that did not answer before.
_SILENT_SECONDS = 0.1
_BLOCK = 64 * 1024

Moment = Callable[[], float | None]  # of clock.monotonic; None: never

_deadline: ContextVar[Moment] = ContextVar("_deadline")


class FileSilent(OSError):
    """The file did not answer in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            errno.ETIMEDOUT,
            f"it does not answer (waited {seconds:.1f} s): a pipe without a writer, "
            "or a disk that is away",
        )


class NotRegular(OSError):
    """It is a pipe, a device or a folder."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "it is not a regular file")


class TooLarge(OSError):
    """It is larger than a file of its kind may be, or has no end."""

    def __init__(self, limit: int) -> None:
        super().__init__(errno.EFBIG, f"it is larger than {limit:,} bytes")


@dataclass(frozen=True, slots=True)
class Contents:
    """The content of a file, and the result of fstat(2) when it was opened."""

    data: bytes
    status: os.stat_result


@contextmanager
def until(deadline: Moment) -> Iterator[None]:
    """In this thread, wait for files until then at most; called again for each, because it may
    move."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def read(path: str | Path, limit: int, *, regular: bool = False) -> Contents:
    """The file, of at most `limit` bytes; `regular`: nothing else than a regular file.

    Raises:
        OSError: also `FileSilent`, `NotRegular` and `TooLarge`.
        ValueError: the path has a NUL byte.
    """

    def look() -> Contents:
        # Does not wait for the writer of a pipe, which is refused.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | (os.O_NONBLOCK if regular else 0)
        descriptor = os.open(path, flags)
        try:
            status = os.fstat(descriptor)
            if regular and not stat.S_ISREG(status.st_mode):
                raise NotRegular
            return Contents(_bytes(descriptor, limit), status)
        finally:
            os.close(descriptor)

    return ask(path, f"up to {limit} bytes, {regular}", look)


def status(path: str | Path) -> os.stat_result:
    """The result of stat(2).

    Raises:
        OSError: also `FileSilent`.
        ValueError: the path has a NUL byte.
    """
    return ask(path, "status", lambda: os.stat(path))


def exists(path: str | Path, *, regular: bool = False) -> bool:
    """Whether a file of that name exists and answers; `regular`: a regular one."""
    try:
        mode = status(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISREG(mode) or not regular


def matching(pattern: str) -> list[str]:
    """The paths that match a pattern of glob(7), in the syntax of the module glob; in order.

    Raises:
        OSError: also `FileSilent`.
    """
    return ask(pattern, "matching", lambda: sorted(glob.glob(pattern)))


def ask(path: str | Path, what: str, look: Callable[[], T]) -> T:
    """The result of `look`, which reads `what` of the file `path`; concurrent callers share one
    result.

    Raises:
        Silent: it takes too long, and goes on in its thread.
        OSError: no thread can be started.
    """
    key = (os.fspath(path), what)
    with _lock:
        asked = _under_way.get(key)
        if asked is None:
            asked = _under_way[key] = _Asked(key, look)
            try:
                asked.start()
            except RuntimeError:
                del _under_way[key]
                raise OSError(errno.EAGAIN, "no thread can be started to read it") from None
    result: T = asked.result()
    return result


class _Asked(threading.Thread):
    """One request to the kernel, which may never answer."""

    def __init__(self, key: tuple[str, str], look: Callable[[], Any]) -> None:
        super().__init__(name=f"file {key[0]}", daemon=True)
        self._key = key
        self._look = look
        self._over = threading.Event()
        self._is_silent = False
        self._found: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """See threading.Thread."""
        try:
            self._found = self._look()
        except BaseException as error:
            self._error = error
        with _lock:  # from now on it is read again
            _under_way.pop(self._key, None)
        self._over.set()

    def result(self) -> Any:
        """The result, if it comes in time."""
        deadline = _deadline.get(_never)()
        most = _SILENT_SECONDS if self._is_silent else _SECONDS
        seconds = most if deadline is None else min(most, max(0.0, deadline - clock.monotonic()))
        if not self._over.wait(seconds):
            self._is_silent = True
            raise FileSilent(seconds)
        if self._error is not None:
            raise self._error
        return self._found


_lock = lock_of_process()
_under_way: dict[tuple[str, str], _Asked] = {}
os.register_at_fork(after_in_child=_under_way.clear)  # the threads are the parent's


def _never() -> float | None:
    return None


def _bytes(descriptor: int, limit: int) -> bytes:
    found = bytearray()
    while len(found) <= limit and (block := os.read(descriptor, _BLOCK)):
        found += block
    if len(found) > limit:
        found.clear()  # the traceback of the exception refers to it, until garbage is collected
        raise TooLarge(limit)
    return bytes(found)
