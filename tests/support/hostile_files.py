"""Profiles that somebody wrote to keep their reader busy: as large as a profile can be, 1 MiB."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

SIZE = 1024 * 1024  # bytes; the limit of a profile
_HOST = "hosts: {h: {ssh_config: false}}\n"


def _filled(unit: str, head: str = "", tail: str = "", size: int = SIZE) -> str:
    return head + unit * ((size - len(head) - len(tail)) // len(unit)) + tail


def _lines(head: str, line: Callable[[int], str]) -> str:
    """As many numbered lines as there is room for."""
    lines, left, number = [head], SIZE - len(head), 0
    while (left := left - len(next_line := line(number))) >= 0:
        lines.append(next_line)
        number += 1
    return "".join(lines)


def _forwards(keys: str) -> str:
    return _lines(_HOST + "forwards:\n", lambda n: f"  f{n}: {{{keys.format(n=n)}}}\n")


# By what they have much of. None is a profile that can be used.
HOSTILE_FILES: Mapping[str, str] = MappingProxyType(
    {
        "a list that ends as a map": _filled("1,", "hosts: [1,", "}", 300_000),
        "a larger list that ends as a map": _filled("1,", "hosts: [1,", "}"),
        "texts in a list that ends as a map": _filled('"x",', "a: [", "}"),
        "escaped quotes before the end": _filled('\\"', 'a: [", ', "}"),
        "commas": "," * 80_000,
        "more commas": "," * SIZE,
        "opened lists": "[" * 500_000,
        "opened maps": "{" * SIZE,
        "directives": _filled("%X y\n"),
        "dashes": "- " * (SIZE // 2),
        "ones": _filled("1,", "hosts: [", "]"),
        "lines of ones": _filled("- 1\n", "hosts:\n"),
        "unknown keys": _lines("", lambda n: f"k{n}: 1\n"),
        "unknown keys of a host": _lines("hosts:\n  h:\n", lambda n: f"    prt{n}: 1\n"),
        "keys without a value": _lines("hosts:\n  h:\n", lambda n: f"    k{n}:\n"),
        "the same key": _filled("a: 1\n"),
        "hosts": _lines("hosts:\n", lambda n: f"  h{n}: {{}}\n"),
        "hosts with a mistake": _lines("hosts:\n", lambda n: f"  h{n}: {{port: x}}\n"),
        "hosts under long defaults": _lines(
            f"defaults: {{ssh_config: false, host_key: [{'x, ' * 30_000}x]}}\nhosts:\n",
            lambda n: f"  h{n}: {{}}\n",
        ),
        "hops": _filled("x,", "hosts:\n  h: {ssh_config: false, proxy_jump: '", "x'}\n"),
        "hosts behind each other": _lines(
            "defaults: {ssh_config: false}\nhosts:\n",
            lambda n: f"  h{n}: {{proxy_jump: h{n + 1}}}\n",
        ),
        "hosts for each other": _lines(
            "defaults: {ssh_config: false}\nhosts:\n  h0: {}\n",
            lambda n: f"  h{n + 1}: {{fallback: h{n}}}\n",
        ),
        "forwards": _forwards("local: 0, to: 1, via: h"),
        "forwards on one port": _forwards("local: 1024, to: 1, via: h"),
        "forwards through nobody": _forwards("local: 0, to: 1, via: hh{n}"),
        "permissions": _filled(
            "1,", f"{_HOST}forwards:\n  b: {{remote_dynamic: 1, via: h, permit: [", "1]}\n"
        ),
        "maps in maps": _lines("", lambda n: "  " * (n % 40) + f"k{n}:\n"),
        "lists of deep maps": _filled("{a: " * 29 + "1" + "}" * 29 + ", ", "x-a: [", "]"),
        "a long text": _filled("a", "description: "),
        "a long text of escapes": _filled("\\u263a", 'description: "', '"'),
        "an open text": _filled("\n", 'a: "'),
        "a long key": _filled("a", tail=": 1"),
        "a long name of an anchor": _filled("a", "hosts: &"),
        "a long tag": "!" * SIZE,
        "nested variables": _filled("${A:-", "description: "),
        "a default in sixteen others": _filled("x", "description: " + "${A:-" * 16, "}" * 16),
        "variables": _filled("${A:-b}", "description: "),
        "variables that are none": _filled("${1}", "description: "),
        "variables that are not set": _lines("", lambda n: f"k{n}: ${{UNSET}}\n"),
        "anchors": _lines("", lambda n: f"k{n}: &a 1\n"),
        "one file many times": _filled("./x.yaml,", "extends: [", "]"),
        "spaces": " " * SIZE,
        "empty lines": "\n" * SIZE,
        "comments": "#\n" * (SIZE // 2),
    }
)
