"""Profiles that imports come to, and profiles to export."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunnelctl.config.exchange.from_ssh_command import import_ssh_command
from tunnelctl.config.exchange.imported import Imported
from tunnelctl.config.profile.load import load_profile
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile

BASTION = Host("bastion", "bastion.example.com", 2222, "alice", ("/home/alice/.ssh/a key",))
# Names of users that ssh takes before the `@`, and sends as they are.
USERS = [
    *("CORP\\alice", "alice:target", "alice#target", "alice%node1", "müller", "svc$", "a/b"),
    *("user=x", "me@corp.example", "john doe", "a,b", "日本", "#x", "~x", "$HOME", "a:b:c", "x*"),
]
_DB = Endpoint("db", 5432)
HOPS = (Host("gate", "gate.example.com", 22, "carol"), Host("inner", "10.0.0.9", 2200))


def profile_of(imported: Imported) -> Profile:
    """The profile that the file of an import comes to, on a machine without ssh_config."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "imported.yaml"
        path.write_text(imported.yaml("A test"))
        return load_profile(path, {"HOME": folder, "PATH": "/nonexistent"}).profile


def of_command(*commands: str, permit: tuple[str, ...] = ()) -> Imported:
    """What command lines of ssh come to, where there is no ssh."""
    environ = {"HOME": "/home/alice", "PATH": "/nonexistent"}
    return import_ssh_command(commands, environ, permit=permit)


def meaning(profile: Profile) -> list[tuple[object, ...]]:
    """What is forwarded, by whatever name, and by what way."""
    found = []
    for rule in profile.forwards:
        host = profile.host(rule.via)
        way = [(hop.hostname, hop.port, hop.user) for hop in host.proxy_jump]
        reached = (host.hostname, host.port, host.user, host.identity_file, way)
        listen = rule.listen.host.replace("127.0.0.1", "localhost"), rule.listen.port
        found.append((rule.side, listen, rule.listen.path, rule.target, rule.permit, reached))
    return sorted(found, key=repr)


def rule(name: str = "db", **fields: Any) -> Forward:
    """A forward from here by BASTION, but for these fields."""
    made = Forward(name, Side.HERE, Endpoint("127.0.0.1", 5432), _DB, "bastion")
    return replace(made, **fields)


def profile(*rules: Forward, host: Host = BASTION) -> Profile:
    """A profile with these forwards and one host."""
    return Profile("p", "p.yaml", (host,), rules)
