"""The single file: how it unpacks and starts. The content is a shell script here."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatch_build import DATE
from tools import onefile

USER = 12345  # without an account
PROGRAM = """\
#!/bin/sh
printf '%s|' "$@"
cat "${0%/*}/lib/data"
exit 7
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that any user may enter; pytest's own are root's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def packed(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file, with a program in it."""
    monkeypatch.setenv(DATE, "1790000000")
    content = place / "content"
    (content / "lib").mkdir(parents=True)
    (content / "lib" / "data").write_text("data")
    (content / "tunnelctl").write_text(PROGRAM)
    (content / "tunnelctl").chmod(0o755)
    return onefile.pack(content, place / "tunnelctl")


def start(packed: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run it as a user with that home; root's cache is not in it, so it is not run as root."""
    words: list[str] = [str(packed), "a b", "c"]
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    user = USER if os.geteuid() == 0 else None
    return subprocess.run(
        words, env=environ, user=user, capture_output=True, text=True, check=False, cwd="/"
    )


@pytest.fixture
def home(place: Path) -> Path:
    """The home of that user."""
    folder = place / "home"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, USER, USER)
    return folder


def test_it_unpacks_once_for_its_user_alone(packed: Path, home: Path) -> None:
    for _ in range(2):
        done = start(packed, home)
        assert (done.returncode, done.stdout, done.stderr) == (7, "a b|c|data", "")
    (unpacked,) = (home / ".cache" / "tunnelctl").iterdir()
    assert unpacked.stat().st_mode & 0o077 == 0
    (unpacked / "lib" / "data").write_text("kept")
    assert start(packed, home).stdout.endswith("kept"), "the second start does not unpack"


def test_where_it_cannot_unpack_it_says_what_to_set(packed: Path, home: Path) -> None:
    (home / ".cache").write_text("a file")
    done = start(packed, home)
    assert done.returncode == 73
    assert "XDG_CACHE_HOME" in done.stderr


def test_the_same_content_is_the_same_file(packed: Path, place: Path) -> None:
    again = onefile.pack(place / "content", place / "again")
    assert again.read_bytes() == packed.read_bytes()
