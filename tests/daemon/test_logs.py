"""One record is one line that harms no terminal."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.profiles import EMBEDDED
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.daemon.log.destinations import JournalLine, JsonLine, OneLine, PrivateFile
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.home.paths import Paths


def test_control_characters_and_tracebacks_stay_in_the_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "", 1, "banner %s", ("\x1b[2J\r\n",), error)
    line = OneLine().format(record)
    assert line.isprintable()
    assert "banner \\x1b[2J\\r\\n" in line
    assert "ValueError: two\\nlines" in line


@pytest.mark.parametrize("form", [OneLine, JsonLine, JournalLine])
def test_no_form_lets_a_control_character_through(form: type[OneLine]) -> None:
    record = logging.LogRecord("x", logging.WARNING, "", 1, "banner \x1b[2J\n<0>", (), None)
    line = form().format(record)
    assert line.isprintable()
    assert "banner" in line


def test_the_journal_is_told_how_bad_it_is() -> None:
    for level, prefix in ((logging.INFO, "<6>"), (logging.WARNING, "<4>"), (logging.ERROR, "<3>")):
        record = logging.LogRecord("x", level, "", 1, "host %s", ("dev/a",), None)
        assert JournalLine().format(record) == f"{prefix}host dev/a"


def lines_of(world: World, *options: str, through_journal: bool = False) -> list[str]:
    """What a daemon in the foreground says until its profile is up and it was told to end."""
    world.profile("dev", EMBEDDED)
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as output:
        environ = dict(world.environ)
        if through_journal:
            found = os.fstat(write_end)
            environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
        command = [sys.executable, "-m", "tunnelctl", "daemon", "dev", *options]
        try:
            process = subprocess.Popen(command, env=environ, cwd=world.home, stderr=write_end)
        finally:
            os.close(write_end)
        try:
            eventually(lambda: world.run("port", "dev/hello").returncode == 0, "it is up")
        finally:
            process.terminate()
            lines = output.read().splitlines()
            process.wait(20)
    return lines


def test_as_json_each_line_has_profile_and_name(world: World) -> None:
    lines = [json.loads(line) for line in lines_of(world, "--log-format", "json")]
    (up,) = (line for line in lines if line["name"] == "hello" and " up" in line["message"])
    assert up["profile"] == "dev"
    assert up["level"] == "INFO"
    assert set(up) == {"at", "level", "profile", "name", "message"}


def test_the_journal_is_known_by_its_stream(world: World) -> None:
    lines = lines_of(world, through_journal=True)
    assert all(line.startswith("<") for line in lines)
    assert any(line.startswith("<6>forward dev/hello up") for line in lines)


def test_text_has_the_time(world: World) -> None:
    assert all(line.partition("T")[0].count("-") == 2 for line in lines_of(world))


def test_the_file_is_rotated_and_stays_private(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        with contextlib.closing(PrivateFile(tmp_path / "daemon.log", Troubles())) as handler:
            for number in range(400):
                text = f"{number} " + "x" * 20_000
                handler.emit(logging.LogRecord("x", logging.INFO, "", 1, text, (), None))
    finally:
        os.umask(old)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == ["daemon.log", *(f"daemon.log.{n}" for n in (1, 2, 3))]
    assert all(path.stat().st_size <= 1 << 20 for path in files)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert files[0].read_text().splitlines()[-1].startswith("399 ")


def test_a_host_that_is_away_does_not_fill_the_log(world: World, paths: Paths) -> None:
    world.profile(
        "dev",
        "version: 1\nhosts:\n  gone: {hostname: 127.0.0.1, port: 1, user: me, "
        "reconnect: {min: 10ms, max: 20ms}}\nforwards: {x: {local: 0, to: 9, via: gone}}\n",
    )
    assert world.run("up", "dev", "-d", "--wait-timeout", "0").returncode == 75
    eventually(lambda: world.host("dev", "gone")["attempts"] > 60, "it was tried often")
    lines = [line for line in paths.log_file.read_text().splitlines() if "host dev/gone" in line]
    assert len(lines) < 6
    assert "connection refused" in lines[1].lower()
    with world.start("events", "--json") as events:
        try:
            assert events.stdout is not None
            told = [json.loads(events.stdout.readline()) for _ in range(12)]
        finally:
            events.kill()
            events.communicate()
    # Whoever watches sees each try.
    assert sum(event["state"] == "backoff" for event in told) >= 4
    assert sum(event["state"] == "connecting" for event in told) >= 4
