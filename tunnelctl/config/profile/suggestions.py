"""Suggestions for unknown keys of a profile.

Owns the names of our keys in other programs: ssh_config(5), docker compose, boring and others. For
a key in the wrong place, the right place is suggested. Must never decide anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from tunnelctl.config.profile.keys import ForwardMap, HostMap, ProfileMap, known_keys
from tunnelctl.config.yaml.mistakes import KeyPath, Mistakes

_PLACES = {
    "at the top of the file": frozenset(ProfileMap.model_fields),
    "to a host, under `hosts`": frozenset(HostMap.model_fields),
    "to a forward, under `forwards`": frozenset(ForwardMap.model_fields),
}
# Our key, and its names elsewhere; without `_` and `-`, in lower case.
_PROFILE = {
    "forwards": "tunnels tunnel forwardings forwarding services ports rules mappings portforwards",
    "hosts": "host server servers machines connections gateways bastions jumphosts ssh sshhosts",
    "extends": "include includes import imports inherit base",
    "defaults": "common global globals",
    "hooks": "scripts events",
}
_HOST = {
    "hostname": "host address addr server ip ipaddress fqdn domain",
    "user": "username login loginname remoteuser sshuser",
    "port": "sshport",
    "identity_file": "identity key keyfile privatekey privatekeyfile pkey sshkey sshpkey",
    "certificate_file": "certificate cert",
    "identity_agent": "agent sshagent authsock sshauthsock",
    "proxy_jump": "jump jumphost jumphosts jumps gateway bastion via through",
    "proxy": "socksproxy httpproxy",
    "host_key": "fingerprint fingerprints hostkeys hostkeyfingerprint pin pins",
    "user_known_hosts_file": "knownhosts knownhostsfile",
    "strict_host_key_checking": "stricthostkey stricthostkeys checkhostkey verifyhostkey",
    "connect_timeout": "timeout connectiontimeout",
    "server_alive_interval": "keepalive keepaliveinterval aliveinterval heartbeat tcpkeepalive",
    "reconnect": "retry retries restart backoff autoreconnect",
    "fallback": "failover alternatives backup",
}
_FORWARD = {
    "to": "target destination dest dst connect upstream backend remoteaddress",
    "via": "host server through jump jumphost proxyjump bastion gateway ssh",
    "local": "listen bind localport localforward localaddress source src published",
    "remote": "remoteport remoteforward",
    "dynamic": "socks socks5 dynamicforward",
    "remote_dynamic": "remotesocks",
    "probe": "health healthcheck check",
    "labels": "tags",
    "allow": "allowfrom whitelist",
}
_ELSEWHERE: dict[str, dict[str, str]] = {
    "reconnect": {"min": "initial delay initialdelay", "max": "maxdelay limit"},
    "probe": {"type": "kind", "interval": "every period", "path": "url", "command": "test exec"},
    "proxy": {"url": "address server", "user": "username"},
    "while_down": {"hold": "wait timeout"},
    "hooks": {"on_up": "up started", "on_down": "down stopped", "on_failed": "failed error"},
    "password": {"env": "variable environment", "file": "path", "command": "cmd exec"},
}
_ELSEWHERE["passphrase"] = _ELSEWHERE["password"]


def suggestion(path: KeyPath, mistakes: Mistakes) -> str:
    """The suggestion after `unknown key` for the key at `path`, or an empty text."""
    key, above = str(path[-1]), path[:-1]
    ours = _ours(key, above)
    if ours is not None:
        return f" (did you mean {ours}?)"
    for place, keys in _PLACES.items():
        if key in keys:
            return f" (it belongs {place})"
    return mistakes.suggestion(key, sorted(known_keys(above)))


def is_meant(key: str, path: KeyPath, given: Iterable[str]) -> bool:
    """Whether one of the `given` keys of the map at `path` is another program's name for `key`."""
    known = known_keys(path)
    return any(word not in known and _ours(word, path) == key for word in given)


def _ours(key: str, path: KeyPath) -> str | None:
    """Our key for another program's; those of ssh_config are ours in another spelling."""
    is_entry = len(path) == 2 and path[0] in ("hosts", "forwards")
    place = path[:1] if is_entry else path[-1:]
    return _dictionary(*place, is_entry=is_entry).get(_plain(key))


@cache
def _dictionary(place: str = "", *, is_entry: bool = False) -> Mapping[str, str]:
    """Our keys by their names elsewhere, in an entry of `place` or in that map itself."""
    known = known_keys((place, "") if is_entry else (place,) if place else ())
    words = _FORWARD if is_entry and place == "forwards" else _HOST
    if not is_entry and place != "defaults":
        words = _ELSEWHERE.get(place, {}) if place else _PROFILE
    theirs = {other: ours for ours, others in words.items() for other in others.split()}
    return theirs | {_plain(key): key for key in known}


def _plain(key: str) -> str:
    return key.replace("_", "").replace("-", "").lower()
