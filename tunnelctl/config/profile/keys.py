"""The table of keys: one row for each key of a profile.

Owns which keys there are and everything that is said about each: what it holds (kinds.py), its
description, which keyword of ssh_config(5) stands for it and how values go both ways, whether it
goes with `embedded`, how it becomes a value of the spec, and why `export` leaves it out. The
checks, the JSON Schema, the canonical form, what ssh_config says, the export and the reference page
are loops over it; a new key is one row here, a field of the spec, and its use.

Every key is optional here, because `defaults` and `extends` fill in what a host leaves out; what
must be there, and what contradicts what, is said in checks.py.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
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
from tunnelctl.config.values.ways import NONE
from tunnelctl.config.yaml.mistakes import KeyPath, shown
from tunnelctl.spec.forward import ProbeType
from tunnelctl.spec.host import SecretRef, SecretSource

_MOST_QUESTIONS = 1000


class InSpec(Enum):
    """How the value of a key becomes the field of the same name in the spec."""

    SAME = "as it is"
    PATHS = "paths that start at the file that they are written in"
    REFERENCE = "a reference to a secret"
    OWN = "in a way of its own (convert.py)"


@dataclass(frozen=True, slots=True)
class Key:
    """What is said about a key besides the kind of its value.

    `no_files` is what the spec has for `none` in a list of paths. `omitted` says why `export` has
    nothing for a key that is given. `embedded`: it goes with `embedded: true`.
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
    """A map of known keys. Nothing is converted but by the functions of values/."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Secret(Map):
    """Where a secret is kept; it never stands in a profile. Exactly one key."""

    env: Annotated[kinds.Variable | None, Key("The environment variable that holds it.")] = None
    file: Annotated[
        kinds.FilePath | None, Key("The file that holds it; only you may be able to read it.")
    ] = None
    command: Annotated[
        kinds.Argv | None, Key("The program that prints it, and its arguments; no shell.")
    ] = None
    keyring: Annotated[
        kinds.Keyring | None, Key("SERVICE/USER, an entry of the system's keyring.")
    ] = None
    credential: Annotated[
        kinds.Credential | None, Key("A credential that systemd gives to the daemon.")
    ] = None

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

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        own = handler.resolve_ref_schema(handler(schema))
        return {**own, "minProperties": 1, "maxProperties": 1}

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


class ReconnectMap(Map):
    """When a host is tried again."""

    min: Annotated[
        kinds.Duration | None, Key("Upper bound of the first wait; doubles after each failure.")
    ] = None
    max: Annotated[kinds.Duration | None, Key("Upper bound of every wait.")] = None
    stable_after: Annotated[
        kinds.Duration | None, Key("How long a link must last before the waits start anew.")
    ] = None
    give_up_after: Annotated[kinds.DurationOrNever, Key("How long to keep trying.")] = None


class ProxyMap(Map):
    """A proxy, and the login that it asks for."""

    url: Annotated[kinds.ProxyUrl | None, Key("socks5://HOST:PORT or http://HOST:PORT.")] = None
    user: Annotated[kinds.Text | None, Key("The user that the proxy asks for.")] = None
    password: Annotated[
        Secret | None, Key("Where the password for the proxy is kept.", InSpec.REFERENCE)
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
    """One host, or `defaults`: the words of ssh_config(5)."""

    hostname: Annotated[
        kinds.Address | None,
        Key(
            "The name or address to connect to; default: the host's own name.",
            ssh=Keyword("HostName", ssh.first(names.host_name)),
        ),
    ] = None
    port: Annotated[
        Annotated[int, Between(1, 65535)] | None,
        Key("The port of the SSH server.", ssh=Keyword("Port", ssh.first(int))),
    ] = None
    address_family: Annotated[
        kinds.Family | None,
        Key(
            "Which addresses of a name are tried.",
            ssh=Keyword("AddressFamily", ssh.first(choices.address_family), ssh.one),
        ),
    ] = None
    bind_address: Annotated[
        kinds.HostName | None,
        Key(
            "The address of this machine that connections leave from.",
            ssh=Keyword("BindAddress", ssh.first(names.host_name), ssh.one),
        ),
    ] = None
    user: Annotated[
        kinds.UserName | None,
        Key(
            "The user to log in as; default: you.",
            ssh=Keyword("User", ssh.first(names.user_name)),
        ),
    ] = None
    identity_file: Annotated[
        kinds.Files | None,
        Key(
            "Private keys; naming one keeps the agent's others back.",
            InSpec.PATHS,
            no_files=(NONE,),
            ssh=Keyword("IdentityFile", ssh.files((NONE,)), ssh.line_each),
        ),
    ] = None
    certificate_file: Annotated[
        kinds.Files | None,
        Key(
            "User certificates, beside those called KEY-cert.pub.",
            InSpec.PATHS,
            ssh=Keyword("CertificateFile", ssh.files(()), ssh.line_each),
        ),
    ] = None
    identities_only: Annotated[
        kinds.Boolean | None,
        Key(
            "Use the named keys alone, whatever the agent has.",
            InSpec.OWN,
            ssh=Keyword(
                "IdentitiesOnly", ssh.first(lambda value: value == "yes"), lambda _: ("yes",)
            ),
        ),
    ] = None
    identity_agent: Annotated[
        kinds.Agent,
        Key(
            "The socket of the agent, none, or SSH_AUTH_SOCK.",
            InSpec.OWN,
            ssh=Keyword("IdentityAgent", lambda read, values: read.agent(values[0]), ssh.path),
        ),
    ] = None
    preferred_authentications: Annotated[
        kinds.Authentications | None,
        Key(
            "How to log in, in this order; what is not named is not tried.",
            ssh=Keyword("PreferredAuthentications", None, ssh.comma_separated),
        ),
    ] = None
    password: Annotated[
        Secret | None,
        Key(
            "Where the password is kept.",
            InSpec.REFERENCE,
            omitted="ssh asks for it, at the terminal or by SSH_ASKPASS",
        ),
    ] = None
    passphrase: Annotated[
        Secret | None,
        Key(
            "Where the passphrase of the keys is kept.",
            InSpec.REFERENCE,
            omitted="ssh asks for it, at the terminal or by SSH_ASKPASS",
        ),
    ] = None
    remember: Annotated[
        kinds.Boolean | None,
        Key(
            "Keep an answered passphrase or password in memory for reconnects.",
            omitted="ssh keeps nothing that was answered",
        ),
    ] = None
    proxy_jump: Annotated[
        kinds.Hops | None,
        Key(
            "Hops, the nearest first: hosts, aliases, or user@host:port; none.",
            InSpec.OWN,
        ),
    ] = None
    proxy_command: Annotated[
        kinds.ProxyCommand | None,
        Key(
            "A program whose input and output are the connection; %h %p %r %n stand for the host.",
            InSpec.OWN,
        ),
    ] = None
    proxy: Annotated[
        ProxyMap | None,
        Key("A proxy, socks5://HOST:PORT or http://HOST:PORT.", InSpec.OWN),
    ] = None
    host_key: Annotated[
        kinds.Pins | None,
        Key(
            "Fingerprints, SHA256:…; when given, no other key is accepted.",
            omitted="ssh knows no pins; the key has to be in known_hosts",
        ),
    ] = None
    user_known_hosts_file: Annotated[
        kinds.Files | None,
        Key(
            "The files of known host keys.",
            InSpec.PATHS,
            no_files=(os.devnull,),
            ssh=Keyword("UserKnownHostsFile", ssh.files((os.devnull,)), ssh.in_one_line),
        ),
    ] = None
    global_known_hosts_file: Annotated[
        kinds.Files | None,
        Key(
            "More such files, instead of the system's.",
            InSpec.PATHS,
            no_files=(os.devnull,),
            ssh=Keyword("GlobalKnownHostsFile", ssh.global_files((os.devnull,)), ssh.in_one_line),
        ),
    ] = None
    known_hosts_command: Annotated[
        kinds.KnownHostsCommand | None,
        Key(
            "A program that prints known host keys; %H %I %t %f %K stand for what is asked.",
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
            "Files of keys that no host may show, or none.",
            InSpec.PATHS,
            ssh=Keyword("RevokedHostKeys", ssh.files(()), ssh.in_one_line),
        ),
    ] = None
    host_key_alias: Annotated[
        kinds.HostKeyAlias | None,
        Key(
            "The name that the host key is known under.",
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
            "Whether an unknown host key is refused, or recorded; a changed one is always refused.",
            ssh=Keyword("StrictHostKeyChecking", ssh.first(ssh.strict), ssh.one, always=True),
        ),
    ] = None
    connect_timeout: Annotated[
        kinds.Duration | None,
        Key(
            "How long connecting and logging in may take.",
            ssh=Keyword("ConnectTimeout", ssh.first(ssh.positive), ssh.seconds, always=True),
            embedded=True,
        ),
    ] = None
    server_alive_interval: Annotated[
        kinds.DurationOrZero | None,
        Key(
            "How long the server may be silent before it is asked; 0 never asks, so that one that "
            "is gone without a word is noticed only by what is sent to it.",
            ssh=Keyword("ServerAliveInterval", ssh.first(float), ssh.seconds, always=True),
            embedded=True,
        ),
    ] = None
    server_alive_count_max: Annotated[
        Annotated[int, Between(1, _MOST_QUESTIONS)] | None,
        Key(
            "How many questions it may leave unanswered.",
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
            f"Key exchange methods, {kinds.IN_ORDER} {', '.join(Kind.KEX_ALGORITHMS.value)}",
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
            f"Signatures of host keys, {kinds.IN_ORDER} "
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
            "Bytes after which new keys are made, such as 1G.",
            InSpec.OWN,
            ssh=Keyword("RekeyLimit", ssh.first(ssh.rekey_limit), ssh.one),
            embedded=True,
        ),
    ] = None
    session_type: Annotated[
        kinds.Session | None,
        Key(
            "Whether what the server prints in a session is shown; auto: unless it is OpenSSH.",
            omitted="ssh -N opens no session, so what the server prints is not seen",
        ),
    ] = None
    compression: Annotated[
        kinds.Off | None, Key("Must be false: nothing is compressed.", embedded=True)
    ] = None
    ssh_config: Annotated[
        kinds.SshConfig | None,
        Key("Whether what is left open comes from ssh_config, or from which file.", InSpec.OWN),
    ] = None
    lazy: Annotated[
        kinds.Boolean | None,
        Key(
            "Connect at the first client, and close when there is none.",
            omitted="ssh connects at once",
            embedded=True,
        ),
    ] = None
    idle_timeout: Annotated[
        kinds.Duration | None,
        Key("How long a lazy host stays connected without a client.", embedded=True),
    ] = None
    fallback: Annotated[
        kinds.Names | None,
        Key(
            "Hosts to try next when this one cannot be reached.",
            InSpec.OWN,
            omitted="ssh tries one host",
        ),
    ] = None
    reconnect: Annotated[
        ReconnectMap | None, Key("When it is tried again.", InSpec.OWN, embedded=True)
    ] = None
    embedded: Annotated[
        kinds.Boolean | None,
        Key("An SSH server of our own on 127.0.0.1 instead of a real one.", embedded=True),
    ] = None


class HoldMap(Map):
    """How long a client waits for a link that is down."""

    hold: Annotated[kinds.DurationOrZero | None, Key("How long a new client waits.")] = None

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, value: object) -> object:
        """`refuse` is a hold of no time at all."""
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
    """How the target of a forward is asked whether it lives."""

    # Which keys go with one type alone.
    OF_TYPE: ClassVar[Mapping[str, ProbeType]] = {
        "path": ProbeType.HTTP,
        "status": ProbeType.HTTP,
        "command": ProbeType.COMMAND,
    }

    type: Annotated[kinds.Probing | None, Key("How the target is asked.")] = None
    interval: Annotated[kinds.Duration | None, Key("The time between two questions.")] = None
    timeout: Annotated[kinds.Duration | None, Key("How long an answer may take.")] = None
    rise: Annotated[
        Annotated[int, Between(1, 100)] | None, Key("How many answers make it healthy.")
    ] = None
    fall: Annotated[
        Annotated[int, Between(1, 100)] | None, Key("How many failures make it unhealthy.")
    ] = None
    path: Annotated[kinds.UrlPath | None, Key("The path that http asks for.")] = None
    status: Annotated[
        Annotated[int, Between(100, 599)] | None, Key("The status that http expects.")
    ] = None
    command: Annotated[kinds.Argv | None, Key("The program that tells, by its exit code.")] = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        """The type alone, such as `none`."""
        return {"type": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        own = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [kinds.choice(ProbeType), own]}


class ForwardMap(Map):
    """One forward: which side listens, and where it leads."""

    SIDES: ClassVar = ("local", "remote", "dynamic", "remote_dynamic")

    local: Annotated[
        kinds.LocalListener | None,
        Key("Listen here, and lead to what the server reaches.", InSpec.OWN),
    ] = None
    remote: Annotated[
        kinds.RemoteListener | None,
        Key("Listen on the server, and lead to what this machine reaches.", InSpec.OWN),
    ] = None
    dynamic: Annotated[
        kinds.LocalPort | None,
        Key("Listen here for SOCKS clients, who name what the server reaches.", InSpec.OWN),
    ] = None
    remote_dynamic: Annotated[
        kinds.RemotePort | None,
        Key("Listen on the server for SOCKS clients; needs `permit`.", InSpec.OWN),
    ] = None
    to: Annotated[
        kinds.Target | None,
        Key("Where it leads: HOST:PORT, a port, or the path of a unix socket.", InSpec.OWN),
    ] = None
    via: Annotated[
        kinds.Hop | None,
        Key(
            "What carries it: a host of this file, what ssh NAME reaches, or user@host:port.",
            InSpec.OWN,
        ),
    ] = None
    probe: Annotated[
        ProbeMap | None,
        Key(
            "How the target is asked whether it lives; tcp where a fixed one takes no harm.",
            InSpec.OWN,
        ),
    ] = None
    on_unhealthy: Annotated[
        kinds.WhenUnhealthy | None,
        Key("What an unhealthy target leads to.", omitted="ssh asks no target"),
    ] = None
    while_down: Annotated[
        HoldMap | None,
        Key(
            "What becomes of a client that comes while the host is away.",
            InSpec.OWN,
            omitted="ssh holds no client",
        ),
    ] = None
    max_connections: Annotated[
        Annotated[int, Between(1, 65535)] | None,
        Key("How many clients it has at once.", omitted="ssh has no limit"),
    ] = None
    expose: Annotated[
        kinds.Boolean | None, Key("Allow to listen where other machines can reach it.")
    ] = None
    allow: Annotated[
        kinds.Networks | None,
        Key(
            "The addresses and networks that clients may come from.",
            omitted="whoever reaches the listener may use it",
        ),
    ] = None
    permit: Annotated[
        kinds.Permits | None, Key("What SOCKS clients of the server may reach here, HOST:PORT.")
    ] = None
    unlink_remote: Annotated[
        kinds.Boolean | None,
        Key(
            "Where a socket file on the server is in the way, and nobody answers on it, have a "
            "shell there remove it.",
            omitted="StreamLocalBindUnlink in sshd_config there does the same",
        ),
    ] = None
    required: Annotated[
        kinds.Boolean | None, Key("Whether the profile is up only when this forward is.")
    ] = None
    labels: Annotated[
        kinds.Labels | None,
        Key("Words of your own, for status and events.", InSpec.OWN, omitted="ssh has none"),
    ] = None

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> Fragment:
        """It listens on one side at most; a file that is extended may say which."""
        own = handler.resolve_ref_schema(handler(schema))
        pairs = [[a, b] for at, a in enumerate(cls.SIDES) for b in cls.SIDES[at + 1 :]]
        own["not"] = {"anyOf": [{"required": pair} for pair in pairs]}
        return own


class HooksMap(Map):
    """What is run when the profile's state changes."""

    on_up: Annotated[kinds.Argv | None, Key("Run when the profile is up.")] = None
    on_down: Annotated[kinds.Argv | None, Key("Run when it was up and is not any more.")] = None
    on_failed: Annotated[kinds.Argv | None, Key("Run when it has failed for good.")] = None


class ProfileMap(Map):
    """The whole file. `extends` was followed before (sources.py)."""

    version: Annotated[kinds.Version | None, Key("The version of this format.")] = None
    description: Annotated[kinds.Prose | None, Key("What the profile is for.")] = None
    defaults: Annotated[HostMap | None, Key("What every host has that does not say otherwise.")] = (
        None
    )
    hosts: Annotated[
        dict[kinds.HostName, HostMap] | None,
        Key("The SSH servers by name, in the words of ssh_config."),
    ] = None
    forwards: Annotated[
        dict[kinds.ForwardName, ForwardMap] | None, Key("What is forwarded, by name.")
    ] = None
    hooks: Annotated[
        HooksMap | None,
        Key(
            "Programs that are told of changes: words, not read by a shell; JSON on standard input."
        ),
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
