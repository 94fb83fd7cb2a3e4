"""Files that do not answer: a named pipe that nobody writes to, and a network disk that is away."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.waiting import eventually

_DEVICE = "/dev/fuse"
_MNT_DETACH = 2


def readers(path: Path) -> int:
    """How many threads of this process ask something of a file (net/files.py)."""
    return [thread.name for thread in threading.enumerate()].count(f"file {path}")


@contextmanager
def silent_pipe(path: Path) -> Iterator[Path]:
    """Make it at `path`; at the end whoever reads it is let go."""
    os.mkfifo(path, 0o600)
    yield path
    os.close(os.open(path, os.O_RDWR))  # a writer came, and left
    eventually(lambda: not readers(path), "nobody reads any more")


@contextmanager
def written_to(pipe: Path, content: bytes) -> Iterator[None]:
    """While the block runs, whoever reads the pipe gets the content and its end."""
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.02):  # until the one before has seen the end
            with contextlib.suppress(BrokenPipeError), pipe.open("wb", buffering=0) as writer:
                writer.write(content)

    thread = threading.Thread(target=write, name=f"writer of {pipe}")
    thread.start()
    try:
        yield
    finally:
        over.set()
        while thread.is_alive():
            os.close(os.open(pipe, os.O_RDWR))  # a reader came, and left
            thread.join(0.1)


@contextmanager
def dead_disk(folder: Path) -> Iterator[Callable[[], None]]:
    """Mount a file system of FUSE (fuse(4)) that nobody serves on the new `folder`: whoever asks
    for a file on it waits. Needs root and /dev/fuse.

    Calling what is yielded ends all waits with ENOTCONN, as the end of the block does.
    """
    if os.geteuid() != 0 or not os.path.exists(_DEVICE):
        pytest.skip("needs root and /dev/fuse")
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(b"dead", os.fsencode(folder), b"fuse", 0, options.encode()) != 0:
        os.close(device)
        pytest.skip(f"nothing can be mounted here: {os.strerror(ctypes.get_errno())}")

    with ExitStack() as closing:
        closing.callback(os.close, device)
        try:
            yield closing.close
        finally:
            closing.close()
            assert libc.umount2(os.fsencode(folder), _MNT_DETACH) == 0
