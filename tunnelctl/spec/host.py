"""How to reach one SSH server: the keywords of ssh_config(5), as one frozen value.

Must never hold a secret: a password or passphrase is a reference to where it is kept. Durations are
in seconds.
"""

from __future__ import annotations

from dataclasses import field, replace
from enum import StrEnum

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import bracketed
from tunnelctl.spec.secret import SecretRef


class StrictHostKeyChecking(StrEnum):
    """ssh_config(5) StrictHostKeyChecking; `no` and `ask` are not offered."""

    YES = "yes"
    ACCEPT_NEW = "accept-new"


class AddressFamily(StrEnum):
    """ssh_config(5) AddressFamily: which addresses of a name are tried."""

    ANY = "any"
    INET = "inet"
    INET6 = "inet6"


# ssh_config(5) PreferredAuthentications: the supported methods, in the order in which they are
# tried.
AUTHENTICATIONS = ("publickey", "keyboard-interactive", "password")


# The first word of a `proxy_command` that stands for the user's shell. It is replaced when the
# command is run, so that the same host with another shell stays equal.
USERS_SHELL = "$SHELL"


class SessionType(StrEnum):
    """ssh_config(5) SessionType. `auto` is our own: `none` for OpenSSH's server, else `default`."""

    NONE = "none"
    DEFAULT = "default"
    AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The delay before the next attempt: full jitter between 0 and min * 2**attempt, at most `max`.

    The count of attempts starts again only after the link was up for `stable_after`.
    `give_up_after` is None for never.
    """

    min: float = 1.0
    max: float = 60.0
    stable_after: float = 30.0
    give_up_after: float | None = None


class ProxyKind(StrEnum):
    """The protocol of a proxy before SSH begins."""

    SOCKS5 = "socks5"
    HTTP = "http"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy on the way to a host: SOCKS5 (RFC 1928, 1929) or HTTP CONNECT (RFC 9110)."""

    kind: ProxyKind
    hostname: str
    port: int
    user: str | None = None
    password: SecretRef | None = None

    def __str__(self) -> str:
        return f"{self.kind}://{bracketed(self.hostname)}:{self.port}"


@dataclass(frozen=True, slots=True)
class Host:
    """One SSH server. `name` is its key in the profile.

    `proxy_jump`, `proxy_command` and `proxy` are ways to it; at most one is set.
    """

    name: str
    hostname: str
    port: int = 22
    user: str | None = None  # None: the user who runs tunnelctl
    identity_file: tuple[str, ...] = ()
    # User certificates, in addition to those named KEY-cert.pub.
    certificate_file: tuple[str, ...] = ()
    identities_only: bool = False
    identity_agent: str | None = None  # a path, "none", or "$NAME"; None: $SSH_AUTH_SOCK
    # A library that ssh would load; here it works only through an agent.
    pkcs11_provider: str | None = None
    preferred_authentications: tuple[str, ...] = AUTHENTICATIONS  # no other keys are tried
    password: SecretRef | None = None
    passphrase: SecretRef | None = None
    remember: bool = False  # an answer of a person is kept in memory for later logins
    proxy_jump: tuple[Host, ...] = ()  # the hops, the nearest to us first
    proxy_command: tuple[str, ...] = ()  # a program and its arguments; %h %k %n %p %r as in ssh
    proxy: Proxy | None = None
    host_key: tuple[str, ...] = ()  # pins, "SHA256:…"; if given, no other key is accepted
    user_known_hosts_file: tuple[str, ...] = ()  # (): ~/.ssh/known_hosts, then known_hosts2
    global_known_hosts_file: tuple[str, ...] = ()  # (): /etc/ssh/ssh_known_hosts, ssh_known_hosts2
    known_hosts_command: tuple[str, ...] = ()  # prints such lines; tokens as in ssh_config(5)
    revoked_host_keys: tuple[str, ...] = ()  # files of keys, or KRLs as ssh-keygen makes them
    host_key_alias: str | None = None
    strict_host_key_checking: StrictHostKeyChecking = StrictHostKeyChecking.YES
    address_family: AddressFamily = AddressFamily.ANY
    bind_address: str | None = None  # the address of this machine that connections come from
    connect_timeout: float = 15.0
    server_alive_interval: float = 15.0
    server_alive_count_max: int = 3
    ciphers: tuple[str, ...] = ()  # (): the order of the allow-list; also for the next three
    kex_algorithms: tuple[str, ...] = ()
    macs: tuple[str, ...] = ()
    host_key_algorithms: tuple[str, ...] = ()
    compression: bool = False
    rekey_limit: int | None = None  # bytes; None: the cipher's own limit
    reconnect: Reconnect = field(default_factory=Reconnect)
    # Whether a session is opened to read the server's text.
    session_type: SessionType = SessionType.NONE
    lazy: bool = False  # connect at the first client, close after `idle_timeout` without one
    idle_timeout: float = 300.0
    links: int = 1  # the maximum number of links; further ones are made while all are busy
    fallback: tuple[Host, ...] = ()  # tried in turn while this one cannot be reached
    embedded: bool = False  # an in-process SSH server on 127.0.0.1 instead of a real host
    # a forward may need it (`unlink_remote`); not a key of the profile.
    runs_commands: bool = False

    def running_commands(self) -> Host:
        """The same host and its fallbacks, with permission to open a session later."""
        fallback = tuple(replace(other, runs_commands=True) for other in self.fallback)
        return replace(self, runs_commands=True, fallback=fallback)

    @property
    def is_direct(self) -> bool:
        """Whether this machine connects to it directly, without a hop, program or proxy."""
        return not (self.proxy_jump or self.proxy_command or self.proxy)

    @property
    def candidates(self) -> tuple[Host, ...]:
        """The hosts that may serve in its name, in the order of attempts: itself, its fallbacks."""
        return (self, *self.fallback)

    @property
    def address(self) -> str:
        """`host:port` for messages; an IPv6 address is bracketed."""
        return f"{bracketed(self.hostname)}:{self.port}"
