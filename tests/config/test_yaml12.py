"""YAML is read as YAML 1.2 core, with the place of every mistake."""

from __future__ import annotations

import math

import pytest
import yaml

from tests.config.conftest import Folder
from tunnelctl.config.yaml import yaml12
from tunnelctl.config.yaml.mistakes import Mistakes
from tunnelctl.config.yaml.tree import plain


@pytest.fixture(params=["C parser", "Python parser"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both of PyYAML's parsers give the same: a wheel may come without the one in C."""
    if request.param == "Python parser":
        monkeypatch.setattr(yaml12, "_LOADER", yaml.SafeLoader)


def read(text: str) -> object:
    mistakes = Mistakes()
    tree = yaml12.parse(text, "f", mistakes, lambda value, mark, path: value)
    assert not mistakes
    assert tree is not None
    return plain(tree)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5432:22", "5432:22"),
        ("12:30:45", "12:30:45"),
        ("no", "no"),
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("+3", 3),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-.inf", -math.inf),
        ("2026-11-22", "2026-11-22"),
        ("<<", "<<"),
        ("=", "="),
        ('"22"', "22"),
        ("'true'", "true"),
        ('""', ""),
        ("|\n  a\n  b", "a\nb\n"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_are_those_of_the_core_schema(text: str, value: object) -> None:
    assert read(f"key: {text}\n") == {"key": value}


def test_not_a_number_is_a_float() -> None:
    found = read("key: .nan")
    assert isinstance(found, dict)
    assert math.isnan(found["key"])


def test_collections_nest() -> None:
    assert read("a: [1, {b: c}]\nd:\n  - e\n  - [f]\n") == {
        "a": [1, {"b": "c"}],
        "d": ["e", ["f"]],
    }


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            "hosts: {b: &x {}}\n",
            "1:12: hosts.b: anchors (&x) are not allowed; write the value again",
        ),
        ("hosts: {b: *x}\n", "1:12: hosts.b: aliases (*x) are not allowed; write the value again"),
        (
            "hosts: {b: !!python/object:os.system {}}\n",
            "1:12: hosts.b: tags (tag:yaml.org,2002:python/object:os.system) are not allowed; "
            "write the value alone",
        ),
        (
            "hosts: {b: {user: ! x}}\n",
            "1:19: hosts.b.user: tags (!) are not allowed; write the value alone",
        ),
        ("hosts: {b: {}}\nhosts: {}\n", "2:1: hosts: duplicate key, first on line 1"),
        ("hosts: {b: {}}\n80: x\n", '2:1: 80 is not a string; write the key as "80"'),
        ("hosts: {b: {}}\ntrue: x\n", '2:1: true is not a string; write the key as "true"'),
        ("hosts: {b: {}}\n~: x\n", '2:1: ~ is not a string; write the key as "~"'),
        ("hosts: {b: {}}\n? [a]\n: x\n", "2:3: a key must be a single word, not a list or map"),
        ("hosts: {b: {}}\n---\nx: 1\n", "2:1: a profile is one document; this begins a second one"),
        ("", "1:1: the file is empty; tunnelctl init writes a first profile"),
        ("# nothing\n---\n", "1:1: the file is empty; tunnelctl init writes a first profile"),
        ("[]", "1:1: a profile is a map of keys such as hosts, forwards"),
        ("just words", "1:1: a profile is a map of keys such as hosts, forwards"),
    ],
)
def test_what_a_profile_may_not_use(folder: Folder, text: str, mistake: str) -> None:
    assert folder.mistakes(text) == [f"dev.yaml:{mistake}"]


@pytest.mark.parametrize(
    ("raw", "mistake"),
    [
        ("hosts: {}".encode("utf-16"), "1:1: this is UTF-16; save the file as UTF-8"),
        (b"a: 1\nb: \xff\n", "2:4: byte 0xff is not UTF-8"),
        ("a: ü\nbä: \0\n".encode(), "2:5: a NUL byte cannot be in YAML"),
        (b"a: \x1b[31m\n", "1:4: the control character U+001B cannot be in YAML"),
    ],
)
def test_bytes_that_are_not_text(folder: Folder, raw: bytes, mistake: str) -> None:
    assert folder.mistakes(raw) == [f"dev.yaml:{mistake}"]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("hosts:\n  b: {user: [}\n", "dev.yaml:2:"),
        ("hosts:\n\tb: c\n", "dev.yaml:2:"),
        ("hosts: {b: {}\n", "dev.yaml:2:"),
        ('hosts: "\\q"\n', "dev.yaml:1:"),
        ('hosts: "\\UFFFFFFFF"\n', "dev.yaml:1:"),
        ("hosts: a: b\n", "dev.yaml:1:"),
    ],
)
def test_a_syntax_error_is_one_mistake_with_its_place(
    folder: Folder, text: str, place: str
) -> None:
    (mistake,) = folder.mistakes(text)
    assert mistake.startswith(place)


def test_a_variable_without_quotes_in_a_flow_map_is_explained(folder: Folder) -> None:
    (mistake,) = folder.mistakes("hosts: {b: {user: ${USER}}}\n")
    assert 'write "${NAME}" in quotes' in mistake


def test_a_file_of_windows_is_read(folder: Folder) -> None:
    """With a byte order mark, which takes no column, and with its ends of lines."""
    raw = b"\xef\xbb\xbfhosts: {b: {}}\r\ndescription: |\r\n  two\r\n  lines\r\n"
    assert folder.load(raw).profile.description == "two lines"
    assert folder.mistakes(b"\xef\xbb\xbffoo: 1\r\n" + raw[3:]) == [
        "dev.yaml:1:1: foo: unknown key"
    ]


def test_a_lone_surrogate_is_not_text(folder: Folder) -> None:
    (mistake,) = folder.mistakes('hosts: {b: {user: "\\ud800"}}\n')
    assert mistake.startswith("dev.yaml:1:")


def test_deep_nesting_is_refused_at_its_place(folder: Folder) -> None:
    (mistake,) = folder.mistakes("hosts: " + "[" * 5000)
    assert mistake.startswith("dev.yaml:1:39: hosts[0]")
    assert mistake.endswith("nested more than 32 levels deep")


@pytest.mark.parametrize(
    "text",
    [
        "hosts: " + "{" * 5000,
        "hosts: {b: " + "[" * 5000 + "]" * 5000 + "}",
        "hosts:\n  b: " + "[{" * 5000,
        "[" * 5000,
        "hosts: " + "[\n" * 5000,
    ],
)
def test_nesting_is_limited_here_and_not_by_the_parser(folder: Folder, text: str) -> None:
    (mistake,) = folder.mistakes(text)
    assert mistake.endswith("nested more than 32 levels deep")


def test_lists_beside_each_other_are_not_nested(folder: Folder) -> None:
    (mistake,) = folder.mistakes("hosts: [" + "[a], " * 60 + "}\n")
    assert "not valid YAML" in mistake


def test_a_bomb_of_aliases_stays_small(folder: Folder) -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    mistakes = folder.mistakes("\n".join(lines))
    assert sum("aliases" in mistake for mistake in mistakes) == 8 * 9


def test_mistakes_in_one_file_are_said_together(folder: Folder) -> None:
    text = "hosts:\n  b: {prot: 1, user: *x}\n  b: {}\n80: {}\n"
    assert folder.mistakes(text) == [
        "dev.yaml:2:7: hosts.b.prot: unknown key (did you mean port?)",
        "dev.yaml:2:22: hosts.b.user: aliases (*x) are not allowed; write the value again",
        "dev.yaml:3:3: hosts.b: duplicate key, first on line 2",
        'dev.yaml:4:1: 80 is not a string; write the key as "80"',
    ]
