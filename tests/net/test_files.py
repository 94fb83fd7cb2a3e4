"""Files that do not answer, or have no end: each wait is limited, and one thread is enough."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.silent_files import dead_disk, readers, silent_pipe
from tests.support.waiting import eventually
from tunnelctl import clock
from tunnelctl.net import files


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for the seconds that a person's disk is given."""
    monkeypatch.setattr(files, "_SECONDS", 0.2)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    """A named pipe that nobody writes to."""
    with silent_pipe(tmp_path / "pipe") as path:
        yield path


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 200_000)
    found = files.read(path, 200_000, regular=True)
    assert found.data == b"x" * 200_000
    assert found.status.st_size == 200_000
    with pytest.raises(files.TooLarge, match="199,999 bytes"):
        files.read(path, 199_999)


def test_no_file_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "none", 10)
    with pytest.raises(ValueError, match="null"):
        files.read("a\0b", 10)
    assert not files.exists(tmp_path / "none")
    assert files.exists(tmp_path)
    assert not files.exists(tmp_path, regular=True)


def test_one_without_an_end_is_too_large() -> None:
    with pytest.raises(files.TooLarge):
        files.read("/dev/zero", 1 << 20)


@pytest.mark.parametrize("what", ["pipe", "device", "folder"])
def test_what_must_be_regular_is(tmp_path: Path, pipe: Path, what: str) -> None:
    path = {"pipe": pipe, "device": Path("/dev/zero"), "folder": tmp_path}[what]
    with pytest.raises(files.NotRegular):
        files.read(path, 10, regular=True)


def test_a_pipe_that_somebody_writes_to_is_read(pipe: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(files.read, pipe, 100)
        with pipe.open("wb") as writer:
            writer.write(b"written")
        assert reading.result(20).data == b"written"


@pytest.mark.usefixtures("quick")
def test_many_wait_for_a_silent_one_in_one_thread(pipe: Path) -> None:
    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(files.read, pipe, 100) for _ in range(20)]
        for each in waiting:
            assert isinstance(each.exception(20), files.FileSilent)
    assert readers(pipe) == 1
    with pipe.open("wb") as writer:
        writer.write(b"at last")
    eventually(lambda: not readers(pipe), "the reader is gone")
    with ThreadPoolExecutor(1) as pool:  # and it is read anew
        reading = pool.submit(files.read, pipe, 100)
        with pipe.open("wb") as writer:
            writer.write(b"again")
        assert reading.result(20).data == b"again"


def test_the_deadline_of_what_it_is_for_holds(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SECONDS", 600.0)
    end = clock.monotonic() + 0.1
    with files.until(lambda: end), pytest.raises(files.FileSilent):
        files.read(pipe, 100)
    # Whoever comes later does not wait long for one that is known to be silent.
    with pytest.raises(files.FileSilent):
        files.read(pipe, 100)


@pytest.mark.usefixtures("quick")
def test_a_disk_that_is_away_is_waited_for_once(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    path = folder / "key"
    with dead_disk(folder) as end:
        for _ in range(5):
            with pytest.raises(files.FileSilent, match="disk that is away"):
                files.read(path, 100, regular=True)
            assert not files.exists(path)
        assert readers(path) == 2  # of what it has, and of whether it is there
        end()
        eventually(lambda: not readers(path), "nobody waits any more")
        with pytest.raises(OSError, match="not connected"):
            files.read(path, 100)
