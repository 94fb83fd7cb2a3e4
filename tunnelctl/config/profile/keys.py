"""The schema of a profile: which keys there are and what each may hold.

One pydantic model a map. Every key is optional here, because `defaults` and `extends` fill in what
a host leaves out; what must be there, and what contradicts what, is said in checks.py.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainValidator, model_validator

from tunnelctl.config.values import algorithms, ways, words
from tunnelctl.config.values.algorithms import Kind
from tunnelctl.config.values.ways import Jump, ProxyAddress
from tunnelctl.config.yaml.mistakes import KeyPath, shown
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import OnUnhealthy, ProbeType
from tunnelctl.spec.host import (
    AddressFamily,
    SecretRef,
    SecretSource,
    SessionType,
    StrictHostKeyChecking,
)
from tunnelctl.spec.permit import Permit

Text = Annotated[str, BeforeValidator(words.text)]
Prose = Annotated[str, BeforeValidator(words.prose)]
Boolean = Annotated[bool, BeforeValidator(words.boolean)]
Duration = Annotated[float, BeforeValidator(words.duration)]
DurationOrNever = Annotated[float | None, BeforeValidator(words.duration_or_never)]
HostName = Annotated[str, BeforeValidator(words.host_name)]
ForwardName = Annotated[str, BeforeValidator(words.forward_name)]
FilePath = Annotated[str, BeforeValidator(words.file_path)]
# `none` among them stands for no file (words.NO_FILES).
Files = Annotated[
    tuple[Annotated[str, BeforeValidator(words.text)], ...], BeforeValidator(words.one_or_list)
]
Pins = Annotated[
    tuple[Annotated[str, BeforeValidator(words.pin)], ...], BeforeValidator(words.one_or_list)
]
Argv = Annotated[tuple[str, ...], BeforeValidator(words.argv)]
Hops = Annotated[
    tuple[Annotated[Jump, PlainValidator(ways.parse_jump)], ...], BeforeValidator(ways.jumps)
]
Networks = Annotated[
    tuple[Annotated[IPv4Network | IPv6Network, PlainValidator(words.network)], ...],
    BeforeValidator(words.one_or_list),
]
Permits = Annotated[
    tuple[Annotated[Permit, PlainValidator(words.permit)], ...],
    BeforeValidator(words.one_or_list),
]


def _count(low: int, high: int) -> BeforeValidator:
    return BeforeValidator(lambda value: words.whole_number(value, low, high))


def _algorithms(kind: Kind) -> BeforeValidator:
    return BeforeValidator(lambda value: algorithms.resolve_list(kind, words.algorithms(value)))


def _only_version_one(value: object) -> int:
    value = words.typed(value)
    if isinstance(value, bool) or value != 1 or not isinstance(value, int):
        raise ValueError(f"must be 1, not {shown(value)}")
    return 1


class _Map(BaseModel):
    """A map of known keys. Nothing is converted but by the functions in words.py."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Secret(_Map):
    """A reference to a secret; exactly one key."""

    env: Annotated[str, BeforeValidator(words.variable)] | None = None
    file: FilePath | None = None
    command: Argv | None = None
    keyring: Annotated[str, BeforeValidator(words.keyring)] | None = None
    credential: Annotated[str, BeforeValidator(words.credential)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, value: object) -> object:
        """Refuses a secret that stands in the file itself, without repeating it."""
        if not isinstance(value, dict):
            raise ValueError(
                "a secret does not stand in a profile; write where it is kept: {env: NAME}, "
                "{file: PATH}, {command: [program, argument]}, {keyring: SERVICE/USER} "
                "or {credential: NAME}"
            )
        if len(value) != 1:
            raise ValueError("must have one of the keys env, file, command, keyring, credential")
        return value

    def as_ref(self) -> SecretRef:
        """The reference as the spec has it."""
        if self.command is not None:
            return SecretRef(SecretSource.COMMAND, self.command)
        if self.file is not None:
            return SecretRef(SecretSource.FILE, (self.file,))
        if self.keyring is not None:
            return SecretRef(SecretSource.KEYRING, (self.keyring,))
        if self.credential is not None:
            return SecretRef(SecretSource.CREDENTIAL, (self.credential,))
        return SecretRef(SecretSource.ENV, (self.env or "",))


class ReconnectMap(_Map):
    """When a host is tried again."""

    min: Duration | None = None
    max: Duration | None = None
    stable_after: Duration | None = None
    give_up_after: DurationOrNever = None


class ProxyMap(_Map):
    """A proxy, and what it asks for."""

    url: Annotated[ProxyAddress, PlainValidator(ways.proxy_url)] | None = None
    user: Text | None = None
    password: Secret | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """The URL alone, or `none`."""
        if isinstance(value, str):
            return {} if value == ways.NONE else {"url": value}
        if isinstance(value, dict) and "url" not in value:
            raise ValueError("needs `url`, socks5://HOST:PORT or http://HOST:PORT")
        if isinstance(value, dict) and "password" in value and "user" not in value:
            raise ValueError("needs `user`, whose password it is")
        return value


class HostMap(_Map):
    """One host, or `defaults`: the words of ssh_config(5)."""

    hostname: Annotated[str, BeforeValidator(words.address)] | None = None
    port: Annotated[int, BeforeValidator(words.port)] | None = None
    address_family: Annotated[AddressFamily, BeforeValidator(words.address_family)] | None = None
    bind_address: HostName | None = None
    user: Annotated[str, BeforeValidator(words.user_name)] | None = None
    identity_file: Files | None = None
    certificate_file: Files | None = None
    identities_only: Boolean | None = None
    identity_agent: Annotated[str | None, BeforeValidator(words.identity_agent)] = None
    preferred_authentications: (
        Annotated[tuple[str, ...], BeforeValidator(words.preferred_authentications)] | None
    ) = None
    password: Secret | None = None
    passphrase: Secret | None = None
    remember: Boolean | None = None
    proxy_jump: Hops | None = None
    proxy_command: Annotated[tuple[str, ...], BeforeValidator(ways.proxy_command)] | None = None
    proxy: ProxyMap | None = None
    host_key: Pins | None = None
    user_known_hosts_file: Files | None = None
    global_known_hosts_file: Files | None = None
    known_hosts_command: (
        Annotated[tuple[str, ...], BeforeValidator(ways.known_hosts_command)] | None
    ) = None
    revoked_host_keys: Files | None = None
    host_key_alias: Annotated[str, BeforeValidator(words.host_key_alias)] | None = None
    strict_host_key_checking: (
        Annotated[StrictHostKeyChecking, BeforeValidator(words.strict_host_key_checking)] | None
    ) = None
    connect_timeout: Duration | None = None
    server_alive_interval: Annotated[float, BeforeValidator(words.hold)] | None = None
    server_alive_count_max: Annotated[int, _count(1, 1000)] | None = None
    ciphers: Annotated[tuple[str, ...], _algorithms(Kind.CIPHERS)] | None = None
    kex_algorithms: Annotated[tuple[str, ...], _algorithms(Kind.KEX_ALGORITHMS)] | None = None
    macs: Annotated[tuple[str, ...], _algorithms(Kind.MACS)] | None = None
    host_key_algorithms: (
        Annotated[tuple[str, ...], _algorithms(Kind.HOST_KEY_ALGORITHMS)] | None
    ) = None
    rekey_limit: Annotated[int | None, BeforeValidator(words.rekey_limit)] = None
    session_type: Annotated[SessionType, BeforeValidator(words.session_type)] | None = None
    compression: Annotated[bool, BeforeValidator(words.no_compression)] | None = None
    ssh_config: Annotated[bool | str, BeforeValidator(words.ssh_config)] | None = None
    lazy: Boolean | None = None
    idle_timeout: Duration | None = None
    fallback: Annotated[tuple[HostName, ...], BeforeValidator(ways.names)] | None = None
    reconnect: ReconnectMap | None = None
    embedded: Boolean | None = None


class HoldMap(_Map):
    """How long a client waits for a link that is down."""

    hold: Annotated[float, BeforeValidator(words.hold)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, value: object) -> object:
        """`refuse` is a hold of no time at all."""
        if value == "refuse":
            return {"hold": 0}
        if not isinstance(value, dict):
            raise ValueError(f"must be refuse or {{hold: 10s}}, not {shown(value)}")
        return value


class ProbeMap(_Map):
    """How the target of a forward is asked whether it lives."""

    type: Annotated[ProbeType, BeforeValidator(words.probe_type)] | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    rise: Annotated[int, _count(1, 100)] | None = None
    fall: Annotated[int, _count(1, 100)] | None = None
    path: Annotated[str, BeforeValidator(words.url_path)] | None = None
    status: Annotated[int, _count(100, 599)] | None = None
    command: Argv | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """The type alone, such as `none`."""
        return {"type": value} if isinstance(value, str) else value


class ForwardMap(_Map):
    """One forward: which side listens, and where it leads."""

    local: Annotated[Endpoint, BeforeValidator(words.local_listener)] | None = None
    remote: Annotated[Endpoint, BeforeValidator(words.remote_listener)] | None = None
    dynamic: Annotated[Endpoint, BeforeValidator(words.local_port)] | None = None
    remote_dynamic: Annotated[Endpoint, BeforeValidator(words.remote_port)] | None = None
    to: Annotated[Endpoint, BeforeValidator(words.target)] | None = None
    via: Annotated[Jump, PlainValidator(ways.parse_jump)] | None = None
    while_down: HoldMap | None = None
    probe: ProbeMap | None = None
    on_unhealthy: Annotated[OnUnhealthy, BeforeValidator(words.on_unhealthy)] | None = None
    max_connections: Annotated[int, _count(1, 65535)] | None = None
    expose: Boolean | None = None
    allow: Networks | None = None
    permit: Permits | None = None
    unlink_remote: Boolean | None = None
    required: Boolean | None = None
    labels: dict[Text, Text] | None = None


class HooksMap(_Map):
    """What is run when the profile's state changes."""

    on_up: Argv | None = None
    on_down: Argv | None = None
    on_failed: Argv | None = None


class ProfileMap(_Map):
    """The whole file. `extends` was followed before."""

    version: Annotated[int, BeforeValidator(_only_version_one)] | None = None
    description: Prose | None = None
    defaults: HostMap | None = None
    hosts: dict[HostName, HostMap] | None = None
    forwards: dict[ForwardName, ForwardMap] | None = None
    hooks: HooksMap | None = None


_BY_KEY: dict[str, type[_Map]] = {
    "defaults": HostMap,
    "reconnect": ReconnectMap,
    "password": Secret,
    "passphrase": Secret,
    "proxy": ProxyMap,
    "while_down": HoldMap,
    "probe": ProbeMap,
    "hooks": HooksMap,
}


def known_keys(path: KeyPath) -> frozenset[str]:
    """The keys that the map at `path` takes."""
    model: type[_Map] = ProfileMap
    if len(path) == 2 and path[0] in ("hosts", "forwards"):  # the key is a name of the user's
        model = HostMap if path[0] == "hosts" else ForwardMap
    elif path:
        model = _BY_KEY[str(path[-1])]
    return frozenset(model.model_fields)
