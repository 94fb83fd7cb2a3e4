"""`python -m benchmarks.top`: what `top` costs with many forwards, and how soon it answers a key.

Starts a daemon with so many forwards through one embedded server, and `top` at a terminal of its
own. Prints the CPU time of `top` in percent of a core, and the time from a key to the new cursor.
Must never count a frame that was not caused by the key: only the cursor's line is in reverse video.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import select
import statistics
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.processes import cpu_seconds, resident_memory
from tests.support.waiting import eventually
from tests.support.world import World, private_world

_COLUMNS, _LINES = 200, 60
_DOWN, _UP = b"\x1b[B", b"\x1b[A"
_REVERSE = b"\x1b[7"  # the beginning of a style with reverse video; the others have none
_ANSWER_WITHIN = 5.0  # seconds
_SETTLED = 5.0  # seconds until the imports are done and the first table is drawn


@dataclass(frozen=True, slots=True)
class Cost:
    """Percent of a core, of `top` and of the daemon that it asks; seconds from a key to its
    effect, and of processor time until then; bytes of memory."""

    forwards: int
    top: float
    daemon: float
    keys: tuple[float, ...]
    work: tuple[float, ...]
    memory: int

    def __str__(self) -> str:
        slow = sorted(self.keys)[int(len(self.keys) * 0.95)]
        return (
            f"{self.forwards} forwards: top uses {self.top:.1f} % of a core, and the daemon"
            f" {self.daemon:.1f} % more; a key takes {statistics.median(self.keys) * 1000:.0f} ms"
            f" (median), {slow * 1000:.0f} ms (95 %), {max(self.keys) * 1000:.0f} ms at most,"
            f" and {statistics.median(self.work) * 1000:.0f} ms of processor time (median);"
            f" {self.memory / 1e6:.0f} MB"
        )


class _Reader:
    """Reads what the program draws, all the time, so that it never waits for its terminal."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._ended = False
        self.drawn = threading.Event()  # the cursor's line
        self._thread = threading.Thread(target=self._read, name="terminal")
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        self._ended = True
        self._thread.join()

    def _read(self) -> None:
        while not self._ended:
            if not select.select([self._descriptor], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._descriptor, 1 << 20)
            except OSError:  # the program has ended (EIO)
                return
            if _REVERSE in data:
                self.drawn.set()


def measure(forwards: int, seconds: float, keys: int) -> Cost:
    """Watch `top` for so long without a key, then press so many."""
    with private_world() as world:
        world.unwatch()
        rules = "\n".join(
            f"  f{number}: {{local: 0, to: 9, via: here}}" for number in range(forwards)
        )
        world.profile(
            "many", f"version: 1\nhosts: {{here: {{embedded: true}}}}\nforwards:\n{rules}\n"
        )
        world.ok("up", "many", "-d", "--wait-timeout", "60s", seconds=120)
        daemon = world.daemon_pid()
        before_top = cpu_seconds([daemon])
        time.sleep(seconds / 2)
        idle = (cpu_seconds([daemon]) - before_top) / (seconds / 2)
        with _top(world) as (process, descriptor, reader):
            eventually(reader.drawn.is_set, "the table is drawn", 30)
            time.sleep(_SETTLED)
            began, used, asked = time.monotonic(), cpu_seconds([process]), cpu_seconds([daemon])
            time.sleep(seconds)
            passed = time.monotonic() - began
            top = (cpu_seconds([process]) - used) / passed
            behind = (cpu_seconds([daemon]) - asked) / passed - idle
            timed = [_timed(process, descriptor, reader, number) for number in range(keys)]
            times, work = zip(*timed, strict=True)
            memory = resident_memory([process])
            return Cost(forwards, 100 * top, 100 * behind, times, work, memory)


def main(arguments: Sequence[str]) -> int:
    """Print the cost for each number of forwards."""
    parser = argparse.ArgumentParser(prog="benchmarks.top", description=__doc__)
    parser.add_argument("--forwards", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--keys", type=int, default=40)
    options = parser.parse_args(arguments)
    for forwards in options.forwards:
        print(measure(forwards, options.seconds, options.keys), flush=True)
    return 0


def _timed(process: int, descriptor: int, reader: _Reader, number: int) -> tuple[float, float]:
    """Seconds from a key to the cursor on another row, and of processor time until then."""
    time.sleep(0.1 + 0.037 * (number % 10))  # at other moments between two readings
    reader.drawn.clear()
    began, used = time.monotonic(), cpu_seconds([process])
    os.write(descriptor, _UP if number % 2 else _DOWN)
    if not reader.drawn.wait(_ANSWER_WITHIN):
        raise TimeoutError("top did not answer a key")
    return time.monotonic() - began, cpu_seconds([process]) - used


@contextmanager
def _top(world: World) -> Iterator[tuple[int, int, _Reader]]:
    """`top` at a terminal: its process, the terminal's other side, and who reads it."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "tunnelctl", "top"],
        cwd=world.home,
        env={**world.environ, "TERM": "xterm-256color"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    reader = _Reader(ours)
    try:
        yield process.pid, ours, reader
    finally:
        os.write(ours, b"q")
        process.wait(30)
        reader.close()
        os.close(ours)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
