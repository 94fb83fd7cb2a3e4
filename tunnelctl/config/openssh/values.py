"""From settings of ssh_config to values of the spec.

Owns which of its keywords have an effect here, and their tokens. What OpenSSH does less strictly is
done strictly: StrictHostKeyChecking no, off and ask all become `yes`. Compression is ignored.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any

from tunnelctl.config.openssh.keywords import AUTHENTICATION_OF
from tunnelctl.config.openssh.lines import TOKEN, SshConfigError, quoted, split
from tunnelctl.config.openssh.reader import Asked, Options
from tunnelctl.config.openssh.tokens import Tokens
from tunnelctl.config.values import names, reach, scalars
from tunnelctl.config.values.algorithms import Kind, offered
from tunnelctl.config.values.reach import (
    KNOWN_HOSTS_TOKENS,
    NONE,
    Jump,
    check_tokens,
    jumps,
    parse_jump,
)
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import home
from tunnelctl.spec.host import AUTHENTICATIONS, USERS_SHELL, StrictHostKeyChecking

# The value of the spec for the values of a keyword.
Read = Callable[["NameSettings", tuple[str, ...]], Any]


@dataclass(frozen=True, slots=True)
class Keyword:
    """A keyword of ssh_config(5), and the conversions between its values and the spec's.

    `read` converts the keyword's values, as `ssh -G` prints them (None: see `NameSettings`); a
    result of None or () counts as not set. `write` makes the values of the lines of an ssh_config,
    one for each line (None: it is written in another way). `always`: it is written even if it is
    our default, because OpenSSH has another.
    """

    name: str
    read: Read | None = None
    write: Callable[[Any], Sequence[str]] | None = None
    always: bool = False


@dataclass(frozen=True, slots=True)
class HostSettings:
    """The settings of a name: fields of a Host, and the way to it."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    jumps: tuple[Jump, ...] = ()
    command: tuple[str, ...] = ()


def configured(name: str, printed: Options, baseline: Options) -> Options:
    """The lines of `ssh -G` that differ from OpenSSH's own defaults."""
    options = {key: value for key, value in printed.items() if value != baseline.get(key)}
    if options.get("hostname", ("",))[0].lower() == name.lower():
        del options["hostname"]
    return options


def found(
    asked: Asked, options: Options, environ: Mapping[str, str], keywords: Mapping[str, Keyword]
) -> tuple[HostSettings, set[str]]:
    """The values in `options`, which has only settings from files.

    `keywords` has the keyword for each field of a Host.

    Also the names of the environment variables that they depend on.

    Raises:
        SshConfigError: a value that cannot be honoured, and what to do.
    """
    reading = NameSettings(asked, options, environ)
    try:
        answer = HostSettings(reading.fields(keywords), reading.jumps(), reading.command())
    except ValueError as error:
        raise SshConfigError(f"{asked.name}: {error}") from None
    return answer, reading.variables


class NameSettings:
    """The settings of one name."""

    def __init__(self, asked: Asked, options: Options, environ: Mapping[str, str]) -> None:
        self._asked = asked
        self._options = options
        self._environ = environ
        self._home = str(home(environ))
        self._tokens = Tokens(asked, options, environ, self._home)
        self.variables = self._tokens.variables

    def fields(self, keywords: Mapping[str, Keyword]) -> dict[str, Any]:
        """The known_hosts files that are set. Keys are looked up in all of them; a new one is
        recorded in the first."""
        fields = {
            name: keyword.read(self, self._options[keyword.name.lower()])
            for name, keyword in keywords.items()
            if keyword.read is not None and keyword.name.lower() in self._options
        }
        self._check_source()
        fields["preferred_authentications"] = self._authentications()
        # An agent has the keys of such a library; a profile has no key for it.
        fields["pkcs11_provider"] = unless_none(self._options.get("pkcs11provider", (NONE,))[0])
        return {name: value for name, value in fields.items() if value not in (None, ())}

    def jumps(self) -> tuple[Jump, ...]:
        """The hops of ProxyJump."""
        written = self._options.get("proxyjump", (NONE,))[0]
        return tuple(parse_jump(word) for word in jumps(written))

    def command(self) -> tuple[str, ...]:
        """ProxyCommand is a line for a shell, which the program then replaces."""
        written = self._options.get("proxycommand", (NONE,))[0]
        if written.lower() == NONE or "proxyjump" in self._asked.given:
            return ()
        if self._options.get("proxyusefdpass", ("no",))[0] == "yes":
            raise ValueError("ProxyUseFdpass is not supported; write a proxy_command without it")
        check_tokens(scalars.text(written))
        return (USERS_SHELL, "-c", f"exec {written}")

    def _check_source(self) -> None:
        """A connection from another address might not be the intended one."""
        has_way = "proxyjump" in self._asked.given or self.jumps() or self.command()
        says_how = "bindaddress" in self._options
        if "bindinterface" in self._options and not has_way and not says_how:
            raise ValueError("BindInterface is not supported; use BindAddress in ssh_config")

    def _authentications(self) -> tuple[str, ...] | None:
        """The supported ones of PreferredAuthentications that are not turned off."""
        written = self._options.get("preferredauthentications")
        wanted = AUTHENTICATIONS if written is None else tuple(written[0].split(","))
        off = {
            name
            for keyword, name in AUTHENTICATION_OF.items()
            if self._options.get(keyword, ("yes",))[0] in ("no", "false")
        }
        left = tuple(name for name in wanted if name in AUTHENTICATIONS and name not in off)
        if not left:
            raise ValueError(
                "no way to log in is left on by PreferredAuthentications and its like; "
                f"tunnelctl has {', '.join(AUTHENTICATIONS)}"
            )
        return None if left == AUTHENTICATIONS else left

    def known_hosts_command(self, value: str) -> tuple[str, ...]:
        """The words of the command; tokens that a profile also has are replaced when it is run."""

        def now(token: re.Match[str]) -> str:
            if token[1] is not None and token[1] in KNOWN_HOSTS_TOKENS:
                return token[0]
            return self._tokens.value(token).replace("%", "%%")

        if value.lower() == NONE:
            return ()
        program, *arguments = split(scalars.text(value))
        return reach.known_hosts_command([program, *(TOKEN.sub(now, word) for word in arguments)])

    def agent(self, value: str) -> str | None:
        """The socket of IdentityAgent, `none`, or `$NAME`; None for the caller's own."""
        if value.lower() == NONE:
            return NONE
        if value == "SSH_AUTH_SOCK":
            return None
        if value.startswith("$") and not value.startswith("${"):
            return f"${names.variable(value[1:])}"
        return self.path(value)

    def path(self, value: str) -> str:
        """A path with its tokens, variables and `~` replaced; a relative one is below $HOME."""
        return self._absolute(self._tokens.path(value))

    def below_home(self, value: str) -> str:
        """A path with its `~` replaced."""
        return self._absolute(self._tokens.tilde(value))

    def _absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._home, scalars.text(path)))


def unless_none(value: str) -> str | None:
    """A text; None for `none`."""
    return None if value.lower() == NONE else scalars.text(value)


def first(convert: Callable[[str], Any]) -> Read:
    """Reads a keyword with one value and no token."""
    return lambda _, values: convert(values[0])


def files(no_files: tuple[str, ...]) -> Read:
    """Reads a list of files; `no_files` stands for `none`."""

    def read(reading: NameSettings, values: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(reading.path(path) for path in values if path.lower() != NONE) or no_files

    return read


def global_files(no_files: tuple[str, ...]) -> Read:
    """Reads the system's files, in whose names OpenSSH replaces no tokens."""

    def read(reading: NameSettings, values: tuple[str, ...]) -> tuple[str, ...]:
        named = (reading.below_home(path) for path in values if path.lower() != NONE)
        return tuple(named) or no_files

    return read


def algorithms(kind: Kind) -> Read:
    """Reads a list of algorithms: the supported ones in it, or None for all of them."""

    def read(_: NameSettings, values: tuple[str, ...]) -> tuple[str, ...] | None:
        left = offered(kind, values[0])
        return None if left == kind.value else left

    return read


def strict(value: str) -> StrictHostKeyChecking:
    """Whether unknown keys are recorded; laxer values count as `yes` here."""
    accepts = value == StrictHostKeyChecking.ACCEPT_NEW
    return StrictHostKeyChecking.ACCEPT_NEW if accepts else StrictHostKeyChecking.YES


def positive(value: str) -> float | None:
    """Seconds; 0 and `none` mean to wait forever, which no connection does here."""
    return float(value) if value != NONE and float(value) > 0 else None


def count(most: int) -> Callable[[str], int | None]:
    """A positive number, at most `most`."""
    return lambda value: min(int(value), most) if int(value) > 0 else None


def rekey_limit(value: str) -> int | None:
    """The size only, in bytes; rekeying after a time is not supported."""
    size = int(value.split()[0])
    return size if size >= scalars.LEAST_REKEY_LIMIT else None


# How values are written in an ssh_config


def one(value: object) -> Sequence[str]:
    """One line for a value that needs no quotes."""
    return (str(value),)


def seconds(duration: float) -> Sequence[str]:
    """ssh counts whole seconds, and 0 means none."""
    return (str(max(1, math.ceil(duration))) if duration else "0",)


def path(value: str) -> Sequence[str]:
    """A path with its per cent signs escaped."""
    return (word(value.replace("%", "%%")),)


def line_each(paths: Sequence[str]) -> Sequence[str]:
    """A line for each path."""
    return [line for each in paths for line in path(each)]


def in_one_line(paths: Sequence[str]) -> Sequence[str]:
    """All paths in one line."""
    return (" ".join(line_each(paths)),)


def comma_separated(names: Sequence[str]) -> Sequence[str]:
    """All names in one line."""
    return (",".join(names),)


def command_line(argv: Sequence[str]) -> Sequence[str]:
    """The words of a program."""
    return (" ".join(map(quoted, argv)),)


def word(text: str) -> str:
    """One word of a line of ssh_config."""
    return quoted(text) if any(c in text for c in " \t\"'\\#") else text
