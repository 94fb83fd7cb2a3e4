"""How to reach one SSH server: the words of ssh_config(5), as one frozen value.

Must never hold a secret: a password or passphrase is a reference to where it is kept.
Durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class StrictHostKeyChecking(StrEnum):
    """ssh_config(5) StrictHostKeyChecking; `no` and `ask` are not offered."""

    YES = "yes"
    ACCEPT_NEW = "accept-new"


class SecretSource(StrEnum):
    """Where a secret is kept (SPEC section 1)."""

    ENV = "env"
    FILE = "file"
    COMMAND = "command"
    KEYRING = "keyring"
    CREDENTIAL = "credential"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """A reference to a secret; `value` is a name, a path, or the words of a command."""

    source: SecretSource
    value: tuple[str, ...]

    def __str__(self) -> str:
        return f"{{{self.source}: {' '.join(self.value)}}}"


@dataclass(frozen=True, slots=True)
class Reconnect:
    """When to try again: full jitter between 0 and min * 2**attempt, at most `max`.

    The count of attempts starts anew only after the link was up for `stable_after`.
    `give_up_after` is None for never.
    """

    min: float = 1.0
    max: float = 60.0
    stable_after: float = 30.0
    give_up_after: float | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """One SSH server. `name` is its key in the profile."""

    name: str
    hostname: str
    port: int = 22
    user: str | None = None  # None: the user who runs tunnelctl
    identity_file: tuple[str, ...] = ()
    identities_only: bool = False
    identity_agent: str | None = None  # a socket's path, or "none"; None: $SSH_AUTH_SOCK
    password: SecretRef | None = None
    passphrase: SecretRef | None = None
    host_key: tuple[str, ...] = ()  # pins, "SHA256:…"; when given, nothing else is accepted
    user_known_hosts_file: tuple[str, ...] = ()  # (): ~/.ssh/known_hosts, then known_hosts2
    host_key_alias: str | None = None
    strict_host_key_checking: StrictHostKeyChecking = StrictHostKeyChecking.YES
    connect_timeout: float = 15.0
    server_alive_interval: float = 15.0
    server_alive_count_max: int = 3
    ciphers: tuple[str, ...] = ()  # (): the allow-list's own order
    rekey_limit: int | None = None  # bytes; None: the cipher's own limit
    reconnect: Reconnect = field(default_factory=Reconnect)
    embedded: bool = False  # an in-process SSH server on 127.0.0.1 instead of a real host

    @property
    def address(self) -> str:
        """`host:port` for messages; an IPv6 address is bracketed."""
        name = f"[{self.hostname}]" if ":" in self.hostname else self.hostname
        return f"{name}:{self.port}"
