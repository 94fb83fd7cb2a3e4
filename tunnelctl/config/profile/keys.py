"""The table of keys: one row for each key of a profile.

Owns the keys and all metadata of each: the kind of its value (kinds.py), its description, the
keyword of ssh_config(5) that corresponds to it and the conversion in both directions, whether it is
allowed with `embedded`, how it is converted to the spec, and why `export` omits it. The checks, the
JSON Schema, the canonical form, the values from ssh_config, the export and the reference page are
loops over it. A new key takes one row here, a field of the spec, and its use.

Every key is optional here, because `defaults` and `extends` supply missing keys; required keys and
conflicts between keys are checked in checks.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import Enum
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from tunnelctl.config.openssh import values as ssh
from tunnelctl.config.openssh.values import Keyword
from tunnelctl.config.profile import kinds
from tunnelctl.config.profile.kinds import Between, Fragment, Offered
from tunnelctl.config.values import choices, names
from tunnelctl.config.values.algorithms import Kind
from tunnelctl.config.values.reach import NONE
from tunnelctl.config.yaml.mistakes import KeyPath, shown
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.forward import ProbeType
from tunnelctl.spec.secret import SecretRef, SecretSource

_MOST_QUESTIONS = 1000


class InSpec(Enum):
    """How the value of a key is converted to the field of the same name in the spec."""

    SAME = "as it is"
    PATHS = "paths relative to the file that contains them"
    REFERENCE = "a reference to a secret"
    OWN = "converted in convert.py"


@dataclass(frozen=True, slots=True)
class Key:
    """The metadata of a key besides the kind of its value.

    `no_files` is the value in the spec for `none` in a list of paths. `omitted` is the reason why
    `export` omits the key. `embedded`: the key is allowed with `embedded: true`.
    """

    text: str
    in_spec: InSpec = InSpec.SAME
    no_files: tuple[str, ...] = ()
    ssh: Keyword | None = None
    omitted: str | None = None
    embedded: bool = False

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        return {**handler(schema), "description": self.text}


class Map(BaseModel):
    """A map of known keys. Values are converted only by the functions of values/."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Secret(Map):
    """A reference to a secret, which is never in the profile itself. Exactly one key."""

    env: Annotated[kinds.Variable | None, Key("Environment variable that contains the secret.")] = (
        None
    )
    file: Annotated[
        kinds.FilePath | None, Key("File that contains the secret; must be readable only by you.")
    ] = None
    command: Annotated[
        kinds.Argv | None,
        Key("Program that prints the secret, with its arguments; run without a shell."),
    ] = None
    keyring: Annotated[
        kinds.Keyring | None, Key("SERVICE/USER, an entry of the system's keyring.")
    ] = None
    credential: Annotated[
        kinds.Credential | None, Key("Name of a systemd credential of the daemon.")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, value: object) -> object:
        """Refuse a literal secret, without repeating it in the message."""
        if not isinstance(value, dict):
            raise ValueError(
                "a secret must not be in a profile; write where it is stored: {env: NAME}, "
                "{file: PATH}, {command: [program, argument]}, {keyring: SERVICE/USER} "
                "or {credential: NAME}"
            )
        if len(value) != 1:
            raise ValueError("must have one of the keys env, file, command, keyring, credential")
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        own = handler.resolve_ref_schema(handler(schema))
        return {**own, "minProperties": 1, "maxProperties": 1}

    def as_ref(self) -> SecretRef:
        """The reference as a value of the spec."""
        if self.command is not None:
            return SecretRef(SecretSource.COMMAND, self.command)
        if self.file is not None:
            return SecretRef(SecretSource.FILE, (self.file,))
        if self.keyring is not None:
            return SecretRef(SecretSource.KEYRING, (self.keyring,))
        if self.credential is not None:
            return SecretRef(SecretSource.CREDENTIAL, (self.credential,))
        return SecretRef(SecretSource.ENV, (self.env or "",))


class ReconnectMap(Map):
    """Delays between connection attempts."""

    min: Annotated[
        kinds.Duration | None, Key("Upper bound of the first delay; doubles after each failure.")
    ] = None
    max: Annotated[kinds.Duration | None, Key("Upper bound of every delay.")] = None
    stable_after: Annotated[
        kinds.Duration | None, Key("How long a link must stay up before the delays are reset.")
    ] = None
    give_up_after: Annotated[kinds.DurationOrNever, Key("How long to keep trying.")] = None


class ProxyMap(Map):
    """A proxy and its credentials."""

    url: Annotated[kinds.ProxyUrl | None, Key("socks5://HOST:PORT or http://HOST:PORT.")] = None
    user: Annotated[kinds.Text | None, Key("User name for the proxy.")] = None
    password: Annotated[
        Secret | None, Key("Reference to the password for the proxy.", InSpec.REFERENCE)
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """The URL alone, or `none`."""
        if isinstance(value, str):
            return {} if value == NONE else {"url": value}
        if isinstance(value, dict) and "url" not in value:
            raise ValueError("needs `url`, socks5://HOST:PORT or http://HOST:PORT")
        if isinstance(value, dict) and "password" in value and "user" not in value:
            raise ValueError("needs `user`, whose password it is")
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        own = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [kinds.TEXT, {**own, "required": ["url"]}]}


class HostMap(Map):
    """One host, or `defaults`: the keywords of ssh_config(5)."""

    hostname: Annotated[
        kinds.Address | None,
        Key(
            "Name or address to connect to; default: the host's own name.",
            ssh=Keyword("HostName", ssh.first(names.host_name)),
        ),
    ] = None
    port: Annotated[
        Annotated[int, Between(1, 65535)] | None,
        Key("Port of the SSH server.", ssh=Keyword("Port", ssh.first(int))),
    ] = None
    address_family: Annotated[
        kinds.Family | None,
        Key(
            "Address family to use when connecting.",
            ssh=Keyword("AddressFamily", ssh.first(choices.address_family), ssh.one),
        ),
    ] = None
    bind_address: Annotated[
        kinds.HostName | None,
        Key(
            "Local address to connect from.",
            ssh=Keyword("BindAddress", ssh.first(names.host_name), ssh.one),
        ),
    ] = None
    user: Annotated[
        kinds.UserName | None,
        Key(
            "User to log in as; default: the local user.",
            ssh=Keyword("User", ssh.first(names.user_name)),
        ),
    ] = None
    identity_file: Annotated[
        kinds.Files | None,
        Key(
            "Private key files; implies `identities_only`.",
            InSpec.PATHS,
            no_files=(NONE,),
            ssh=Keyword("IdentityFile", ssh.files((NONE,)), ssh.line_each),
        ),
    ] = None
    certificate_file: Annotated[
        kinds.Files | None,
        Key(
            "User certificate files, in addition to KEY-cert.pub.",
            InSpec.PATHS,
            ssh=Keyword("CertificateFile", ssh.files(()), ssh.line_each),
        ),
    ] = None
    identities_only: Annotated[
        kinds.Boolean | None,
        Key(
            "Use only the configured keys, even if the agent offers more.",
            InSpec.OWN,
            ssh=Keyword(
                "IdentitiesOnly", ssh.first(lambda value: value == "yes"), lambda _: ("yes",)
            ),
        ),
    ] = None
    identity_agent: Annotated[
        kinds.Agent,
        Key(
            "Socket of the ssh-agent, none, or SSH_AUTH_SOCK.",
            InSpec.OWN,
            ssh=Keyword("IdentityAgent", lambda read, values: read.agent(values[0]), ssh.path),
        ),
    ] = None
    preferred_authentications: Annotated[
        kinds.Authentications | None,
        Key(
            "Authentication methods to try, in this order; others are not tried.",
            ssh=Keyword("PreferredAuthentications", None, ssh.comma_separated),
        ),
    ] = None
    password: Annotated[
        Secret | None,
        Key(
            "Reference to the password.",
            InSpec.REFERENCE,
            omitted="ssh asks for it, at the terminal or with SSH_ASKPASS",
        ),
    ] = None
    passphrase: Annotated[
        Secret | None,
        Key(
            "Reference to the passphrase of the keys.",
            InSpec.REFERENCE,
            omitted="ssh asks for it, at the terminal or with SSH_ASKPASS",
        ),
    ] = None
    remember: Annotated[
        kinds.Boolean | None,
        Key(
            "Keep a typed passphrase or password in memory for reconnects.",
            omitted="ssh keeps no answers",
        ),
    ] = None
    proxy_jump: Annotated[
        kinds.Hops | None,
        Key(
            "Jump hosts, nearest first: hosts, ssh_config aliases, user@host:port, or none.",
            InSpec.OWN,
        ),
    ] = None
    proxy_command: Annotated[
        kinds.ProxyCommand | None,
        Key(
            "Program whose standard input and output are the connection; accepts the tokens "
            "%h %p %r %n.",
            InSpec.OWN,
        ),
    ] = None
    proxy: Annotated[
        ProxyMap | None,
        Key("Proxy: socks5://HOST:PORT or http://HOST:PORT.", InSpec.OWN),
    ] = None
    host_key: Annotated[
        kinds.Pins | None,
        Key(
            "Pinned fingerprints, SHA256:…; no other key is accepted.",
            omitted="ssh has no pins; the key must be in known_hosts",
        ),
    ] = None
    user_known_hosts_file: Annotated[
        kinds.Files | None,
        Key(
            "User known_hosts files.",
            InSpec.PATHS,
            no_files=(os.devnull,),
            ssh=Keyword("UserKnownHostsFile", ssh.files((os.devnull,)), ssh.in_one_line),
        ),
    ] = None
    global_known_hosts_file: Annotated[
        kinds.Files | None,
        Key(
            "Global known_hosts files, instead of the system's.",
            InSpec.PATHS,
            no_files=(os.devnull,),
            ssh=Keyword("GlobalKnownHostsFile", ssh.global_files((os.devnull,)), ssh.in_one_line),
        ),
    ] = None
    known_hosts_command: Annotated[
        kinds.KnownHostsCommand | None,
        Key(
            "Program that prints known host keys; accepts the tokens %H %I %t %f %K.",
            ssh=Keyword(
                "KnownHostsCommand",
                lambda read, values: read.known_hosts_command(values[0]),
                ssh.command_line,
            ),
        ),
    ] = None
    revoked_host_keys: Annotated[
        kinds.Files | None,
        Key(
            "Files of revoked host keys, or none.",
            InSpec.PATHS,
            ssh=Keyword("RevokedHostKeys", ssh.files(()), ssh.in_one_line),
        ),
    ] = None
    host_key_alias: Annotated[
        kinds.HostKeyAlias | None,
        Key(
            "Name to look up the host key by.",
            ssh=Keyword(
                "HostKeyAlias",
                ssh.first(lambda value: names.host_key_alias(value.lower())),
                ssh.one,
            ),
        ),
    ] = None
    strict_host_key_checking: Annotated[
        kinds.HostKeyChecking | None,
        Key(
            "Refuse unknown host keys (yes) or record them (accept-new); changed keys are always "
            "refused.",
            ssh=Keyword("StrictHostKeyChecking", ssh.first(ssh.strict), ssh.one, always=True),
        ),
    ] = None
    connect_timeout: Annotated[
        kinds.Duration | None,
        Key(
            "Time limit for connecting and logging in.",
            ssh=Keyword("ConnectTimeout", ssh.first(ssh.positive), ssh.seconds, always=True),
            embedded=True,
        ),
    ] = None
    server_alive_interval: Annotated[
        kinds.DurationOrZero | None,
        Key(
            "Silence after which the server is sent a keepalive request; 0 sends none, and a dead "
            "peer is then detected only by TCP when data is sent to it.",
            ssh=Keyword("ServerAliveInterval", ssh.first(float), ssh.seconds, always=True),
            embedded=True,
        ),
    ] = None
    server_alive_count_max: Annotated[
        Annotated[int, Between(1, _MOST_QUESTIONS)] | None,
        Key(
            "Number of keepalive requests that may go unanswered.",
            ssh=Keyword(
                "ServerAliveCountMax",
                ssh.first(ssh.count(_MOST_QUESTIONS)),
                ssh.one,
                always=True,
            ),
            embedded=True,
        ),
    ] = None
    ciphers: Annotated[
        Annotated[tuple[str, ...], Offered(Kind.CIPHERS)] | None,
        Key(
            f"Ciphers, {kinds.IN_ORDER} {', '.join(Kind.CIPHERS.value)}",
            ssh=Keyword("Ciphers", ssh.algorithms(Kind.CIPHERS), ssh.comma_separated),
            embedded=True,
        ),
    ] = None
    kex_algorithms: Annotated[
        Annotated[tuple[str, ...], Offered(Kind.KEX_ALGORITHMS)] | None,
        Key(
            f"Key exchange algorithms, {kinds.IN_ORDER} {', '.join(Kind.KEX_ALGORITHMS.value)}",
            ssh=Keyword("KexAlgorithms", ssh.algorithms(Kind.KEX_ALGORITHMS), ssh.comma_separated),
            embedded=True,
        ),
    ] = None
    macs: Annotated[
        Annotated[tuple[str, ...], Offered(Kind.MACS)] | None,
        Key(
            f"Message authentication codes, {kinds.IN_ORDER} {', '.join(Kind.MACS.value)}",
            ssh=Keyword("MACs", ssh.algorithms(Kind.MACS), ssh.comma_separated),
            embedded=True,
        ),
    ] = None
    host_key_algorithms: Annotated[
        Annotated[tuple[str, ...], Offered(Kind.HOST_KEY_ALGORITHMS)] | None,
        Key(
            f"Host key signature algorithms, {kinds.IN_ORDER} "
            f"{', '.join(Kind.HOST_KEY_ALGORITHMS.value)}",
            ssh=Keyword(
                "HostKeyAlgorithms",
                ssh.algorithms(Kind.HOST_KEY_ALGORITHMS),
                ssh.comma_separated,
            ),
            embedded=True,
        ),
    ] = None
    rekey_limit: Annotated[
        kinds.RekeyLimit,
        Key(
            "Amount of data after which the session is rekeyed, such as 1G.",
            InSpec.OWN,
            ssh=Keyword("RekeyLimit", ssh.first(ssh.rekey_limit), ssh.one),
            embedded=True,
        ),
    ] = None
    session_type: Annotated[
        kinds.Session | None,
        Key(
            "Whether to open a session and show what the server prints; auto: unless the server is "
            "OpenSSH.",
            omitted="ssh -N opens no session, so it does not show what the server prints",
        ),
    ] = None
    compression: Annotated[
        kinds.Off | None, Key("Must be false: compression is not supported.", embedded=True)
    ] = None
    ssh_config: Annotated[
        kinds.SshConfig | None,
        Key(
            "Whether to read missing keys from ssh_config, or the file to read them from.",
            InSpec.OWN,
        ),
    ] = None
    lazy: Annotated[
        kinds.Boolean | None,
        Key(
            "Connect at the first client; disconnect after `idle_timeout` without clients.",
            omitted="ssh connects at once",
            embedded=True,
        ),
    ] = None
    idle_timeout: Annotated[
        kinds.Duration | None,
        Key("Time that a lazy host stays connected without clients.", embedded=True),
    ] = None
    links: Annotated[
        Annotated[int, Between(1, 16)] | None,
        Key(
            "Maximum number of links to this host. Another one is made while all are busy.",
            omitted="ssh uses one connection",
            embedded=True,
        ),
    ] = None
    fallback: Annotated[
        kinds.Names | None,
        Key(
            "Hosts to try next when this one is unreachable.",
            InSpec.OWN,
            omitted="ssh has no fallback hosts",
        ),
    ] = None
    reconnect: Annotated[
        ReconnectMap | None, Key("Delays between connection attempts.", InSpec.OWN, embedded=True)
    ] = None
    embedded: Annotated[
        kinds.Boolean | None,
        Key("Use a built-in SSH server on 127.0.0.1 instead of a real one.", embedded=True),
    ] = None


class HoldMap(Map):
    """How long new clients wait while the host is down."""

    hold: Annotated[kinds.DurationOrZero | None, Key("Time that new clients wait.")] = None

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, value: object) -> object:
        """`refuse` is a hold of zero."""
        if value == "refuse":
            return {"hold": 0}
        if not isinstance(value, dict):
            raise ValueError(f"must be refuse or {{hold: 10s}}, not {shown(value)}")
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        return {"anyOf": [{"const": "refuse"}, handler.resolve_ref_schema(handler(schema))]}


class ProbeMap(Map):
    """Health checks of a forward's target."""

    # The keys that belong to one type only.
    OF_TYPE: ClassVar[Mapping[str, ProbeType]] = {
        "path": ProbeType.HTTP,
        "status": ProbeType.HTTP,
        "command": ProbeType.COMMAND,
    }

    type: Annotated[kinds.Probing | None, Key("Type of the health check.")] = None
    interval: Annotated[kinds.Duration | None, Key("Time between two checks.")] = None
    timeout: Annotated[kinds.Duration | None, Key("Time limit of a check.")] = None
    rise: Annotated[
        Annotated[int, Between(1, 100)] | None,
        Key("Number of successes after which the target is healthy."),
    ] = None
    fall: Annotated[
        Annotated[int, Between(1, 100)] | None,
        Key("Number of failures after which the target is unhealthy."),
    ] = None
    path: Annotated[kinds.UrlPath | None, Key("Path that an http check requests.")] = None
    status: Annotated[
        Annotated[int, Between(100, 599)] | None, Key("Status that an http check expects.")
    ] = None
    command: Annotated[
        kinds.Argv | None, Key("Program whose exit code is the result, with its arguments.")
    ] = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """The short form: the type alone, such as `none`."""
        return {"type": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        own = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [kinds.choice(ProbeType), own]}


class ForwardMap(Map):
    """One forward: the listening side and the target."""

    SIDES: ClassVar = ("local", "remote", "dynamic", "remote_dynamic")

    local: Annotated[
        kinds.LocalListener | None,
        Key("Listen here; connect to the target from the server.", InSpec.OWN),
    ] = None
    remote: Annotated[
        kinds.RemoteListener | None,
        Key("Listen on the server; connect to the target from here.", InSpec.OWN),
    ] = None
    dynamic: Annotated[
        kinds.LocalListener | None,
        Key("Listen here as a SOCKS proxy; connect from the server.", InSpec.OWN),
    ] = None
    remote_dynamic: Annotated[
        kinds.RemotePort | None,
        Key(
            "Listen on the server as a SOCKS proxy; connect from here. Requires `permit`.",
            InSpec.OWN,
        ),
    ] = None
    to: Annotated[
        kinds.Target | None,
        Key("Target: HOST:PORT, a port, or the path of a unix socket.", InSpec.OWN),
    ] = None
    via: Annotated[
        kinds.Hop | None,
        Key(
            "Host that carries it: a host of this file, an ssh_config alias, or user@host:port.",
            InSpec.OWN,
        ),
    ] = None
    probe: Annotated[
        ProbeMap | None,
        Key(
            "Health check of the target; default: tcp, or none where a check could do harm.",
            InSpec.OWN,
        ),
    ] = None
    on_unhealthy: Annotated[
        kinds.WhenUnhealthy | None,
        Key("Action when the target is unhealthy.", omitted="ssh does not check targets"),
    ] = None
    while_down: Annotated[
        HoldMap | None,
        Key(
            "What happens to new clients while the host is down.",
            InSpec.OWN,
            omitted="ssh does not hold clients",
        ),
    ] = None
    max_connections: Annotated[
        Annotated[int, Between(1, 65535)] | None,
        Key("Maximum number of open connections.", omitted="ssh has no limit"),
    ] = None
    expose: Annotated[kinds.Boolean | None, Key("Allow a listening address off loopback.")] = None
    allow: Annotated[
        kinds.Networks | None,
        Key(
            "Addresses and networks that clients may connect from.",
            omitted="ssh accepts every client of the listener",
        ),
    ] = None
    permit: Annotated[
        kinds.Permits | None, Key("Targets that SOCKS clients on the server may reach, HOST:PORT.")
    ] = None
    unlink_remote: Annotated[
        kinds.Boolean | None,
        Key(
            "Remove an existing socket file on the server, through a shell there, if no process "
            "listens on it.",
            omitted="StreamLocalBindUnlink in the server's sshd_config does the same",
        ),
    ] = None
    required: Annotated[
        kinds.Boolean | None, Key("Whether the profile needs this forward to be up.")
    ] = None
    inspect: Annotated[
        kinds.Inspecting | None,
        Key("Show the HTTP requests (`tunnelctl requests`).", omitted="ssh shows no requests"),
    ] = None
    labels: Annotated[
        kinds.Labels | None,
        Key("User-defined labels, shown in status and events.", InSpec.OWN, omitted="ssh has none"),
    ] = None

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        """At most one listening side; a file under `extends` may have it."""
        own = handler.resolve_ref_schema(handler(schema))
        pairs = [[a, b] for at, a in enumerate(cls.SIDES) for b in cls.SIDES[at + 1 :]]
        own["not"] = {"anyOf": [{"required": pair} for pair in pairs]}
        return own


class HooksMap(Map):
    """Programs to run when the profile's state changes."""

    on_up: Annotated[kinds.Argv | None, Key("Run when the profile is up.")] = None
    on_down: Annotated[kinds.Argv | None, Key("Run when the profile is no longer up.")] = None
    on_failed: Annotated[kinds.Argv | None, Key("Run when the profile has failed permanently.")] = (
        None
    )


class ProfileMap(Map):
    """The whole file. `extends` is already resolved (sources.py)."""

    version: Annotated[kinds.Version | None, Key("Version of the file format.")] = None
    description: Annotated[kinds.Prose | None, Key("Description of the profile.")] = None
    defaults: Annotated[HostMap | None, Key("Default keys for every host.")] = None
    hosts: Annotated[
        dict[kinds.HostName, HostMap] | None,
        Key("SSH servers by name, with the keywords of ssh_config(5) in snake_case."),
    ] = None
    forwards: Annotated[dict[kinds.ForwardName, ForwardMap] | None, Key("Forwards by name.")] = None
    hooks: Annotated[
        HooksMap | None,
        Key("Programs to run on state changes, as lists of arguments; JSON on standard input."),
    ] = None


def rows(model: type[Map]) -> dict[str, Key]:
    """The rows of the table for one map, by key."""
    return {
        name: next(entry for entry in field.metadata if isinstance(entry, Key))
        for name, field in model.model_fields.items()
    }


HOST_KEYS = rows(HostMap)
FORWARD_KEYS = rows(ForwardMap)
SSH_KEYWORDS = {name: key.ssh for name, key in HOST_KEYS.items() if key.ssh is not None}

_BY_KEY: dict[str, type[Map]] = {
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
    model: type[Map] = ProfileMap
    if len(path) == 2 and path[0] in ("hosts", "forwards"):  # the key is a name of the user's
        model = HostMap if path[0] == "hosts" else ForwardMap
    elif path:
        model = _BY_KEY[str(path[-1])]
    return frozenset(model.model_fields)
