"""Checks that involve several values: missing keys, and contradictions.

Works on plain values that may be invalid themselves, so that all mistakes are reported in one list;
a value with a reported mistake is not reported again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import chain
from typing import Any, Protocol

from tunnelctl.config.profile.document import Document
from tunnelctl.config.profile.keys import HOST_KEYS, ProbeMap
from tunnelctl.config.profile.listeners import Listeners
from tunnelctl.config.profile.suggestions import is_meant
from tunnelctl.config.values import endpoints, names, reach, scalars
from tunnelctl.config.values.reach import NONE, WAYS, Jump
from tunnelctl.config.yaml.mistakes import KeyPath, Mistakes, shown
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import ProbeType
from tunnelctl.spec.host import Reconnect

_HERE = ("local", "dynamic")
_FIXED_TARGET = ("local", "remote")
_LISTENER: dict[str, Callable[[object], Endpoint]] = {
    "local": endpoints.local_listener,
    "remote": endpoints.remote_listener,
    "dynamic": endpoints.local_listener,
    "remote_dynamic": endpoints.remote_port,
}


class Names(Protocol):
    """The names in ssh_config; `names` are those without a wildcard."""

    @property
    def names(self) -> Collection[str]: ...

    def has_pattern_for(self, name: str) -> bool: ...


def check_profile(document: Document, known: Names, mistakes: Mistakes) -> None:
    """Every such mistake of the profile; `known` are the names in ssh_config."""
    hosts = _maps(document, "hosts")
    _check_it_does_something(document)
    for name, host in hosts.items():
        if _is_true(host.get("embedded")):
            for key, row in HOST_KEYS.items():
                if key in host and not row.embedded:
                    message = "does not go with embedded: true, which reaches no real server"
                    document.say(("hosts", name, key), message, at_key=True)
    _check_fallbacks(document, hosts, mistakes)
    _check_jumps(document, known, mistakes)
    forwards = _maps(document, "forwards")
    for name, forward in forwards.items():
        _check_forward(document, name, forward)
        _check_via(document, name, forward, known, mistakes)
        _check_lazy(document, name, forward, hosts)
        _check_probe(document, name, forward)
    _check_logins(document, hosts, forwards)
    _check_listeners(document, forwards)


def _check_it_does_something(document: Document) -> None:
    """A profile needs hosts or forwards; forwards may use hosts of ssh_config."""
    given = document.data if isinstance(document.data, dict) else {}
    if any(_present(document, key) for key in ("forwards", "hosts")):
        return
    if any(is_meant(key, (), given) for key in ("forwards", "hosts", "extends")):
        return
    document.say((), "a profile needs `forwards`, what it forwards, or at least one host")


def check_host(document: Document) -> None:
    """Contradictions in one host, including its `defaults`."""
    data = document.data
    if not isinstance(data, dict):
        return
    taken = [key for key in WAYS if data.get(key, NONE) != NONE]
    for key in taken[1:]:
        message = f"does not go with {taken[0]}: a host is reached by one way"
        document.say((*document.path, key), message, at_key=True)
    _check_reconnect(document, data)


def _check_reconnect(document: Document, data: dict[str, Any]) -> None:
    """Check that its delays are in ascending order."""
    reconnect = data.get("reconnect")
    if not isinstance(reconnect, dict):
        return
    try:
        low = scalars.duration(reconnect["min"]) if "min" in reconnect else Reconnect().min
        high = scalars.duration(reconnect["max"]) if "max" in reconnect else Reconnect().max
    except ValueError:
        return
    if low > high:
        path = (*document.path, "reconnect", "min" if "min" in reconnect else "max")
        document.say(path, f"min ({low:g} s) is longer than max ({high:g} s)")


def _check_forward(document: Document, name: str, forward: dict[str, Any]) -> None:
    path = ("forwards", name)
    kinds = [key for key in _LISTENER if key in forward]
    meant = [key for key in _LISTENER if is_meant(key, path, forward)]
    if not kinds and not meant:
        message = f"needs the side that listens, one of {', '.join(_LISTENER)}"
        document.say(path, message, at_key=True)
    for kind in kinds[1:]:
        message = f"a forward listens on one side, and this one has {kinds[0]}; make it two"
        document.say((*path, kind), message, at_key=True)
    fixed = not (kinds or meant) or (kinds or meant)[0] in _FIXED_TARGET
    if fixed and "to" not in forward and not is_meant("to", path, forward):
        document.say(path, "needs `to`, the HOST:PORT that it leads to", at_key=True)
    if "to" in forward and kinds and kinds[0] not in _FIXED_TARGET:
        message = f"does not go with {kinds[0]}: its SOCKS clients name their target"
        document.say((*path, "to"), message, at_key=True)
    if kinds == ["local"]:
        _check_target(document, path, forward.get("to"))
    _check_permit(document, path, kinds, forward)
    _check_unlink(document, path, kinds, forward)
    for kind, endpoint in _listeners(forward):
        if not endpoint.is_loopback and not _is_true(forward.get("expose")):
            message = (
                f"{endpoint} can be reached from other machines; add `expose: true` to allow this"
            )
            document.say((*path, kind), message)


def _check_target(document: Document, path: tuple[str, str], target: object) -> None:
    """Check that a unix socket on the server has a path there; other mistakes are reported
    elsewhere."""
    try:
        endpoint = endpoints.target(target)
    except ValueError:
        return
    try:
        endpoints.on_server(endpoint)
    except ValueError as error:
        document.say((*path, "to"), str(error))


def _check_permit(
    document: Document, path: tuple[str, str], kinds: list[str], forward: dict[str, Any]
) -> None:
    if "remote_dynamic" in kinds and not forward.get("permit"):
        message = 'needs `permit`, what the far side may reach here, such as ["10.0.0.0/8:443"]'
        document.say(path, message, at_key=True)
    elif "permit" in forward and "remote_dynamic" not in kinds:
        message = "goes with remote_dynamic, whose clients name their target"
        document.say((*path, "permit"), message, at_key=True)


def _check_unlink(
    document: Document, path: tuple[str, str], kinds: list[str], forward: dict[str, Any]
) -> None:
    if not _is_true(forward.get("unlink_remote")):
        return
    there = [one for kind, one in _listeners(forward) if kind.startswith("remote")]
    if kinds and not (there and there[0].path.startswith("/")):
        message = "goes with remote or remote_dynamic on a unix socket, as an absolute path there"
        document.say((*path, "unlink_remote"), message, at_key=True)


def _check_via(
    document: Document, name: str, forward: dict[str, Any], known: Names, mistakes: Mistakes
) -> None:
    path = ("forwards", name)
    if "via" in forward:
        via = _carrier(forward)
        if via is not None:
            _check_name(document, (*path, "via"), via.name, known, mistakes)
    elif not is_meant("via", path, forward):
        document.say(path, "needs `via`, the host that carries it", at_key=True)


def _check_logins(
    document: Document, hosts: dict[str, dict[str, Any]], forwards: dict[str, dict[str, Any]]
) -> None:
    """Check that all `via: user@host:port` of one host are equal: a name stands for one login."""
    first: dict[str, Jump] = {}
    for name, forward in forwards.items():
        via = _carrier(forward)
        if via is None:
            continue
        other = first.setdefault(via.name, Jump(via.name) if via.name in hosts else via)
        if via != other:
            message = f"{via.name} is a host of this file; say user and port there"
            if via.name not in hosts:
                message = f"another forward goes via {other}; give each a name under `hosts`"
            document.say(("forwards", name, "via"), message)


def _carrier(forward: dict[str, Any]) -> Jump | None:
    """The hop of `via`; None if the schema reports a mistake."""
    try:
        return reach.parse_jump(forward.get("via"))
    except ValueError:
        return None


def _check_lazy(
    document: Document, name: str, forward: dict[str, Any], hosts: dict[str, dict[str, Any]]
) -> None:
    """A listener on the server needs the link, which a lazy host makes only for local listeners."""
    via = _carrier(forward)
    if via is None:
        return
    lazy = hosts.get(via.name, {}).get("lazy", _map(document, "defaults").get("lazy"))
    if _is_true(lazy) and any(key in forward for key in ("remote", "remote_dynamic")):
        message = f"host {via.name} is lazy, and a forward that listens there always needs its link"
        document.say(("forwards", name, "via"), message)


def _check_jumps(document: Document, known: Names, mistakes: Mistakes) -> None:
    """Check that each hop is a valid host; `defaults` is checked like a host."""
    for path, host in _hosts_and_defaults(document):
        try:
            jumps = reach.jumps(host.get("proxy_jump", NONE))
        except ValueError:
            continue  # the schema reports it
        for index, jump in enumerate(jumps):
            _check_name(document, (*path, "proxy_jump", index), jump, known, mistakes)


def _check_name(
    document: Document, path: KeyPath, name: object, known: Names, mistakes: Mistakes
) -> None:
    """Any host name is valid, as for `ssh NAME`; but one that looks mistyped is a mistake."""
    try:
        host = names.host_name(name)
    except ValueError:
        return  # the schema reports it, or it is user@host:port
    if host in _map(document, "hosts") or "." in host or ":" in host or host in known.names:
        return
    near = mistakes.suggestion(host, chain(_map(document, "hosts"), known.names))
    if near and not known.has_pattern_for(host):
        message = f"no host named {shown(host)} in this file or in ssh_config{near}; "
        document.say(path, f"{message}if it is a host, add `{host}: {{}}` under `hosts`")


def _check_fallbacks(
    document: Document, hosts: dict[str, dict[str, Any]], mistakes: Mistakes
) -> None:
    """Check that each fallback is a host of the file."""
    for path, host in _hosts_and_defaults(document):
        try:
            names = reach.host_names(host.get("fallback", NONE))
        except ValueError:
            continue  # the schema reports it
        for index, name in enumerate(names):
            if isinstance(name, str) and name and name not in hosts:
                near = mistakes.suggestion(name, hosts)
                message = f"no host named {shown(name)} in this file{near}"
                document.say((*path, "fallback", index), message)


def _check_probe(document: Document, name: str, forward: dict[str, Any]) -> None:
    """Check that the keys of a probe match its type, and its type the forward."""
    written = forward.get("probe")
    path = ("forwards", name, "probe")
    probe = written if isinstance(written, dict) else {"type": written}
    chosen = probe.get("type", "tcp")
    for key, wanted in ProbeMap.OF_TYPE.items():
        if key in probe and chosen in list(ProbeType) and chosen != wanted:
            document.say((*path, key), f"goes with type: {wanted}", at_key=True)
    if chosen == ProbeType.COMMAND and "command" not in probe:
        document.say(path, "needs `command`, [program, argument]", at_key=True)
    fixed = any(kind in forward for kind in _FIXED_TARGET)
    if written is not None and chosen in (ProbeType.TCP, ProbeType.HTTP) and not fixed:
        message = f"a probe of type {chosen} needs a fixed target; type: command asks what you say"
        document.say(path, message, at_key=True)


def _check_listeners(document: Document, forwards: dict[str, dict[str, Any]]) -> None:
    """Check that no two forwards listen on the same address of the same machine."""
    listeners = Listeners()
    for name, forward in forwards.items():
        for kind, endpoint in _listeners(forward):
            via = _carrier(forward)
            there = via.name if via is not None else str(forward.get("via"))
            machine = None if kind in _HERE else there
            first = listeners.claim(machine, endpoint, name)
            if first is not None:
                message = f"the forward {first[0]} listens on {first[1]} already"
                document.say(("forwards", name, kind), message)


def _listeners(forward: dict[str, Any]) -> Iterator[tuple[str, Endpoint]]:
    for kind, read in _LISTENER.items():
        if kind in forward:
            try:
                yield kind, read(forward[kind])
            except ValueError:
                continue  # the schema reports it


def _hosts_and_defaults(document: Document) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    yield ("defaults",), _map(document, "defaults")
    for name, host in _maps(document, "hosts").items():
        yield ("hosts", name), host


def _maps(document: Document, key: str) -> dict[str, dict[str, Any]]:
    found = _map(document, key)
    return {name: value for name, value in found.items() if isinstance(value, dict)}


def _map(document: Document, key: str) -> dict[str, Any]:
    data = document.data
    found = data.get(key) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def _present(document: Document, key: str) -> bool:
    data = document.data
    return isinstance(data, dict) and data.get(key, {}) != {}


def _is_true(value: object) -> bool:
    try:
        return scalars.boolean(value)
    except ValueError:
        return False
