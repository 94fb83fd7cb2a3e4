"""Runs a program to its end for its output. Blocking: for a worker thread.

Owns the limits of its time and its output, and the end of everything that it started. Must never
run a shell, give a program a terminal, or quote its output in an error.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from collections.abc import Sequence
from typing import IO

from tunnelctl import clock
from tunnelctl.errors import reason
from tunnelctl.net.processes import programs
from tunnelctl.spec.environment import Environment


class CommandError(Exception):
    """The program could not be run to its end; the text is the reason, without its output."""


class TookTooLong(CommandError):
    """It did not end in time."""


def output_of(
    words: Sequence[str],
    environment: Environment,
    most: int,
    seconds: float,
    *,
    stdin: int = subprocess.DEVNULL,
) -> tuple[int, bytes]:
    """The exit status of the program `words[0]` (below 0: the signal) and its standard output.

    It has a session of its own and `stdin` (a descriptor); its standard error is dropped. It may
    take `seconds` and print `most` bytes.

    Raises:
        CommandError: it cannot be started or printed too much; TookTooLong.
    """
    try:
        process = programs.start(
            words, environment, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "not a command"
        raise CommandError(f"the command cannot be started: {why}") from None
    deadline = clock.monotonic() + seconds
    assert process.stdout is not None  # it is a pipe
    with process.stdout as stdout:
        try:
            printed = _read_until(stdout, deadline, most)
            status = process.wait(max(0.0, deadline - clock.monotonic()))
        except (subprocess.TimeoutExpired, TimeoutError):
            raise TookTooLong(f"the command did not end within {seconds:g} s") from None
        finally:
            _end(process)
    return status, printed


def _read_until(stdout: IO[bytes], deadline: float, most: int) -> bytes:
    printed = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        while len(printed) <= most:
            if not selector.select(max(0.0, deadline - clock.monotonic())):
                raise TimeoutError
            block = os.read(stdout.fileno(), most + 1)
            if not block:
                return bytes(printed)
            printed += block
    raise CommandError(f"it is longer than {most} bytes")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program that did not end by itself, and everything that it started in its session."""
    if process.returncode is None:  # not reaped yet, so the process id is still its own
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
