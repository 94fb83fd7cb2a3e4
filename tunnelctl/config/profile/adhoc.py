"""Profiles for command lines: `up -L … HOST` becomes a file like any other.

Because it is a file, it is checked, shown and brought up again after a restart like every profile.
Owns the names of its forwards, and its path. Must never be taken for a profile of the user's.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tunnelctl.config.profile.canonical import yaml_text
from tunnelctl.config.profile.find import is_profile_name
from tunnelctl.config.values.forward_specs import ForwardSpec
from tunnelctl.config.values.reach import Jump
from tunnelctl.home.whole_file import write_whole

_NOT_IN_A_NAME = re.compile(r"[^a-z0-9._-]+")
_LONGEST_NAME = 64
_DIGITS = 10  # length of the digest that tells two files of one name apart
_KEPT = 30 * 86400.0  # seconds


def document_of(
    host: Jump,
    specs: Iterable[ForwardSpec],
    *,
    description: str,
    permit: Sequence[str] = (),
    allow: Sequence[str] = (),
) -> dict[str, Any]:
    """A profile with these forwards through one host.

    `permit` is for those whose clients name the target, `allow` for those that other machines can
    connect to.
    """
    document: dict[str, Any] = {"version": 1, "description": description}
    given = {"user": host.user, "port": host.port}
    document["hosts"] = {host.name: {k: v for k, v in given.items() if v is not None}}
    forwards: dict[str, Any] = {}
    for spec in specs:
        forwards[unused(forward_name(spec), forwards)] = forward_map(spec, host.name, permit, allow)
    document["forwards"] = forwards
    return document


def name_for(host: str) -> str:
    """A name for a profile that leads through `host`."""
    return _name(host) or "host"


def file_for(folder: Path, name: str, document: Mapping[str, Any]) -> Path:
    """The path of a profile called `name`. The path depends on the content, because a name belongs
    to a file: a profile never takes the place of another of that name."""
    what = {key: value for key, value in document.items() if key != "description"}
    digest = hashlib.sha256(yaml_text(what).encode()).hexdigest()
    return folder / f"{name}.{digest[:_DIGITS]}.yaml"


def write(folder: Path, name: str, document: Mapping[str, Any]) -> Path:
    """Write it as `name`, whole or not at all, where nobody else can change it; returns its path.

    Raises:
        OSError: it cannot be written.
    """
    assert is_profile_name(name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = file_for(folder, name, document)
    write_whole(path, yaml_text(dict(document)).encode())
    return path


def prune(folder: Path, used: Iterable[str], now: float) -> None:
    """Remove files that were not written for a month (`now`: seconds since 1970) and are not in
    `used`."""
    in_use = set(used)
    for path in folder.glob("*.yaml"):
        with suppress(OSError):  # another command removes them too
            if str(path) not in in_use and path.stat().st_mtime < now - _KEPT:
                path.unlink()


def forward_map(
    spec: ForwardSpec, via: str, permit: Sequence[str] = (), allow: Sequence[str] = ()
) -> dict[str, Any]:
    """The keys of one forward through the host `via`."""
    rule: dict[str, Any] = {spec.key: str(spec.listen)}
    if spec.target is not None:
        rule["to"] = str(spec.target)
    rule["via"] = via
    if spec.exposed:  # the address was typed, so it is intended
        rule["expose"] = True
        if allow:
            rule["allow"] = list(allow)
    if spec.key == "remote_dynamic":
        rule["permit"] = list(permit)
    return rule


def forward_name(spec: ForwardSpec) -> str:
    """The name if none was given."""
    word = "socks" if spec.target is None else spec.key
    listen = spec.listen
    if listen.is_unix:
        return _name(f"{word}-{os.path.basename(listen.path)}")
    if listen.port:
        return f"{word}-{listen.port}"
    target = spec.target
    if target is None:
        return word
    end = os.path.basename(target.path) if target.is_unix else str(target.port)
    return _name(f"{word}-to-{end}")


def unused(name: str, taken: Iterable[str]) -> str:
    """The name, with a number if it is taken."""
    names, number = set(taken), 2
    unique = name
    while unique in names:
        unique, number = f"{name}-{number}", number + 1
    return unique


def _name(text: str) -> str:
    return _NOT_IN_A_NAME.sub("-", text.lower()).strip("._-")[:_LONGEST_NAME]
