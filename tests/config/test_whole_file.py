"""A file is written whole or not at all."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tunnelctl.home.whole_file import write_whole


def test_what_lies_beside_it_is_not_in_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = iter(["a", "b", "c"])
    monkeypatch.setattr("secrets.token_hex", lambda size: next(names))
    path = tmp_path / "f"
    (tmp_path / ".f.a").mkdir()
    (tmp_path / ".f.b").symlink_to(tmp_path / "elsewhere")
    write_whole(path, b"all", sync=True)
    assert path.read_bytes() == b"all"
    assert sorted(p.name for p in tmp_path.iterdir()) == [".f.a", ".f.b", "f"]


def test_a_full_disk_changes_nothing_and_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_whole(path, b"old", is_new=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        with pytest.raises(OSError, match="File too large") as failed:
            write_whole(path, b"x" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.value.filename == str(path)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


def test_what_is_to_be_new_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"theirs")
    with pytest.raises(FileExistsError):
        write_whole(path, b"ours", is_new=True)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"theirs"]
