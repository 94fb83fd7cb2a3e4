"""A profile with all defaults as one file: what `tunnelctl config` prints.

Owns the way back from the spec to the keys of a profile. Loading the file gives an equal profile on
any machine: it does not depend on ssh_config or variables. A secret stays a reference.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from itertools import count
from typing import Any

import yaml

from tunnelctl.config.profile.keys import FORWARD_KEYS, HOST_KEYS, ForwardMap, ProbeMap
from tunnelctl.config.values.reach import Jump
from tunnelctl.config.yaml.yaml12 import resolve
from tunnelctl.spec.forward import Forward, Probe, ProbeType, WhileDown
from tunnelctl.spec.host import Host, Proxy, Reconnect
from tunnelctl.spec.permit import Permit
from tunnelctl.spec.profile import Profile
from tunnelctl.spec.secret import SecretRef, SecretSource


def as_document(profile: Profile) -> dict[str, Any]:
    """The profile as the plain values of a file."""
    names = _Names(profile.hosts)
    hosts = {host.name: host_map(host, names) for host in profile.hosts}
    while found := names.beside(hosts):
        hosts.update({name: host_map(host, names) for name, host in found.items()})
    document: dict[str, Any] = {"version": 1}
    if profile.description:
        document["description"] = profile.description
    document["hosts"] = hosts
    if profile.forwards:
        document["forwards"] = {rule.name: forward_map(rule) for rule in profile.forwards}
    hooks = {name: list(words) for name, words in asdict(profile.hooks).items() if words}
    if hooks:
        document["hooks"] = hooks
    return document


def as_yaml(profile: Profile, *, ascii_only: bool = False) -> str:
    """The profile as a file that can be loaded."""
    return yaml_text(as_document(profile), ascii_only=ascii_only)


def yaml_text(document: dict[str, Any], *, ascii_only: bool = False) -> str:
    """A file with these values, without variables."""
    escaped = _escaped(document)
    is_any = not ascii_only
    return yaml.dump(escaped, Dumper=_Dumper, sort_keys=False, allow_unicode=is_any, width=100)


class _Names:
    """The names of the hosts; hops and fallbacks become hosts of the file, too."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = {host.name: host for host in hosts}

    def of_hop(self, hop: Host, *, is_first: bool) -> str:
        """A hop in the form of the file; the way to a later hop does not matter."""
        part = _alone if is_first else _bare
        known = self._hosts.get(hop.name, hop)
        if hop.user and part(replace(known, user=hop.user, port=hop.port)) == part(hop):
            self._hosts.setdefault(hop.name, hop)
            user = None if known.user == hop.user else hop.user
            return str(Jump(hop.name, user, None if known.port == hop.port else hop.port))
        return str(Jump(self._name(hop, part)))

    def of_fallback(self, host: Host) -> str:
        """The name of a fallback host."""
        return self._name(host, _alone)

    def beside(self, known: Collection[str]) -> dict[str, Host]:
        """The hosts whose names are not known yet."""
        return {name: host for name, host in self._hosts.items() if name not in known}

    def _name(self, host: Host, part: Callable[[Host], Host]) -> str:
        """Its own name, with a number if another host has it."""
        for number in count(1):
            name = host.name if number == 1 else f"{host.name}-{number}"
            known = self._hosts.setdefault(name, replace(host, name=name))
            if part(replace(known, name=host.name)) == part(host):
                break
        return name


def _alone(host: Host) -> Host:
    """The host without its fallbacks."""
    return replace(host, fallback=())


def _bare(host: Host) -> Host:
    """The host without the way to it either."""
    return replace(host, fallback=(), proxy_jump=(), proxy_command=(), proxy=None)


def host_map(host: Host, names: _Names | None = None) -> dict[str, Any]:
    """The keys of one host, without those that have no value."""
    names = names or _Names((host,))
    # Keys that differ from the field of the same name.
    special: dict[str, Any] = {
        "proxy_jump": [names.of_hop(h, is_first=at == 0) for at, h in enumerate(host.proxy_jump)],
        "fallback": [names.of_fallback(other) for other in host.fallback],
        "rekey_limit": "default" if host.rekey_limit is None else host.rekey_limit,
        "ssh_config": False,
        "embedded": host.embedded or None,
    }
    return _given(
        {
            name: special[name] if name in special else written(getattr(host, name))
            for name, key in HOST_KEYS.items()
            if key.embedded or not host.embedded
        }
    )


def forward_map(rule: Forward) -> dict[str, Any]:
    """The keys of one forward, without those that have no value."""
    special: dict[str, Any] = {
        **dict.fromkeys(ForwardMap.SIDES),
        rule.type: str(rule.listen),
        "to": None if rule.target is None else str(rule.target),
        "unlink_remote": rule.unlink_remote or None,
        "labels": dict(rule.labels),
    }
    return _given(
        {
            name: special[name] if name in special else written(getattr(rule, name))
            for name in FORWARD_KEYS
        }
    )


def written(value: object) -> Any:
    """A value of the spec in the form of a profile."""
    write = _WRITTEN.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, tuple):
        return [written(item) for item in value]
    return str(value) if isinstance(value, StrEnum) else value


def _given(keys: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in keys.items() if value not in (None, [], {})}


def _duration(seconds: float) -> str:
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


def _reconnect(reconnect: Reconnect) -> dict[str, str]:
    limit = reconnect.give_up_after
    return {
        "min": _duration(reconnect.min),
        "max": _duration(reconnect.max),
        "stable_after": _duration(reconnect.stable_after),
        "give_up_after": "never" if limit is None else _duration(limit),
    }


def _secret(secret: SecretRef) -> dict[str, Any]:
    words = list(secret.value)
    return {str(secret.source): words if secret.source is SecretSource.COMMAND else words[0]}


def _proxy(proxy: Proxy) -> dict[str, Any]:
    url = f"{proxy.kind}://{Jump(proxy.hostname, port=proxy.port)}"
    return _given({"url": url, "user": proxy.user, "password": written(proxy.password)})


def _probe(probe: Probe) -> dict[str, Any] | None:
    if probe.unasked:
        return None
    if probe.type is ProbeType.NONE:
        return {"type": str(probe.type)}
    keys: dict[str, Any] = {
        "type": str(probe.type),
        "interval": _duration(probe.interval),
        "timeout": _duration(probe.timeout),
        "rise": probe.rise,
        "fall": probe.fall,
    }
    for key, of_type in ProbeMap.OF_TYPE.items():
        if of_type is probe.type:
            keys[key] = written(getattr(probe, key))
    return keys


def _while_down(while_down: WhileDown) -> Any:
    return {"hold": _duration(while_down.hold)} if while_down.hold else "refuse"


def _permit(permit: Permit) -> str:
    port = "*" if permit.port is None else permit.port
    return f"{permit.name or permit.network}:{port}"


_WRITTEN: dict[type, Callable[[Any], Any]] = {
    float: _duration,  # every float of the spec is a duration
    Permit: _permit,
    Probe: _probe,
    Proxy: _proxy,
    Reconnect: _reconnect,
    SecretRef: _secret,
    WhileDown: _while_down,
    IPv4Network: str,
    IPv6Network: str,
}


def _escaped(value: Any) -> Any:
    """With every dollar sign doubled, so that it is no variable."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return value


class _Dumper(yaml.SafeDumper):
    """Writes no anchors, and quotes strings that YAML 1.2 would read as another type."""

    def ignore_aliases(self, data: Any) -> bool:
        """No value is shared."""
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        """One string."""
        style = None if isinstance(resolve(data), str) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.text)
