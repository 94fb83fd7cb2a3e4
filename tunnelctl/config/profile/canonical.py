"""A profile as one file with everything said: what `tunnelctl config` prints.

Owns the way back from the spec to the words of a profile. Loading what is written here gives an
equal profile, wherever that is done: nothing is left to ssh_config or to variables. A secret stays
a reference to where it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, replace
from itertools import count
from typing import Any

import yaml

from tunnelctl.config.values.ways import Jump
from tunnelctl.config.yaml.yaml12 import resolve
from tunnelctl.spec.forward import Forward, Probe, ProbeType
from tunnelctl.spec.host import Host, Proxy, Reconnect, SecretRef, SecretSource
from tunnelctl.spec.permit import Permit
from tunnelctl.spec.profile import Profile

_PROBE_KEYS = {ProbeType.HTTP: ("path", "status"), ProbeType.COMMAND: ("command",)}


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
    """A file whose values are these and stand for themselves: it has no variables."""
    escaped = _escaped(document)
    is_any = not ascii_only
    return yaml.dump(escaped, Dumper=_Dumper, sort_keys=False, allow_unicode=is_any, width=100)


class _Names:
    """What each host is called; hops and fallbacks become hosts of the file, too."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self._hosts = {host.name: host for host in hosts}

    def of_hop(self, hop: Host, *, is_first: bool) -> str:
        """A hop as it is written; of a later one its own way does not matter."""
        part = _alone if is_first else _bare
        known = self._hosts.get(hop.name, hop)
        if hop.user and part(replace(known, user=hop.user, port=hop.port)) == part(hop):
            self._hosts.setdefault(hop.name, hop)
            user = None if known.user == hop.user else hop.user
            return str(Jump(hop.name, user, None if known.port == hop.port else hop.port))
        return str(Jump(self._name(hop, part)))

    def of_fallback(self, host: Host) -> str:
        """The name of a host that stands in for another."""
        return self._name(host, _alone)

    def beside(self, known: Collection[str]) -> dict[str, Host]:
        """The hosts whose names are not among the known ones."""
        return {name: host for name, host in self._hosts.items() if name not in known}

    def _name(self, host: Host, part: Callable[[Host], Host]) -> str:
        """Its own, or one with a number where another host has that."""
        for number in count(1):
            name = host.name if number == 1 else f"{host.name}-{number}"
            known = self._hosts.setdefault(name, replace(host, name=name))
            if part(replace(known, name=host.name)) == part(host):
                break
        return name


def _alone(host: Host) -> Host:
    """Without what stands in for it."""
    return replace(host, fallback=())


def _bare(host: Host) -> Host:
    """Without the way to it either."""
    return replace(host, fallback=(), proxy_jump=(), proxy_command=(), proxy=None)


def host_map(host: Host, names: _Names | None = None) -> dict[str, Any]:
    """The keys of one host, without those that have no value."""
    names = names or _Names((host,))
    shared = {
        "connect_timeout": _duration(host.connect_timeout),
        "server_alive_interval": _duration(host.server_alive_interval),
        "server_alive_count_max": host.server_alive_count_max,
        "ciphers": list(host.ciphers),
        "kex_algorithms": list(host.kex_algorithms),
        "macs": list(host.macs),
        "host_key_algorithms": list(host.host_key_algorithms),
        "rekey_limit": "default" if host.rekey_limit is None else host.rekey_limit,
        "compression": host.compression,
        "lazy": host.lazy,
        "idle_timeout": _duration(host.idle_timeout),
        "reconnect": _reconnect(host.reconnect),
    }
    if host.embedded:
        return _given({"embedded": True, **shared})
    hops = [names.of_hop(hop, is_first=at == 0) for at, hop in enumerate(host.proxy_jump)]
    return _given(
        {
            "hostname": host.hostname,
            "port": host.port,
            "address_family": str(host.address_family),
            "bind_address": host.bind_address,
            "user": host.user,
            "identity_file": list(host.identity_file),
            "certificate_file": list(host.certificate_file),
            "preferred_authentications": list(host.preferred_authentications),
            "identities_only": host.identities_only,
            "identity_agent": host.identity_agent,
            "password": _secret(host.password),
            "passphrase": _secret(host.passphrase),
            "remember": host.remember,
            "proxy_jump": hops,
            "proxy_command": list(host.proxy_command),
            "proxy": _proxy(host.proxy),
            "host_key": list(host.host_key),
            "user_known_hosts_file": list(host.user_known_hosts_file),
            "global_known_hosts_file": list(host.global_known_hosts_file),
            "known_hosts_command": list(host.known_hosts_command),
            "revoked_host_keys": list(host.revoked_host_keys),
            "host_key_alias": host.host_key_alias,
            "strict_host_key_checking": str(host.strict_host_key_checking),
            "session_type": str(host.session_type),
            **shared,
            "ssh_config": False,
            "fallback": [names.of_fallback(other) for other in host.fallback],
        }
    )


def forward_map(rule: Forward) -> dict[str, Any]:
    """The keys of one forward, without those that have no value."""
    hold = rule.while_down.hold
    return _given(
        {
            rule.type: str(rule.listen),
            "to": None if rule.target is None else str(rule.target),
            "via": rule.via,
            "probe": _probe(rule.probe),
            "on_unhealthy": str(rule.on_unhealthy),
            "while_down": {"hold": _duration(hold)} if hold else "refuse",
            "max_connections": rule.max_connections,
            "expose": rule.expose,
            "allow": [str(network) for network in rule.allow],
            "permit": [_permit(permit) for permit in rule.permit],
            "unlink_remote": rule.unlink_remote or None,
            "required": rule.required,
            "labels": dict(rule.labels),
        }
    )


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


def _secret(secret: SecretRef | None) -> dict[str, Any] | None:
    if secret is None:
        return None
    words = list(secret.value)
    return {str(secret.source): words if secret.source is SecretSource.COMMAND else words[0]}


def _proxy(proxy: Proxy | None) -> dict[str, Any] | None:
    if proxy is None:
        return None
    url = f"{proxy.kind}://{Jump(proxy.hostname, port=proxy.port)}"
    return _given({"url": url, "user": proxy.user, "password": _secret(proxy.password)})


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
    for key in _PROBE_KEYS.get(probe.type, ()):
        value = getattr(probe, key)
        keys[key] = list(value) if isinstance(value, tuple) else value
    return keys


def _permit(permit: Permit) -> str:
    port = "*" if permit.port is None else permit.port
    return f"{permit.name or permit.network}:{port}"


def _escaped(value: Any) -> Any:
    """With every dollar sign doubled, so that it stands for itself."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    return value


class _Dumper(yaml.SafeDumper):
    """Writes no anchors, and quotes what YAML 1.2 would take for something else than text."""

    def ignore_aliases(self, data: Any) -> bool:
        """No value is shared."""
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        """One string."""
        style = None if isinstance(resolve(data), str) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style)


_Dumper.add_representer(str, _Dumper.text)
