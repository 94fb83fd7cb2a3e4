"""The files of the page are those that were fetched, and few bytes together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import fetch_vendored
from tools.fetch_vendored import CHECKSUMS, LISTED, PACKAGES, checksums, listed
from tunnelctl.view.condition import Condition

STATIC = fetch_vendored.PAGE.parent
MOST = 120_000  # bytes


@pytest.mark.parametrize("folder", sorted({package.folder for package in PACKAGES}))
def test_vendored_files_are_those_that_were_fetched(folder: Path) -> None:
    assert (folder / CHECKSUMS).read_text() == checksums(folder), "tools.fetch_vendored"
    named = {name for one in PACKAGES if one.folder == folder for name in one.files.values()}
    assert (folder / LISTED).read_text() == listed(folder), "tools.fetch_vendored"
    assert named | {CHECKSUMS, LISTED} == {path.name for path in folder.iterdir()}


def test_the_page_is_small() -> None:
    """Everything that a browser may load; licences are for people."""
    loaded = [
        path for path in STATIC.rglob("*.*") if path.suffix in (".js", ".css", ".html", ".svg")
    ]
    assert sum(path.stat().st_size for path in loaded) < MOST


def test_nothing_comes_from_elsewhere() -> None:
    """Every address in our own files is a path of the dashboard, or the name of a namespace."""
    for path in STATIC.glob("*.*"):
        text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert "http" not in text.replace("inspect: http", ""), path.name


def test_every_condition_has_a_look_of_its_own() -> None:
    """Only what is up is shown as by default."""
    style = (STATIC / "style.css").read_text()
    for condition in set(Condition) - {Condition.UP}:
        assert f'[data-condition="{condition}"]' in style, condition
