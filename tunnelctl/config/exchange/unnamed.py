"""A profile without a file: the forwards and the host of a command line of ssh(1).

For `up -L … HOST`, `run -L … HOST` and `tunnelctl.open(forwards=…)`. Owns what such a line says in
addition to `ssh_command.py`: the keywords of the host in ssh_config that change the meaning of
forwards. Must never write a file.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tunnelctl.config.exchange.from_ssh_command import carry, configured_forwards
from tunnelctl.config.exchange.from_ssh_config import are_cleared
from tunnelctl.config.exchange.imported import Imported
from tunnelctl.config.exchange.ssh_command import SshCommand, parse
from tunnelctl.config.exchange.ssh_words import Words
from tunnelctl.config.openssh.keywords import FORWARDS
from tunnelctl.config.profile.adhoc import name_for
from tunnelctl.config.sentences import ONE_HOST
from tunnelctl.quick_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class UnnamedProfile:
    """`name` is the default one; `remarks` say what of the line is ignored or applied more
    strictly, one sentence each."""

    name: str
    hosts: Mapping[str, dict[str, Any]]
    forwards: Mapping[str, dict[str, Any]]
    remarks: tuple[str, ...]

    def document(self, description: str) -> dict[str, Any]:
        """The content of its file."""
        head = {"version": 1, "description": description}
        return {**head, "hosts": dict(self.hosts), "forwards": dict(self.forwards)}


def unnamed_profile(
    words: Words, environ: Mapping[str, str], folder: str, permit: Sequence[str] = ()
) -> UnnamedProfile:
    """The profile of a line; relative paths begin at `folder`. `permit` is for -R PORT.

    Raises:
        ValueError: ssh would refuse it, or no profile can express it, with a sentence.
    """
    imported, remarks = Imported(), list[str]()
    command = parse(words, folder)
    if not command.name:
        raise ValueError(f"{ONE_HOST}, and none is named")
    command.without_missing_keys(environ, folder)
    also = _configured(command, environ, remarks)
    carry(imported, command, environ, also=also, permit=permit)
    if problems := [*command.unmet, *imported.notes]:
        raise ValueError("; ".join(problems))
    if not imported.hosts:
        raise ValueError(f"{command.name}: nothing is forwarded; say it with -L, -R or -D")
    return UnnamedProfile(
        name_for(command.name),
        imported.hosts,
        imported.forwards,
        (*remarks, *command.wishes),
    )


def _configured(
    command: SshCommand, environ: Mapping[str, str], remarks: list[str]
) -> Mapping[str, tuple[str, ...]]:
    """The forwards of the host in ssh_config, if the line has none, and the keywords that change
    the meaning of forwards.

    Raises:
        ValueError: ssh_config cannot be used.
    """
    configured = configured_forwards(command, environ)
    forwards = configured.keys() & FORWARDS
    if not command.forwards:
        return configured
    if forwards and not are_cleared(configured):
        file = () if command.config is None else ("-F", command.config)
        alone = shlex.join(["tunnelctl", "up", "-N", *file, command.name])
        remarks.append(f"ssh_config forwards for {command.name}, too: {alone}")
    return {key: value for key, value in configured.items() if key not in FORWARDS}
