"""The lines of a session: whole, bounded, and harmless to a terminal, however they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.ssh.link.session import LINE_MAX, Lines


def lines_of(*parts: bytes) -> list[str]:
    told: list[str] = []
    lines = Lines(told.append)
    for part in parts:
        lines.feed(part)
    lines.end()
    return told


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"one\r\ntwo\n\n\rthree", ["one", "two", "three"]),
        (b"\x1b[44mHTTP\x1b[0m: \x1b[1;32mhttp://a.b\x1b[K\r\n", ["HTTP: http://a.b"]),
        (b"\x1b]0;title\x07\x1b[", ["\\x1b]0;title\\x07\\x1b["]),
        (b"a\tb\x00\x9bc\xff", ["a\\tb\\x00�c�"]),
        ("\u202eevil \u2028".encode(), ["\\u202eevil"]),
        (b" \t \x1b[2J\n", []),
    ],
)
def test_what_becomes_of_text(data: bytes, told: list[str]) -> None:
    assert lines_of(data) == told
    assert lines_of(*(data[n : n + 1] for n in range(len(data)))) == told


@given(st.binary(max_size=3 * LINE_MAX))
def test_nothing_can_drive_a_terminal(data: bytes) -> None:
    told = lines_of(data)
    assert all(line.isprintable() for line in told)
    assert sum(map(len, told)) <= 10 * len(data)


def test_a_line_without_an_end_is_told_in_pieces() -> None:
    told: list[str] = []
    lines = Lines(told.append)
    for _ in range(5):
        lines.feed(b"x" * (LINE_MAX // 2))
    assert told == ["x" * LINE_MAX] * 2
    assert lines_of(b"y" * (2 * LINE_MAX + 1) + b"\nz") == ["y" * LINE_MAX] * 2 + ["y", "z"]
