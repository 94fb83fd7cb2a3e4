"""What takes no log lines holds nobody up."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading

import pytest

from tests.support.profiles import EMBEDDED
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.daemon.log import writer
from tunnelctl.daemon.log.destinations import OneLine
from tunnelctl.daemon.log.writer import Behind


class Slow(logging.Handler):
    """Takes one record, and the next ones when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.may = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
        self.may.wait(20)


def test_who_logs_does_not_wait_and_what_has_no_room_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer, "_WAITING", 5)
    monkeypatch.setattr(writer, "_LAST_WORDS", 0.01)
    slow, logger = Slow(), logging.Logger("one")
    handler = Behind(slow, OneLine())
    logger.addHandler(handler)
    logger.info("number %s", 0)
    eventually(lambda: slow.lines, "the first one is being written")
    for number in range(1, 10):
        logger.info("number %s", number)
    handler.flush()  # does not wait for ever either
    assert len(slow.lines) == 1
    slow.may.set()
    eventually(lambda: len(slow.lines) == 6, "the others are written")
    logger.info("number %s", 10)
    eventually(lambda: len(slow.lines) == 8, "the next one is written")
    handler.close()
    texts = [line.split(" ", 2)[2] for line in slow.lines]
    lost = "4 lines were dropped: none could be written for a while"
    assert texts == [*(f"number {n}" for n in range(6)), lost, "number 10"]


def test_a_daemon_whose_stderr_nobody_reads_goes_on(world: World) -> None:
    """As one behind a pager that waits for a key: the pipe is full after 64 KiB."""
    world.profile("dev", EMBEDDED)
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    while True:
        try:
            os.write(write_end, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(write_end, True)
    command = [sys.executable, "-m", "tunnelctl", "daemon", "dev"]
    process = subprocess.Popen(command, env=world.environ, cwd=world.home, stderr=write_end)
    os.close(write_end)
    try:
        eventually(lambda: world.run("port", "dev/hello").returncode == 0, "it is up")
    finally:
        process.terminate()
        process.wait(20)
        os.close(read_end)
