"""Names of hosts, users, forwards, files and secrets.

Each function takes a plain value and returns the checked one, or raises ValueError with a sentence
for a user.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from tunnelctl.config.values.scalars import NOT_YET, text, typed
from tunnelctl.config.yaml.mistakes import shown

# Characters without a meaning in a shell, so that a name is safe wherever it is used.
_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,255}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_IN_A_USER = re.compile(r"""^-|['`";&<>|(){}]|\s-|\\$""")
_MAX_USER_BYTES = 255
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PIN = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
# [SCHEME://][USER@]HOST[:PORT][/], a destination of ssh(1).
_BESIDE = re.compile(
    r"(?P<scheme>[a-z]+://)?(?:(?P<user>[^@/]+)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:/\[\]]+)(?::(?P<port>[0-9]+))?/?"
)
_NOT_IN_AN_ALIAS = re.compile(r"[\s,*?!@]")


def host_name(value: object) -> str:
    """A name or address that can be connected to."""
    name = text(value)
    if _HOST.fullmatch(name) is None or name.startswith("-"):
        raise ValueError(f"{shown(name)} is not a host name or address")
    return name


def address(value: object) -> str:
    """A name or address without a port or a user, which have keys of their own."""
    name = text(value)
    found = _BESIDE.fullmatch(name)
    if found is not None and not _is_address(name):
        beside = {"user": found["user"], "port": found["port"]}
        keys = [f"{key}: {value}" for key, value in beside.items() if value]
        if found["scheme"] or keys:
            written = ", ".join([f"hostname: {found['host'].strip('[]')}", *keys])
            raise ValueError(f"{shown(name)} must be a host name or address alone; write {written}")
    return host_name(name)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def host_key_alias(value: object) -> str:
    """The name of a host in known_hosts, also `[name]:port`, but no pattern."""
    name = text(value)
    if _NOT_IN_AN_ALIAS.search(name) or name.startswith(("|", "#")):
        raise ValueError(f"{shown(name)} cannot be the name of one host in known_hosts")
    return name


def user_name(value: object) -> str:
    """A login name, which is sent to the server unchanged.

    The same characters as ssh(1) accepts before the `@` (OpenSSH's readconf.c, ssh_valid_ruser):
    nothing that could be an option, or split a shell word. ssh/tokens.py handles other characters
    that a shell interprets.
    """
    name = text(value)
    if _NOT_IN_A_USER.search(name) or len(name.encode()) > _MAX_USER_BYTES:
        raise ValueError(f"{shown(name)} is not a user name")
    return name


def forward_name(value: object) -> str:
    """The key of a forward."""
    name = text(value)
    if _NAME.fullmatch(name) is None:
        raise ValueError(
            "is not a name: a name has at most 64 letters, digits, '.', '_' and '-', "
            "and starts with a letter or digit"
        )
    return name


def file_path(value: object) -> str:
    """A path; ssh_config(5)'s `none` is refused, not taken as a file of that name."""
    path = text(value)
    if path.lower() == "none":
        raise ValueError(f"none is {NOT_YET}; for a file of that name write ./none")
    return path


def identity_agent(value: object) -> str | None:
    """The socket of an agent, `none`, or `$NAME`; None for ssh_config(5)'s `SSH_AUTH_SOCK`."""
    path = text(value)
    if path.startswith("$"):
        path = f"${variable(path[1:])}"
    return None if path in ("SSH_AUTH_SOCK", "$SSH_AUTH_SOCK") else path


def pin(value: object) -> str:
    """The fingerprint of a host key as `ssh-keygen -l` prints it."""
    fingerprint = text(value).rstrip("=")
    if _PIN.fullmatch(fingerprint) is None:
        raise ValueError('must be a fingerprint, "SHA256:" and 43 characters of base64')
    return fingerprint


def url_path(value: object) -> str:
    """The path of an HTTP request target (RFC 9112, 3.2.1)."""
    path = text(value)
    if not path.startswith("/") or " " in path or not path.isascii():
        raise ValueError(f"must be the path of a URL such as /healthz, not {shown(path)}")
    return path


def variable(value: object) -> str:
    """The name of an environment variable."""
    name = text(value)
    if _VARIABLE.fullmatch(name) is None:
        raise ValueError(f"{shown(name)} is not the name of an environment variable")
    return name


def keyring(value: object) -> str:
    """An entry of the system's keyring, SERVICE/USER; the service may contain slashes."""
    entry = text(value)
    service, _, user = entry.rpartition("/")
    if not service or not user:
        raise ValueError(f"{shown(entry)} is not SERVICE/USER, the name of a keyring entry")
    return entry


def credential(value: object) -> str:
    """The name of a file in systemd's credentials directory."""
    name = text(value)
    if "/" in name or name.startswith("."):
        raise ValueError(f"{shown(name)} is not the name of a credential")
    return name


def ssh_config(value: object) -> bool | str:
    """Whether ssh_config is read for missing keys, or the path of the file to read."""
    value = typed(value)
    return value if isinstance(value, bool) else file_path(value)
