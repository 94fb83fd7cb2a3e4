"""The arguments of the sshtunnel package, as parts of a profile.

Must never open a socket or start a program.
"""

from __future__ import annotations

import base64
import logging
import os
import socket
from typing import Any

from tunnelctl.config.profile.named import host_named
from tunnelctl.errors import Failure
from tunnelctl.spec.endpoint import WILDCARDS, Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.keys.foreign import pin_of

GATEWAY = "gateway"


def configured(
    name: str, ssh_config_file: str | None, logger: logging.Logger | None = None
) -> Host | None:
    """The settings of an ssh_config file for a name; None if there is no file to read."""
    if not ssh_config_file:
        if logger is not None:
            logger.info("Skipping loading of ssh configuration file")
        return None
    path = os.path.expanduser(ssh_config_file)
    if not os.path.isfile(path):
        if logger is not None:
            logger.warning(f"Could not read SSH configuration file: {ssh_config_file}")
        return None
    try:
        return host_named(name, os.environ, ssh_config=path)
    except Failure as failure:
        raise ValueError(str(failure)) from None


def forward(name: str, local: tuple[str, int] | str, remote: tuple[str, int]) -> Forward:
    """A forward from `local`, an address or the path of a unix socket, to `remote`."""
    if isinstance(local, str):
        listen = Endpoint(path=os.path.abspath(local))
    else:
        listen = Endpoint(listen_address(local[0]), local[1])
    return Forward(
        name=name,
        side=Side.HERE,
        listen=listen,
        target=Endpoint(*remote),
        via=GATEWAY,
        expose=not listen.is_loopback,
    )


def listen_address(host: str) -> str:
    """The address where a tunnel listens, as a value to connect to: programs read it back.

    Some database clients take `localhost` for a unix socket.
    """
    if not host:
        # The package's form of all addresses: the caller wrote it, so it was meant.
        return WILDCARDS[0]
    try:
        return socket.gethostbyname(host)
    except OSError:
        return host  # an IPv6 address, or a name, for which the listener reports an error


def command(proxy: Any) -> tuple[str, ...]:
    """The words of a paramiko.ProxyCommand, whose own process is not used."""
    words = getattr(proxy, "cmd", None)
    if words is None:
        raise ValueError("ssh_proxy has to be a paramiko.ProxyCommand: a command, not a socket")
    proxy.close()
    return tuple(word.replace("%", "%%") for word in words)


def pin(key: Any) -> str:
    """`SHA256:…` of a host key: a paramiko.PKey, a line of OpenSSH, or a fingerprint already.

    Raises:
        ValueError: it is none of these.
    """
    if not isinstance(key, str):
        return pin_of(key)
    if key.startswith("SHA256:"):
        return key
    try:
        return fingerprint(base64.b64decode(key.split()[-1], validate=True))
    except (ValueError, IndexError):
        raise ValueError(f"ssh_host_key {key!r} is neither SHA256:... nor a key") from None
