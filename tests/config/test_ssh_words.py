"""Which words are a line of ssh, and which name profiles."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.config.exchange.ssh_words import apart, is_ssh_line

OWN = {"-d": False, "--detach": False, "-f": True, "--file": True, "--as": True, "--help": False}


@pytest.mark.parametrize(
    "line",
    [
        "-L 1:a:1 b",
        "b -L 1:a:1",
        "-dL1:a:1 b",
        "-fN b",
        "-f -N b",
        "-fNT -L 1:a:1 b",
        "-fTL 1:a:1 b",
        "-fNp2222 b",
        "-f b -L 1:a:1",
        "-qv -p 22 b",
        "--as x -N b",
        "-A b",
    ],
)
def test_a_line_of_ssh(line: str) -> None:
    assert is_ssh_line(line.split(), OWN)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "dev prod",
        "-d dev",
        "-q -v -qv dev",
        "-f -",
        "-f dev.yaml",
        "-f LRD.yaml",
        "-fprod.yaml",
        "-fTest.yaml",
        "-ffile",
        "--file -L",
        "--as -N dev",
        "dev -- -L 1:a:1",
        "--help",
        "-",
        "-z dev",
    ],
)
def test_what_is_none(line: str) -> None:
    assert not is_ssh_line(line.split(), OWN)


def test_only_what_leads_counts_where_a_command_follows() -> None:
    assert is_ssh_line(["--as", "x", "-L", "1:a:1", "b", "psql", "-h", "x"], OWN, leading=True)
    assert not is_ssh_line(["dev", "psql", "-L", "x"], OWN, leading=True)


def test_words_are_told_apart_as_ssh_does() -> None:
    line = "-fNT --as x -p2222 -oUser=a -i key b -dL 1:a:1 sleep -L 10"
    words = apart(line.split(), OWN)
    assert words.own == ["--as", "x", "-d"]
    assert words.host == "b"
    assert words.remote == ("sleep", "-L", "10")
    assert words.in_background
    assert words.options[3:] == [("p", "2222"), ("o", "User=a"), ("i", "key"), ("L", "1:a:1")]


_words = st.lists(st.sampled_from(["-", "--", "-L", "-fN", "-f", "x", "--as", ""]) | st.text())


@given(_words)
def test_any_words_are_told_apart_or_refused(words: list[str]) -> None:
    is_ssh_line(words, OWN)
    with suppress(ValueError):
        apart(words, OWN)
