"""The command line of ssh(1): its options, and the meaning of each for a tunnel.

Owns the grammar (OpenSSH ssh.c, main) for `up`, `run` and the import. An option about the host
becomes a line of ssh_config(5), so that one reader judges both. Options without effect on a tunnel
are accepted; those that cannot be honoured are named. Must never run anything.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tunnelctl.config.exchange.ssh_options import (
    ALREADY_SO,
    NO_COUNTERPART,
    REFUSED,
    WISHES,
    is_already_so,
)
from tunnelctl.config.exchange.ssh_words import WITH_ARGUMENT, Words, apart
from tunnelctl.config.openssh.keywords import FORWARDING, RELEVANT
from tunnelctl.config.openssh.lines import ConfigLine, quoted, statement
from tunnelctl.config.values.forward_specs import dynamic_spec, halves, local_spec, remote_spec
from tunnelctl.config.values.reach import Jump, parse_jump
from tunnelctl.spec.environment import expand_user

# Options that are also keywords of ssh_config(5).
_KEYWORDS = {
    "b": "bindaddress",
    "i": "identityfile",
    "l": "user",
    "p": "port",
    "c": "ciphers",
    "m": "macs",
}
_FAMILIES = {"4": "inet", "6": "inet6"}
# The last one on the line wins, also over -o (OpenSSH ssh.c, main); for all others the first wins.
_OVERRIDES = frozenset("46gbcm")
_FORWARDS = {
    "L": ("localforward", local_spec),
    "R": ("remoteforward", remote_spec),
    "D": ("dynamicforward", dynamic_spec),
}
_DECIDES = ("exitonforwardfailure",)
# A relative path on the command line begins at the current folder, one in a file at the home.
_PATHS = frozenset(
    {
        "certificatefile",
        "globalknownhostsfile",
        "identityagent",
        "identityfile",
        "revokedhostkeys",
        "userknownhostsfile",
    }
)
_NO_PATHS = ("", "none", "ssh_auth_sock")
NO_FILE = ("none", os.devnull)
_BARE_PORT = re.compile(r"[^:/\[\]\s]+")
_AUTOSSH_MONITOR = "M"
_KEY = "-i "  # the name in ssh_config for the setting of -i


@dataclass
class SshCommand:
    """One command line.

    `lines` are its settings and forwards as lines of ssh_config; `config` is the file of -F.
    `remote` are the words after the host. `wishes` are options that are ignored or applied more
    strictly, `unmet` those that cannot be honoured; one sentence each.
    """

    lines: list[ConfigLine] = field(default_factory=list)
    config: str | None = None
    destination: str | None = None
    remote: tuple[str, ...] = ()
    wishes: list[str] = field(default_factory=list)
    unmet: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The destination, or an empty text."""
        return self.destination or ""

    @property
    def forwards(self) -> bool:
        """Whether it has forwards."""
        keywords = {keyword for keyword, _ in _FORWARDS.values()}
        return any(line.keyword in keywords for line in self.lines)

    def value(self, keyword: str) -> str:
        """The first value of a keyword, which counts, in lower case; or an empty text."""
        values = (line.rest for line in self.lines if line.keyword == keyword)
        return next(values, "").strip().lower()

    def without_missing_keys(self, environ: Mapping[str, str], folder: str) -> None:
        """Skip each -i whose file does not exist, as ssh does."""
        kept = []
        for line in self.lines:
            path = line.file.removeprefix(_KEY) if line.file.startswith(_KEY) else ""
            if path and not os.path.exists(os.path.join(folder, expand_user(path, environ))):
                self.wishes.append(f"{line.file}: no such file, so it is passed over")
            else:
                kept.append(line)
        self.lines = kept

    def say(self, keyword: str, value: str, where: str, *, overrides: bool = False) -> None:
        """Add a line of ssh_config; `where` is its name in messages. The first value counts, so
        overriding lines go first."""
        line = ConfigLine(where, 0, keyword, value)
        self.lines.insert(0 if overrides else len(self.lines), line)


def parse(words: Sequence[str] | Words, folder: str, *, autossh: bool = False) -> SshCommand:
    """Parse the words after `ssh` (or autossh); relative paths begin at `folder`.

    Raises:
        ValueError: ssh would refuse it, with a sentence.
    """
    if not isinstance(words, Words):
        monitor = {_AUTOSSH_MONITOR} if autossh else set()
        words = apart(words, with_argument=WITH_ARGUMENT | monitor)
    command = SshCommand(remote=words.remote)
    for option, argument in words.options:
        if autossh and option == _AUTOSSH_MONITOR:
            if argument.partition(":")[0] != "0":
                command.wishes.append(
                    f"-M {argument}: server_alive_interval notices a silent server, no port does"
                )
        else:
            _take(command, option, argument, folder)
    if words.host is not None:
        _go_to(command, words.host)
    return command


def _go_to(command: SshCommand, destination: str) -> None:
    try:
        jump = _destination(destination)
    except ValueError as error:
        raise ValueError(f"HOST {error}") from None
    command.destination = jump.name
    if jump.user is not None:
        command.say("user", quoted(jump.user), destination)
    if jump.port is not None:
        command.say("port", str(jump.port), destination)


def _destination(text: str) -> Jump:
    """`[user@]host`, `[user@]host:port` or a URI; with more colons it is an IPv6 address."""
    if text.startswith("ssh://"):
        return parse_jump(text)
    user, at, name = text.rpartition("@")
    bare = parse_jump(f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name)
    return Jump(bare.name, user if at else None, bare.port)


def _take(command: SshCommand, option: str, argument: str, folder: str) -> None:
    written = f"-{option} {argument}".strip()
    if option == "o":
        _configure(command, argument, folder)
    elif option == "F":
        away = argument.lower() in NO_FILE
        command.config = argument if away else os.path.abspath(os.path.join(folder, argument))
    elif option == "g":
        command.say("gatewayports", "yes", written, overrides=option in _OVERRIDES)
    elif option == "J":
        command.say("proxyjump", argument, written)
    elif option in _FORWARDS:
        _forward(command, option, argument)
    elif option in _FAMILIES:
        command.say("addressfamily", _FAMILIES[option], written, overrides=option in _OVERRIDES)
    elif option in _KEYWORDS:
        keyword = _KEYWORDS[option]
        value = quoted(_located(keyword, argument, folder))
        command.say(keyword, value, written, overrides=option in _OVERRIDES)
    elif option in WISHES:
        command.wishes.append(f"{written}: {WISHES[option]}")
    elif option not in ALREADY_SO:
        command.unmet.append(f"{written}: {REFUSED.get(option, NO_COUNTERPART)}")


def _forward(command: SshCommand, option: str, text: str) -> None:
    keyword, read = _FORWARDS[option]
    if option == "L" and _BARE_PORT.fullmatch(text):
        text = f"{text}:localhost:{text}"
    try:
        read(text)
    except ValueError as error:
        raise ValueError(f"-{option} {error}") from None
    command.say(keyword, " ".join(map(quoted, halves(text))), f"-{option}")


def _configure(command: SshCommand, text: str, folder: str) -> None:
    written = f"-o {text}"
    line = statement(text, written)
    if line is None:
        raise ValueError(f"-o {text!r} is not KEYWORD=VALUE")
    if line.keyword in RELEVANT or line.keyword in FORWARDING or line.keyword in _DECIDES:
        value = line.rest
        if line.keyword in _PATHS:
            value = " ".join(quoted(_located(line.keyword, w, folder)) for w in line.words())
        command.say(line.keyword, value, written)
    elif line.keyword in WISHES:
        if not is_already_so(line.keyword, line.rest):
            command.wishes.append(f"{written}: {WISHES[line.keyword]}")
    elif not is_already_so(line.keyword, line.rest):
        command.unmet.append(f"{written}: {REFUSED.get(line.keyword, NO_COUNTERPART)}")


def _located(keyword: str, path: str, folder: str) -> str:
    """A path as the reader of ssh_config expects it: relative to the current folder, not to the
    home."""
    if keyword not in _PATHS or path.lower() in _NO_PATHS or path[0] in "/~$%":
        return path
    return os.path.join(folder.replace("%", "%%"), path)
