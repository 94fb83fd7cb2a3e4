"""From what ssh_config says of a name to values of the spec.

Owns which of its keywords count here, and their tokens. What OpenSSH would do less strictly is
done strictly: StrictHostKeyChecking no, off and ask all become `yes`. Compression is a wish that
is not granted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tunnelctl.config.openssh.keywords import AUTHENTICATION_OF
from tunnelctl.config.openssh.lines import SshConfigError, split
from tunnelctl.config.openssh.reader import Asked, Options
from tunnelctl.config.openssh.tokens import TOKEN, Tokens
from tunnelctl.config.values import words
from tunnelctl.config.values.algorithms import Kind, offered
from tunnelctl.config.values.ways import (
    KNOWN_HOSTS_TOKENS,
    NONE,
    Jump,
    check_tokens,
    jumps,
    known_hosts_command,
    parse_jump,
)
from tunnelctl.spec.environment import home
from tunnelctl.spec.host import AUTHENTICATIONS, USERS_SHELL, StrictHostKeyChecking

_ALGORITHMS = {
    "ciphers": ("ciphers", Kind.CIPHERS),
    "kexalgorithms": ("kex_algorithms", Kind.KEX_ALGORITHMS),
    "macs": ("macs", Kind.MACS),
    "hostkeyalgorithms": ("host_key_algorithms", Kind.HOST_KEY_ALGORITHMS),
}
_LEAST_REKEY_LIMIT = 16
_MOST_ALIVE_COUNT = 1000


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a name: fields of a Host, and the way to it."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    jumps: tuple[Jump, ...] = ()
    command: tuple[str, ...] = ()


def configured(name: str, printed: Options, baseline: Options) -> Options:
    """What of the output of `ssh -G` is not OpenSSH's own default."""
    options = {key: value for key, value in printed.items() if value != baseline.get(key)}
    if options.get("hostname", ("",))[0].lower() == name.lower():
        del options["hostname"]
    return options


def found(asked: Asked, options: Options, environ: Mapping[str, str]) -> tuple[Found, set[str]]:
    """The values in `options`, which holds what is configured and nothing else.

    Also the names of the environment variables that they depend on.

    Raises:
        SshConfigError: a value that cannot be honoured, and what to do.
    """
    reading = _Reading(asked, options, environ)
    try:
        return Found(reading.fields(), reading.jumps(), reading.command()), reading.variables
    except ValueError as error:
        raise SshConfigError(f"{asked.name}: {error}") from None


class _Reading:
    def __init__(self, asked: Asked, options: Options, environ: Mapping[str, str]) -> None:
        self._asked = asked
        self._options = options
        self._environ = environ
        self._home = str(home(environ))
        self._tokens = Tokens(asked, options, environ, self._home)
        self.variables = self._tokens.variables

    def fields(self) -> dict[str, Any]:
        """Those of a Host that are configured. Keys are looked for in all files that are named; a
        new one is recorded in the first."""
        read: dict[str, tuple[str, Callable[[str], Any]]] = {
            "hostname": ("hostname", words.host_name),
            "port": ("port", int),
            "addressfamily": ("address_family", words.address_family),
            "bindaddress": ("bind_address", words.host_name),
            "user": ("user", words.user_name),
            "hostkeyalias": ("host_key_alias", lambda value: words.host_key_alias(value.lower())),
            "identitiesonly": ("identities_only", lambda value: value == "yes"),
            "identityagent": ("identity_agent", self._agent),
            "pkcs11provider": ("pkcs11_provider", _unless_none),
            "knownhostscommand": ("known_hosts_command", self._known_hosts_command),
            "stricthostkeychecking": ("strict_host_key_checking", _strict),
            "connecttimeout": ("connect_timeout", _positive),
            "serveraliveinterval": ("server_alive_interval", float),
            "serveralivecountmax": ("server_alive_count_max", _alive_count),
            "rekeylimit": ("rekey_limit", _rekey_limit),
            **{
                keyword: (name, partial(_algorithms, kind))
                for keyword, (name, kind) in _ALGORITHMS.items()
            },
        }
        fields = {
            name: convert(self._options[keyword][0])
            for keyword, (name, convert) in read.items()
            if keyword in self._options
        }
        self._check_source()
        fields["preferred_authentications"] = self._authentications()
        for name, no_files in words.NO_FILES.items():
            keyword = name.replace("_", "")
            files = self._options.get(keyword, ())
            # OpenSSH replaces no tokens in the system's files.
            full = self._below_home if keyword == "globalknownhostsfile" else self._path
            named = tuple(full(path) for path in files if path.lower() != NONE)
            if files:
                fields[name] = named or no_files
        return {name: value for name, value in fields.items() if value not in (None, ())}

    def jumps(self) -> tuple[Jump, ...]:
        """The hops of ProxyJump."""
        written = self._options.get("proxyjump", (NONE,))[0]
        return tuple(parse_jump(word) for word in jumps(written))

    def command(self) -> tuple[str, ...]:
        """ProxyCommand is a line for a shell, which the program then takes the place of."""
        written = self._options.get("proxycommand", (NONE,))[0]
        if written.lower() == NONE or "proxyjump" in self._asked.given:
            return ()
        if self._options.get("proxyusefdpass", ("no",))[0] == "yes":
            raise ValueError("ProxyUseFdpass is not supported; write a proxy_command without it")
        check_tokens(words.text(written))
        return (USERS_SHELL, "-c", f"exec {written}")

    def _check_source(self) -> None:
        """A connection that leaves from elsewhere might not be the one that was wanted."""
        has_way = "proxyjump" in self._asked.given or self.jumps() or self.command()
        says_how = "bindaddress" in self._options
        if "bindinterface" in self._options and not has_way and not says_how:
            raise ValueError("BindInterface is not supported; use BindAddress in ssh_config")

    def _authentications(self) -> tuple[str, ...] | None:
        """Those of PreferredAuthentications that exist here and are not turned off."""
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

    def _known_hosts_command(self, value: str) -> tuple[str, ...]:
        """Its words; the tokens that a profile has as well are replaced when it is run."""

        def now(token: re.Match[str]) -> str:
            if token[1] is not None and token[1] in KNOWN_HOSTS_TOKENS:
                return token[0]
            return self._tokens.value(token).replace("%", "%%")

        if value.lower() == NONE:
            return ()
        program, *arguments = split(words.text(value))
        return known_hosts_command([program, *(TOKEN.sub(now, word) for word in arguments)])

    def _agent(self, value: str) -> str | None:
        if value.lower() == NONE:
            return NONE
        if value == "SSH_AUTH_SOCK":
            return None
        if value.startswith("$") and not value.startswith("${"):
            return f"${words.variable(value[1:])}"
        return self._path(value)

    def _path(self, value: str) -> str:
        """A path with its tokens, variables and `~` replaced; a relative one is below $HOME."""
        return self._absolute(self._tokens.path(value))

    def _below_home(self, value: str) -> str:
        return self._absolute(self._tokens.tilde(value))

    def _absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(self._home, words.text(path)))


def _unless_none(value: str) -> str | None:
    return None if value.lower() == NONE else words.text(value)


def _algorithms(kind: Kind, value: str) -> tuple[str, ...] | None:
    left = offered(kind, value)
    return None if left == kind.value else left


def _strict(value: str) -> StrictHostKeyChecking:
    accepts = value == StrictHostKeyChecking.ACCEPT_NEW
    return StrictHostKeyChecking.ACCEPT_NEW if accepts else StrictHostKeyChecking.YES


def _positive(value: str) -> float | None:
    """Seconds; 0 and `none` are for waiting without end, which no connection does here."""
    return float(value) if value != NONE and float(value) > 0 else None


def _alive_count(value: str) -> int | None:
    return min(int(value), _MOST_ALIVE_COUNT) if int(value) > 0 else None


def _rekey_limit(value: str) -> int | None:
    """The size alone; new keys after a time are not made."""
    size = int(value.split()[0])
    return size if size >= _LEAST_REKEY_LIMIT else None
