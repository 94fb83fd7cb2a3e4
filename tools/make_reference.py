"""Writes docs/profile.md from the schema of a profile: every key, its value and its default.

    python -m tools.make_reference

From the project's folder. Must never say of a key what the schema does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tunnelctl.config.profile.schema import json_schema

PAGE = Path(__file__).resolve().parents[1] / "docs" / "profile.md"

_INTRODUCTION = """\
# Every key of a profile

Written by `python -m tools.make_reference` from the schema that `tunnelctl schema` prints; a test
holds this page to it. An editor that reads the first line of a file which `tunnelctl init` wrote
shows the same. [getting-started.md](getting-started.md) begins at the beginning.

A duration is `500ms`, `15s`, `5m`, `1h30m`, or a number of seconds. An endpoint is `PORT`,
`HOST:PORT`, `[IPv6]:PORT`, or a path (it has a `/`) for a unix socket; a bare port means loopback.
One value may stand for a list of one. `null` takes away what a file under `extends`, or `defaults`,
says.

A file has at most 1 MiB, and a profile at most 1,000 hosts, 4,000 forwards, 64 files, and 50,000
keys and values, the `defaults` counted once for each host. A host is at most 16 hops away. Of more
than 100 mistakes the first 100 are said.
"""
_SECTIONS = {
    "": "The file",
    "host": "A host, and `defaults`",
    "forward": "A forward",
    "secret": "A secret",
}
_TYPES = {"boolean": "true or false", "integer": "number", "object": "map"}
_DURATION = "[smhdw]"


def page() -> str:
    """The whole page."""
    schema = json_schema()
    maps = {"": schema, **schema["definitions"]}
    return _INTRODUCTION + "".join(_section(name, maps[name]) for name in _SECTIONS)


def _section(name: str, fragment: dict[str, Any]) -> str:
    lines = [f"\n## {_SECTIONS[name]}\n", "| key | value | default | |", "|---|---|---|---|"]
    for path, key in _keys("", fragment):
        default = _default(key.get("default"))
        lines.append(f"| `{path}` | {_value(key)} | {default} | {key['description']} |")
    if name == "secret":
        lines.insert(1, f"{fragment['description']} Exactly one of:\n")
    return "\n".join(lines) + "\n"


def _keys(above: str, fragment: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of a map, and those of the maps in it, with a dot."""
    for key, value in fragment.get("properties", {}).items():
        yield above + key, value
        defaults = value.get("default")
        for choice in _flat(value):
            for name, below in _keys(f"{key}.", choice):
                inner = defaults.get(name.partition(".")[2]) if isinstance(defaults, dict) else None
                yield above + name, {**({"default": inner} if inner else {}), **below}


def _flat(fragment: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The choices that a value has, without those inside of others; null and variables are none."""
    for choice in fragment.get("anyOf", [fragment]):
        if choice is not fragment and "anyOf" in choice:
            yield from _flat(choice)
        elif choice.get("type") != "null" and choice.get("pattern") != r"\$":
            yield choice


def _value(fragment: dict[str, Any]) -> str:
    """The kinds of value that a key takes, in words."""
    kinds = list(dict.fromkeys(filter(None, map(_kind, _flat(fragment)))))
    if "duration" in kinds:
        kinds.remove("number")
    if {"text", "list"} <= set(kinds):
        kinds = [kind for kind in kinds if kind not in ("text", "list")] + ["text or list"]
    if any("0 to 65535" in kind for kind in kinds):
        return "endpoint"
    return ", ".join(kinds)


def _kind(choice: dict[str, Any]) -> str:
    if "$ref" in choice:
        return str(choice["$ref"]).rpartition("/")[2]
    if "const" in choice:
        return f"`{choice['const']}`"
    if "enum" in choice:
        return ", ".join(f"`{word}`" for word in choice["enum"])
    kind = choice["type"]
    if kind == "integer" and "maximum" in choice:
        return f"{choice['minimum']} to {choice['maximum']}"
    if kind == "object" and isinstance(choice.get("additionalProperties"), dict):
        return f"map of name to {_kind(choice['additionalProperties'])}"
    if kind == "string":
        return "duration" if _DURATION in choice.get("pattern", "") else "text"
    return _TYPES.get(kind, "list")


def _default(value: object) -> str:
    if value is None or isinstance(value, dict):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if not isinstance(value, list) else ""


if __name__ == "__main__":
    PAGE.write_text(page())
