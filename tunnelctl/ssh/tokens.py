"""ssh_config(5) TOKENS in the programs of a profile.

Owns the allowed values of a token: names of hosts and servers reach the command lines of other
programs. Must never let through a value with a meaning there, such as a leading `-`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tunnelctl.spec.host import Host
from tunnelctl.ssh import sentences
from tunnelctl.ssh.sentences import excerpt

HOSTNAME = re.compile(r"[A-Za-z0-9._:%][A-Za-z0-9._:%-]*")
# Letters of any script; nothing with a meaning to a shell inside a word or, like `=`, `#` and `-`,
# at its start.
USER = re.compile(r"[\w.@+:/%,][\w.@+:/%,=#-]*")
# A name as in known_hosts, also `[host]:port`.
KNOWN_AS = re.compile(r"[A-Za-z0-9._:%\[][A-Za-z0-9._:%\[\]-]*")
# A key type, a fingerprint, base64.
OF_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9@:._+/=-]*")
_TOKEN = re.compile(r"%(.?)", re.DOTALL)

# The value of a token, and its allowed form.
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
            raise sentences.invalid_key(host, key, f"{token[0]} is not a token", better)
        text, allowed = values[token[1]]
        if not allowed.fullmatch(text):
            what = f"'{excerpt(text)}' is not safe to pass to a program"
            raise sentences.invalid_key(host, key, what, "another name")
        return text

    return [_TOKEN.sub(value, word) for word in words]
