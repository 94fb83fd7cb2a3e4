"""Converts the tunnels of boring (github.com/alebeck/boring) to a profile.

Owns the meaning of its TOML: addresses with lists and ranges of ports, modes, groups, and hosts
from ssh_config or from the file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tunnelctl.config import sentences
from tunnelctl.config.exchange.imported import Imported
from tunnelctl.config.values import names, scalars
from tunnelctl.config.values.forward_specs import ForwardSpec
from tunnelctl.config.yaml.mistakes import shown
from tunnelctl.home.paths import current_folder
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint, parse_endpoint
from tunnelctl.spec.forward import Side

_MODES = {
    **dict.fromkeys(("local", "l", "-l"), "local"),
    **dict.fromkeys(("remote", "r", "-r"), "remote"),
    "socks": "socks",
    "socks-remote": "socks-remote",
}
_FORWARD_KEYS = {"name", "local", "remote", "mode"}
_TUNNEL_KEYS = _FORWARD_KEYS | {"host", "user", "identity", "port", "group", "keep_alive"}
_FILE_KEYS = {"tunnels", "keep_alive"}
_VARIABLE = re.compile(r"\$\{([^}]*)\}|\$(\w+)")
_PORTS = re.compile(r"(?P<host>.*:)?(?P<ports>\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)")
_MOST_PORTS = 1000
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def import_boring(text: str, environ: Mapping[str, str], *, permit: Sequence[str] = ()) -> Imported:
    """The tunnels of one file.

    Raises:
        Failure: config-invalid; it is no such file, or a tunnel is wrong in itself.
    """
    imported = Imported()
    try:
        document = _toml(text)
        tunnels = _tables(document.get("tunnels", []))
        _note_others("the file", document, _FILE_KEYS, imported)
        imported.defaults = _keep_alive(document, "the file", imported)
        for tunnel in tunnels:
            _Tunnel(tunnel, environ, imported).add(permit)
    except ValueError as error:
        raise sentences.not_imported(str(error)) from None
    return imported


class _Tunnel:
    """One [[tunnels]] of the file, with its forwards."""

    def __init__(
        self, table: dict[str, Any], environ: Mapping[str, str], imported: Imported
    ) -> None:
        self._environ = environ
        self._imported = imported
        self.name = self._text(table, "name") or ""
        if not self.name:
            raise ValueError("a tunnel has no name")
        self._table = table

    def add(self, permit: Sequence[str]) -> None:
        """Add all of it.

        Raises:
            ValueError: with a sentence that names the tunnel.
        """
        try:
            inner = _tables(self._table.get("forward", []))
            known = _TUNNEL_KEYS | {"forward"}
            _note_others(self.name, self._table, known, self._imported)
            via = self._host()
            if not inner:
                self._forwards(self._table, self.name, via, permit)
            for number, forward in enumerate(inner, 1):
                _note_others(self.name, forward, _FORWARD_KEYS, self._imported)
                name = f"{self.name}-{self._text(forward, 'name') or number}"
                self._forwards(forward, name, via, permit)
        except ValueError as error:
            raise ValueError(f"tunnel {self.name}: {error}") from None

    def _host(self) -> str:
        name = names.host_name(self._text(self._table, "host") or "")
        keys: dict[str, Any] = {}
        user = self._text(self._table, "user")
        port = self._text(self._table, "port")
        identity = self._text(self._table, "identity")
        if user:
            keys["user"] = names.user_name(user)
        if port:
            keys["port"] = scalars.port(_number(port))
        if identity:
            keys["identity_file"] = names.file_path(identity)
        keys |= _keep_alive(self._table, self.name, self._imported)
        return self._imported.host(name, keys)

    def _forwards(self, table: dict[str, Any], name: str, via: str, permit: Sequence[str]) -> None:
        written = (self._text(table, "mode") or "local").lower()
        if written not in _MODES:
            raise ValueError(f"{shown(written)} is not a mode")
        mode = _MODES[written]
        group = self._text(self._table, "group")
        more = {"labels": {"group": group}} if group else None
        pairs = self._pairs(table, mode)
        for number, (local, remote) in enumerate(pairs, 1):
            own = name if len(pairs) == 1 else f"{name}-{number}"
            self._imported.forward(
                _spec(mode, local, remote).below(str(current_folder())),
                via,
                name=_name(own),
                permit=permit,
                more=more,
            )

    def _pairs(self, table: dict[str, Any], mode: str) -> list[tuple[str, str]]:
        """Each listening address with its target, one port each."""
        local = self._text(table, "local") if mode != "socks-remote" else None
        remote = self._text(table, "remote") if mode != "socks" else None
        if mode != "socks-remote" and not local:
            raise ValueError(f"needs local, its mode is {mode}")
        if mode != "socks" and not remote:
            raise ValueError(f"needs remote, its mode is {mode}")
        locals_, remotes = _addresses(local or ""), _addresses(remote or "")
        if mode in ("socks", "socks-remote"):
            return [(a, b) for a in locals_ for b in remotes]
        if len(locals_) != len(remotes):
            raise ValueError(f"{local} and {remote} are not equally many ports")
        return list(zip(locals_, remotes, strict=True))

    def _text(self, table: dict[str, Any], key: str) -> str | None:
        """A value with its variables replaced."""
        value = table.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ValueError(f"{key} must be text")
        return _VARIABLE.sub(self._variable, str(value))

    def _variable(self, found: re.Match[str]) -> str:
        name, _, default = (found[1] if found[1] is not None else found[2]).partition(":-")
        value = self._environ.get(name) or default
        if not value:
            raise ValueError(f"variable {name} is not set")
        self._imported.note(f"{found[0]} stands in the profile as what it is now: {value}")
        return value


def _spec(mode: str, local: str, remote: str) -> ForwardSpec:
    # boring listens with Go's net.Listen, which uses one address of `localhost`: the IPv4 one.
    here, there = _endpoint(local, LOOPBACK), _endpoint(remote, "localhost")
    if mode == "local" and here and there:
        return ForwardSpec(Side.HERE, here, there)
    if mode == "remote" and here and there:
        return ForwardSpec(Side.THERE, there, here)
    listen = here if mode == "socks" else there
    assert listen is not None
    return ForwardSpec(Side.HERE if mode == "socks" else Side.THERE, listen, None)


def _endpoint(text: str, default_host: str) -> Endpoint | None:
    """An address; without a port and a colon it is the path of a socket."""
    if not text:
        return None
    if ":" not in text and not text.isdigit() and "/" not in text:
        text = f"./{text}"
    if text.startswith(":"):
        text = f"*{text}"
    return parse_endpoint(text, default_host)


def _addresses(text: str) -> list[str]:
    """`host:1,5-7` as one address for each port; without a list it is returned as it is."""
    found = _PORTS.fullmatch(text)
    if found is None:
        return [text]
    host = found["host"] or ""
    return [f"{host}{port}" for port in _ports(found["ports"])]


def _ports(text: str) -> Iterator[int]:
    count = 0
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        count += high - low + 1
        if high < low or count > _MOST_PORTS:
            raise ValueError(f"{shown(text)} is not a list of at most {_MOST_PORTS} ports")
        yield from range(low, high + 1)


def _keep_alive(table: dict[str, Any], where: str, imported: Imported) -> dict[str, Any]:
    seconds = table.get("keep_alive")
    if seconds is None:
        return {}
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 0:
        raise ValueError("keep_alive must be a number of seconds")
    if seconds == 0:
        imported.note(f"{where}: keep_alive 0; a silent server is always noticed here")
        return {}
    return {"server_alive_interval": f"{seconds}s"}


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"it is no TOML: {error}") from None


def _tables(value: object) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ValueError("it has no [[tunnels]] as boring has them")
    return value


def _note_others(where: str, table: dict[str, Any], known: set[str], imported: Imported) -> None:
    for key in table:
        if key not in known:
            imported.note(f"{where}: {key} has no counterpart here")


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() else text


def _name(text: str) -> str:
    return names.forward_name(_NOT_IN_A_NAME.sub("-", text).strip("._-")[:64])
