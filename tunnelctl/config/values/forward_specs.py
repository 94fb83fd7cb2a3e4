"""ssh(1)'s own grammar of -L, -R and -D, to and from what a profile has for the same.

Owns where the fields of such a spec begin and end, and what each means (OpenSSH readconf.c,
parse_forward and parse_fwd_field). Must never open or look up anything.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from tunnelctl.config.values import words
from tunnelctl.config.values.services import service_port
from tunnelctl.spec.endpoint import ANY_ADDRESS, LOCALHOST, Endpoint
from tunnelctl.spec.forward import Forward, Side

# A bracketed address, or anything up to the next separator; a path ends at a colon, too.
_FIELD = re.compile(r"\[(?P<bracketed>[^\]]*)\]|(?P<plain>[^:\[\]]*)")
_MOST_FIELDS = 4


@dataclass(frozen=True, slots=True)
class ForwardSpec:
    """One -L, -R or -D. `target` is None where the client names it."""

    side: Side
    listen: Endpoint
    target: Endpoint | None

    @property
    def option(self) -> str:
        """The letter of ssh(1)."""
        if self.side is Side.THERE:
            return "-R"
        return "-D" if self.target is None else "-L"

    @property
    def key(self) -> str:
        """The key of a forward in a profile that has the listening side."""
        if self.target is None:
            return "dynamic" if self.side is Side.HERE else "remote_dynamic"
        return "local" if self.side is Side.HERE else "remote"

    @property
    def exposed(self) -> bool:
        """Whether others than this machine, or than the server, could reach the listener."""
        return not self.listen.is_loopback

    def below(self, folder: str) -> ForwardSpec:
        """The same, where a relative path of a socket of this machine starts at `folder`."""
        if self.side is Side.HERE:
            return replace(self, listen=_below(folder, self.listen))
        return replace(self, target=self.target and _below(folder, self.target))

    def __str__(self) -> str:
        """As ssh(1) takes it."""
        bare = self.listen.host == LOCALHOST
        listen = str(self.listen.port) if bare else str(self.listen)
        return listen if self.target is None else f"{listen}:{self.target}"


def local_spec(text: str) -> ForwardSpec:
    """-L: `[bind:]port:host:port`, `[bind:]port:/socket`, `/socket:host:port`, `/socket:/socket`.

    Raises:
        ValueError: with a sentence that repeats the text.
    """
    return _parse(text, _fields(text), Side.HERE, _LOCAL)


def remote_spec(text: str) -> ForwardSpec:
    """-R: as -L, or `[bind:]port` alone, which is a SOCKS listener on the server.

    Raises:
        ValueError: with a sentence that repeats the text.
    """
    fields = _fields(text)
    return _parse(text, fields, Side.THERE, _LOCAL | _DYNAMIC)


def dynamic_spec(text: str) -> ForwardSpec:
    """-D: `[bind:]port`.

    Raises:
        ValueError: with a sentence that repeats the text.
    """
    return _parse(text, _fields(text), Side.HERE, _DYNAMIC)


def spec_of(forward: Forward) -> ForwardSpec:
    """The forward of a profile in ssh's words."""
    return ForwardSpec(forward.side, forward.listen, forward.target)


def _below(folder: str, endpoint: Endpoint) -> Endpoint:
    if not endpoint.is_unix:
        return endpoint
    return Endpoint(path=os.path.normpath(os.path.join(folder, endpoint.path)))


_Shape = tuple[str, ...]  # p: a path, n: anything that is none
_Reading = Callable[[list[str]], tuple[Endpoint, Endpoint | None]]


def _port(text: str) -> int:
    """A number, or the name of a service (OpenSSH misc.c, a2port)."""
    if text.isascii() and text.isdigit():
        if int(text) > 65535:
            raise ValueError(f"{text!r} is not a port between 0 and 65535")
        return int(text)
    try:
        return service_port(text)
    except (OSError, UnicodeError):
        raise ValueError(f"{text!r} is neither a port number nor a service name") from None


def _target_port(text: str) -> int:
    port = _port(text)
    if port == 0:
        raise ValueError("no target has port 0")
    return port


def _bare(port: str) -> Endpoint:
    return Endpoint("", _port(port))


def _listener(host: str, port: str) -> Endpoint:
    if host in ("", ANY_ADDRESS):
        return Endpoint(ANY_ADDRESS, _port(port))
    return Endpoint(words.host_name(host), _port(port))


def _target(host: str, port: str) -> Endpoint:
    if not host:
        raise ValueError("the target has no host")
    return Endpoint(words.host_name(host), _target_port(port))


_DYNAMIC: dict[_Shape, _Reading] = {
    ("n",): lambda f: (_bare(f[0]), None),
    ("n", "n"): lambda f: (_listener(f[0], f[1]), None),
}
_LOCAL: dict[_Shape, _Reading] = {
    ("p", "p"): lambda f: (Endpoint(path=f[0]), Endpoint(path=f[1])),
    ("n", "p"): lambda f: (_bare(f[0]), Endpoint(path=f[1])),
    ("p", "n", "n"): lambda f: (Endpoint(path=f[0]), _target(f[1], f[2])),
    ("n", "n", "p"): lambda f: (_listener(f[0], f[1]), Endpoint(path=f[2])),
    ("n", "n", "n"): lambda f: (_bare(f[0]), _target(f[1], f[2])),
    ("n", "n", "n", "n"): lambda f: (_listener(f[0], f[1]), _target(f[2], f[3])),
}


def _parse(
    text: str, fields: list[str], side: Side, readings: dict[_Shape, _Reading]
) -> ForwardSpec:
    shape = tuple("p" if "/" in field else "n" for field in fields)
    try:
        if shape not in readings:
            raise ValueError(_wrong_form(text))
        listen, target = readings[shape](fields)
        there = listen if side is Side.THERE else target
        if there is not None:
            words.on_server(there)
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if not listen.is_unix and not listen.host:
        listen = Endpoint(LOCALHOST, listen.port)
    return ForwardSpec(side, listen, target)


def _wrong_form(text: str) -> str:
    url = "; write HOST:PORT in the place of the URL" if "://" in text else ""
    return f"it is not of the form that ssh(1) has for it{url}"


def _fields(text: str) -> list[str]:
    fields: list[str] = []
    position = 0
    while True:
        match = _FIELD.match(text, position)
        assert match is not None  # it matches nothing, too
        bracketed = match["bracketed"]
        fields.append(match["plain"] if bracketed is None else bracketed)
        position = match.end()
        if position == len(text):
            break
        if text[position] != ":" or len(fields) == _MOST_FIELDS:
            raise ValueError(f"{text!r}: {_wrong_form(text)}")
        position += 1
    return fields
