"""ssh_config(5) TOKENS in the words of a profile's programs.

Owns what may take the place of a token: a host's words, and a server's, reach the command lines of
other programs here. Must never let through what could mean something else there, such as a leading
`-`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.ssh.failures import excerpt, label

HOSTNAME = re.compile(r"[A-Za-z0-9._:%][A-Za-z0-9._:%-]*")
# Letters of any script; neither what a shell obeys inside a word nor, at its start, `=`, `#`, `-`.
USER = re.compile(r"[\w.@+:/%,][\w.@+:/%,=#-]*")
# A name as known_hosts has it, `[host]:port` too.
KNOWN_AS = re.compile(r"[A-Za-z0-9._:%\[][A-Za-z0-9._:%\[\]-]*")
# A type of keys, a fingerprint, base64.
OF_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9@:._+/=-]*")
_TOKEN = re.compile(r"%(.?)", re.DOTALL)

# What a token stands for, and what that may look like.
Values = Mapping[str, tuple[str, re.Pattern[str]]]


def expand(host: Host, key: str, words: Sequence[str], more: Values) -> list[str]:
    """The words of `key` of a host with %h, %n, %p, %% and the tokens of `more` replaced.

    Raises:
        Failure: config-invalid for an unknown token, and for a value that is used and has
            characters that could mean something else to the program.
    """
    values: Values = {
        "h": (host.hostname, HOSTNAME),
        "n": (host.name, HOSTNAME),
        "p": (str(host.port), HOSTNAME),
        **more,
    }

    def value(token: re.Match[str]) -> str:
        if token[1] == "%":
            return "%"
        if token[1] not in values:
            better = f"{', '.join(f'%{name}' for name in values)} or %%"
            raise mistake(host, key, f"{token[0]} stands for nothing", better)
        text, allowed = values[token[1]]
        if not allowed.fullmatch(text):
            what = f"'{excerpt(text)}' may not be given to a program"
            raise mistake(host, key, what, "another name")
        return text

    return [_TOKEN.sub(value, word) for word in words]


def mistake(host: Host, key: str, what: str, better: str) -> Failure:
    """A `key` of a host that cannot be used as it is written."""
    hint = f"use {better} in hosts.{host.name} of the profile"
    return Failure(Code.CONFIG_INVALID, f"{label(host)}: {key}: {what}", hint)
