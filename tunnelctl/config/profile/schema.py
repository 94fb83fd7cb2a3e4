"""The JSON Schema of a profile, draft-07: what editors check and complete with.

Owns what each key is said to be. An editor reads the file before variables are replaced, so a
number can be a text with a `$` in it too; what only the loader can know, it still says itself.
"""

from __future__ import annotations

from typing import Any

from tunnelctl.config.profile.canonical import forward_map, host_map
from tunnelctl.spec.algorithms import CIPHERS, HOST_KEY_ALGORITHMS, KEX_ALGORITHMS, MACS
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, OnUnhealthy, ProbeType, Side
from tunnelctl.spec.host import (
    AUTHENTICATIONS,
    AddressFamily,
    Host,
    SessionType,
    StrictHostKeyChecking,
)

Fragment = dict[str, Any]

FILE_NAME = "tunnelctl.schema.json"
_DRAFT = "http://json-schema.org/draft-07/schema#"
_VARIABLE: Fragment = {"type": "string", "pattern": r"\$"}
_TEXT: Fragment = {"type": "string", "minLength": 1}
_WORDS: Fragment = {"type": "array", "items": _TEXT, "minItems": 1}
_LIST: Fragment = {"anyOf": [_TEXT, _WORDS]}
_ENDPOINT: Fragment = {"anyOf": [_TEXT, {"type": "integer", "minimum": 0, "maximum": 65535}]}
_BOOLEAN: Fragment = {"anyOf": [{"type": "boolean"}, _VARIABLE]}
_DURATION: Fragment = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|[smhdw]))+$"},
        _VARIABLE,
    ]
}


def _number(low: int, high: int) -> Fragment:
    return {"anyOf": [{"type": "integer", "minimum": low, "maximum": high}, _VARIABLE]}


def _choice(*words: str) -> Fragment:
    return {"anyOf": [{"enum": list(words)}, _VARIABLE]}


def _map(keys: dict[str, tuple[Fragment, str]], **more: Any) -> Fragment:
    """A map of known keys; null takes away what another file or `defaults` says."""
    properties = {
        key: {"description": text, "anyOf": [fragment, {"type": "null"}]}
        for key, (fragment, text) in keys.items()
    }
    return {"type": "object", "properties": properties, "additionalProperties": False, **more}


def _ref(name: str) -> Fragment:
    return {"$ref": f"#/definitions/{name}"}


def _algorithms(names: tuple[str, ...], what: str) -> tuple[Fragment, str]:
    text = f"{what}, in order, in ssh_config's syntax with + - ^; of {', '.join(names)}"
    return (_LIST, text)


SECRET_KEYS: dict[str, tuple[Fragment, str]] = {
    "env": (_TEXT, "The environment variable that holds it."),
    "file": (_TEXT, "The file that holds it; only you may be able to read it."),
    "command": (_WORDS, "The program that prints it, and its arguments; no shell."),
    "keyring": (_TEXT, "SERVICE/USER, an entry of the system's keyring."),
    "credential": (_TEXT, "A credential that systemd gives to the daemon."),
}
RECONNECT_KEYS: dict[str, tuple[Fragment, str]] = {
    "min": (_DURATION, "The longest wait before the second try; it doubles from there."),
    "max": (_DURATION, "The longest wait of all."),
    "stable_after": (_DURATION, "How long a link must last for the waits to start anew."),
    "give_up_after": (
        {"anyOf": [{"const": "never"}, _DURATION]},
        "When nothing is tried any more.",
    ),
}
PROXY_KEYS: dict[str, tuple[Fragment, str]] = {
    "url": (_TEXT, "socks5://HOST:PORT or http://HOST:PORT."),
    "user": (_TEXT, "The user that the proxy asks for."),
    "password": (_ref("secret"), "Where the password for the proxy is kept."),
}
HOST_KEYS: dict[str, tuple[Fragment, str]] = {
    "hostname": (_TEXT, "The name or address to connect to; else the host's own name."),
    "port": (_number(1, 65535), "The port of the SSH server."),
    "address_family": (_choice(*AddressFamily), "Which addresses of a name are tried."),
    "bind_address": (_TEXT, "The address of this machine that connections leave from."),
    "user": (_TEXT, "The user to log in as; else you."),
    "identity_file": (_LIST, "Private keys; naming one keeps the agent's others back."),
    "certificate_file": (_LIST, "User certificates, beside those called KEY-cert.pub."),
    "identities_only": (_BOOLEAN, "Use the named keys alone, whatever the agent has."),
    "identity_agent": (_TEXT, "The socket of the agent, none, or SSH_AUTH_SOCK."),
    "preferred_authentications": (
        {"anyOf": [_TEXT, {"type": "array", "items": _choice(*AUTHENTICATIONS), "minItems": 1}]},
        "How to log in, in this order; what is not named is not tried.",
    ),
    "password": (_ref("secret"), "Where the password is kept."),
    "passphrase": (_ref("secret"), "Where the passphrase of the keys is kept."),
    "remember": (_BOOLEAN, "Keep an answered passphrase or password in memory for reconnects."),
    "proxy_jump": (_LIST, "Hops, the nearest first: hosts, aliases, or user@host:port; none."),
    "proxy_command": (
        {"anyOf": [{"const": "none"}, _WORDS]},
        "A program whose input and output are the connection; %h %p %r %n stand for the host.",
    ),
    "proxy": (
        {"anyOf": [_TEXT, _map(PROXY_KEYS, required=["url"])]},
        "A proxy, socks5://HOST:PORT or http://HOST:PORT.",
    ),
    "host_key": (_LIST, "Fingerprints, SHA256:…; when given, no other key is accepted."),
    "user_known_hosts_file": (_LIST, "The files of known host keys."),
    "global_known_hosts_file": (_LIST, "More such files, instead of the system's."),
    "known_hosts_command": (
        {"anyOf": [{"const": "none"}, _WORDS]},
        "A program that prints known host keys; %H %I %t %f %K stand for what is asked.",
    ),
    "revoked_host_keys": (_LIST, "Files of keys that no host may show, or none."),
    "host_key_alias": (_TEXT, "The name that the host key is known under."),
    "strict_host_key_checking": (
        _choice(*StrictHostKeyChecking),
        "Whether an unknown host key is refused, or recorded; a changed one is always refused.",
    ),
    "connect_timeout": (_DURATION, "How long connecting and logging in may take."),
    "server_alive_interval": (
        _DURATION,
        "How long the server may be silent before it is asked; 0 never asks, so that one that is "
        "gone without a word is noticed only by what is sent to it.",
    ),
    "server_alive_count_max": (_number(1, 1000), "How many questions it may leave unanswered."),
    "ciphers": _algorithms(CIPHERS, "Ciphers"),
    "kex_algorithms": _algorithms(KEX_ALGORITHMS, "Key exchange methods"),
    "macs": _algorithms(MACS, "Message authentication codes"),
    "host_key_algorithms": _algorithms(HOST_KEY_ALGORITHMS, "Signatures of host keys"),
    "rekey_limit": (
        {"anyOf": [_TEXT, {"type": "integer", "minimum": 16}]},
        "Bytes after which new keys are made, such as 1G.",
    ),
    "session_type": (
        _choice(*SessionType),
        "Whether what the server prints in a session is shown; auto: unless it is OpenSSH.",
    ),
    "compression": (_BOOLEAN, "Must be false: nothing is compressed."),
    "ssh_config": (
        {"anyOf": [{"type": "boolean"}, _TEXT]},
        "Whether what is left open comes from ssh_config, or from which file.",
    ),
    "lazy": (_BOOLEAN, "Connect at the first client, and close when there is none."),
    "idle_timeout": (_DURATION, "How long a lazy host stays connected without a client."),
    "fallback": (_LIST, "Hosts to try next when this one cannot be reached."),
    "reconnect": (_map(RECONNECT_KEYS), "When it is tried again."),
    "embedded": (_BOOLEAN, "An SSH server of our own on 127.0.0.1 instead of a real one."),
}
PROBE_KEYS: dict[str, tuple[Fragment, str]] = {
    "type": (_choice(*ProbeType), "How the target is asked."),
    "interval": (_DURATION, "The time between two questions."),
    "timeout": (_DURATION, "How long an answer may take."),
    "rise": (_number(1, 100), "How many answers make it healthy."),
    "fall": (_number(1, 100), "How many failures make it unhealthy."),
    "path": ({"type": "string", "pattern": r"^/|\$"}, "The path that http asks for."),
    "status": (_number(100, 599), "The status that http expects."),
    "command": (_WORDS, "The program that tells, by its exit code."),
}
FORWARD_KEYS: dict[str, tuple[Fragment, str]] = {
    "local": (_ENDPOINT, "Listen here, and lead to what the server reaches."),
    "remote": (_ENDPOINT, "Listen on the server, and lead to what this machine reaches."),
    "dynamic": (_ENDPOINT, "Listen here for SOCKS clients, who name what the server reaches."),
    "remote_dynamic": (_ENDPOINT, "Listen on the server for SOCKS clients; needs `permit`."),
    "to": (_ENDPOINT, "Where it leads: HOST:PORT, a port, or the path of a unix socket."),
    "via": (
        _TEXT,
        "What carries it: a host of this file, what ssh NAME reaches, or user@host:port.",
    ),
    "probe": (
        {"anyOf": [_choice(*ProbeType), _map(PROBE_KEYS)]},
        "How the target is asked whether it lives; tcp where a fixed one takes no harm.",
    ),
    "on_unhealthy": (_choice(*OnUnhealthy), "What an unhealthy target leads to."),
    "while_down": (
        {
            "anyOf": [
                {"const": "refuse"},
                _map({"hold": (_DURATION, "How long a new client waits.")}),
            ]
        },
        "What becomes of a client that comes while the host is away.",
    ),
    "max_connections": (_number(1, 65535), "How many clients it has at once."),
    "expose": (_BOOLEAN, "Allow to listen where other machines can reach it."),
    "allow": (_LIST, "The addresses and networks that clients may come from."),
    "permit": (_LIST, "What SOCKS clients of the server may reach here, HOST:PORT."),
    "unlink_remote": (
        _BOOLEAN,
        "Where a socket file on the server is in the way, and nobody answers on it, have a shell "
        "there remove it.",
    ),
    "required": (_BOOLEAN, "Whether the profile is up only when this forward is."),
    "labels": (
        {"type": "object", "additionalProperties": _TEXT},
        "Words of your own, for status and events.",
    ),
}
_SIDES = ("local", "remote", "dynamic", "remote_dynamic")
PROFILE_KEYS: dict[str, tuple[Fragment, str]] = {
    "version": ({"const": 1}, "The version of this format."),
    "description": ({"type": "string"}, "What the profile is for."),
    "extends": (_LIST, "Files that this one is laid over, relative to it."),
    "defaults": (_ref("host"), "What every host has that does not say otherwise."),
    "hosts": (
        {"type": "object", "additionalProperties": _ref("host")},
        "The SSH servers by name, in the words of ssh_config.",
    ),
    "forwards": (
        {"type": "object", "additionalProperties": _ref("forward")},
        "What is forwarded, by name.",
    ),
    "hooks": (
        _map(
            {
                "on_up": (_WORDS, "Run when the profile is up."),
                "on_down": (_WORDS, "Run when it was up and is not any more."),
                "on_failed": (_WORDS, "Run when it has failed for good."),
            }
        ),
        "Programs that are told of changes: words, not read by a shell; JSON on standard input.",
    ),
}


def json_schema() -> Fragment:
    """The whole schema."""
    return {
        "$schema": _DRAFT,
        "title": "A profile of tunnelctl",
        **_map(PROFILE_KEYS, patternProperties={"^x-": {}}),
        "definitions": {
            "host": _with_defaults(_map(HOST_KEYS), host_map(Host("", ""))),
            "forward": _with_defaults(_forward(), forward_map(_PLAIN_FORWARD)),
            "secret": {
                "description": "Where a secret is kept; it never stands in a profile.",
                **_map(SECRET_KEYS, minProperties=1, maxProperties=1),
            },
        },
    }


_PLAIN_FORWARD = Forward("", Side.HERE, Endpoint(port=1), Endpoint(port=1), "")
_NO_DEFAULT = frozenset({"hostname", "local", "to", "via", "ssh_config", "identities_only"})


def _forward() -> Fragment:
    """A forward listens on one side at most; a file that is extended may say which."""
    pairs = [[a, b] for at, a in enumerate(_SIDES) for b in _SIDES[at + 1 :]]
    return _map(FORWARD_KEYS, **{"not": {"anyOf": [{"required": pair} for pair in pairs]}})


def _with_defaults(fragment: Fragment, values: dict[str, Any]) -> Fragment:
    """What holds where a key is left out, for editors to show."""
    for key, value in values.items():
        if key not in _NO_DEFAULT and value:
            fragment["properties"][key]["default"] = value
    return fragment
