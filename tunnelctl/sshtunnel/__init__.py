"""The API of the sshtunnel package on top of our links: change one import, and a program reconnects
by itself.

    from tunnelctl.sshtunnel import SSHTunnelForwarder, open_tunnel

Takes from the package what its callers depend on: arguments and their checks, attributes, exception
classes. Owns the conversion of those to a profile, and what happens after `start`. It differs where
the package is unsafe: a tunnel listens on 127.0.0.1 unless an address is given, an unknown host key
is refused, a lost server is connected to again while the ports stay bound, one direction may end
before the other, and no password is shown. Must never move a byte itself.
"""

from __future__ import annotations

import getpass
import logging
import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sshtunnel as _package
from sshtunnel import (
    BaseSSHTunnelForwarderError,
    HandlerSSHTunnelForwarderError,
    address_to_str,
    check_address,
    check_addresses,
    check_host,
    check_port,
    create_logger,
)

from tunnelctl.background.background import Background
from tunnelctl.errors import Code
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.drain import DRAIN
from tunnelctl.spec.endpoint import LOOPBACK, parse_endpoint
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.spec.secret import SecretRef, SecretSource
from tunnelctl.ssh.keys.foreign import (
    certificate_text,
    is_agent_key,
    private_key_text,
)
from tunnelctl.ssh.keys.throw_away import ThrowAwayFile
from tunnelctl.ssh.login.identities import NO_KEY
from tunnelctl.sshtunnel import arguments
from tunnelctl.sshtunnel.arguments import GATEWAY
from tunnelctl.state.documents.snapshot import (
    ErrorStatus,
    ForwardState,
    HostState,
    ProfileState,
    ProfileStatus,
)

__all__ = [
    "BaseSSHTunnelForwarderError",
    "HandlerSSHTunnelForwarderError",
    "SSHTunnelForwarder",
    "address_to_str",
    "check_address",
    "check_addresses",
    "check_host",
    "check_port",
    "create_logger",
    "open_tunnel",
]


def __getattr__(name: str) -> Any:
    """All other names that a program may import are the package's own."""
    return getattr(_package, name)


_PROFILE = "sshtunnel"
_REFUSED = (
    Code.AUTH_FAILED,
    Code.AGENT_UNAVAILABLE,
    Code.KEY_UNREADABLE,
    Code.NEEDS_INPUT,
)
_PASSWORD = "SSH_PASSWORD"  # noqa: S105 - the name of a variable that never leaves this process
_NOT_UP = frozenset({HostState.BACKOFF, HostState.FAILED, HostState.NEEDS_INPUT})


@dataclass(frozen=True, slots=True)
class _Tunnel:
    """One forward that listens, with the attributes of the package's servers."""

    name: str
    local_address: tuple[str, int] | str
    remote_address: tuple[str, int]
    daemon_threads: bool

    @property
    def local_host(self) -> str | None:
        return None if isinstance(self.local_address, str) else self.local_address[0]

    @property
    def local_port(self) -> int | None:
        return None if isinstance(self.local_address, str) else self.local_address[1]


@dataclass(frozen=True, slots=True)
class ProxyProgram:
    """A command whose standard input and output lead to the server; not started yet."""

    cmd: tuple[str, ...]


class SSHTunnelForwarder(_package.SSHTunnelForwarder):  # type: ignore[misc]  # it has no types
    """As sshtunnel.SSHTunnelForwarder, of which it is a subclass; see there for the arguments.

    `ssh_host_key` may be a key of paramiko, `SHA256:…`, or the key's base64, with or without its
    type before it; without it the server's key must be in known_hosts. `ssh_proxy` is a command.
    `threaded` and `compression` are accepted and have no effect.
    """

    _tunnels: Background | None = None
    _files: tuple[ThrowAwayFile, ...] = ()

    def __init__(
        self,
        ssh_address_or_host: tuple[str, int] | str | None = None,
        ssh_config_file: str | None = _package.SSH_CONFIG_FILE,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        named = ssh_address_or_host or kwargs.get("ssh_address") or kwargs.get("ssh_host")
        self._name = str(named[0] if isinstance(named, tuple) else named)
        self._ssh_config_file = ssh_config_file
        super().__init__(ssh_address_or_host, ssh_config_file, *args, **kwargs)

    def start(self) -> None:
        """Connect and open the tunnels, and keep them up until `stop`.

        Raises:
            BaseSSHTunnelForwarderError: no session with the gateway; the text says why.
            HandlerSSHTunnelForwarderError: none of the tunnels could be opened.
        """
        if self.is_alive:
            self.logger.warning("Already started!")
            return
        self._tunnels = Background("tunnelctl: sshtunnel")
        try:
            status = self._tunnels.up(self._profile(), self._environment(), _is_decided)
            if status is None:
                raise BaseSSHTunnelForwarderError("It was stopped while it was being started")
            self._listening(status)
        except BaseException:
            self._close()
            raise
        if not self.is_alive:
            self._close()

    def _environment(self) -> Environment:
        """The environment of this program, plus the password, which is in no profile."""
        own = Environment.from_bytes(os.environb)
        return Environment({**own, _PASSWORD: self.ssh_password or ""})

    def _listening(self, status: ProfileStatus) -> None:
        host = status.hosts[0]
        if host.state is not HostState.UP:
            self._raise(BaseSSHTunnelForwarderError, self._no_session(host.last_error))
            return
        for index, forward in enumerate(status.forwards):
            if forward.state is not ForwardState.UP:
                assert forward.last_error is not None
                self.logger.error(f"Problem setting SSH Forwarder up: {forward.last_error.message}")
                continue
            local = self._local_binds[index]
            if isinstance(local, tuple):
                listens = parse_endpoint(forward.listen)
                local = (listens.host, listens.port)
            tunnel = _Tunnel(
                forward.name, local, self._remote_binds[index], self.daemon_forward_servers
            )
            self._server_list.append(tunnel)
            self._check_tunnel(tunnel)
        self.is_alive = any(self.tunnel_is_up.values())
        if not self.is_alive:
            reasons = "; ".join(f.last_error.message for f in status.forwards if f.last_error)
            self._raise(
                HandlerSSHTunnelForwarderError,
                f"An error occurred while opening tunnels: {reasons or 'no target answers'}",
            )

    def _no_session(self, error: ErrorStatus | None) -> str:
        """Log the package's sentences, which programs look for; returns ours."""
        assert error is not None
        if error.code == Code.NAME_NOT_FOUND:
            self.logger.error(f"Could not resolve IP address for {self.ssh_host}, aborting!")
        elif error.code in _REFUSED:
            self.logger.error("Could not open connection to gateway")
        # There is no profile to correct.
        hint = f" ({error.hint})" if error.hint and GATEWAY not in error.hint else ""
        return f"Could not establish session to SSH gateway: {error.message}{hint}"

    @property
    def is_active(self) -> bool:
        """Whether the gateway is connected now. False during a reconnect."""
        tunnels = self._tunnels  # another thread may stop it now
        status = None if tunnels is None else tunnels.status(_PROFILE)
        return status is not None and status.hosts[0].state is HostState.UP

    def _check_is_started(self) -> None:
        """If the gateway is lost for a moment, the tunnels count as started: their ports are
        bound."""
        if self._tunnels is None:
            raise BaseSSHTunnelForwarderError("Server is not started. Please .start() first!")
        if not self.is_alive:
            raise HandlerSSHTunnelForwarderError("Tunnels are not started. Please .start() first!")

    def _check_tunnel(self, _srv: _Tunnel) -> None:
        """Check through the tunnel whether its target answers, unless that is disabled."""
        if self.skip_tunnel_checkup:
            self.tunnel_is_up[_srv.local_address] = True
            return
        self.logger.info(f"Checking tunnel to: {_srv.remote_address}")
        tunnels = self._tunnels  # another thread may stop it now
        # Programs set it in the module that they import, as they did in the package's.
        seconds = globals().get("TUNNEL_TIMEOUT", _package.TUNNEL_TIMEOUT)
        is_up = tunnels is not None and tunnels.reaches(_PROFILE, _srv.name, seconds)
        self.logger.debug(f"Tunnel to {_srv.remote_address} is {'UP' if is_up else 'DOWN'}")
        self.tunnel_is_up[_srv.local_address] = is_up

    def _stop_transport(self, force: bool = False) -> None:
        try:
            self._check_is_started()
        except BaseSSHTunnelForwarderError as error:
            self.logger.warning(error)
        tunnels = self._tunnels
        if tunnels is not None and self.is_alive:
            self.logger.info("Closing ssh transport")
            tunnels.down(_PROFILE, 0.0 if force else DRAIN)
        self.is_alive = False
        self._close()

    def _close(self) -> None:
        tunnels, self._tunnels = self._tunnels, None
        files, self._files = self._files, ()
        if tunnels is not None:
            tunnels.close()
        for file in files:
            file.close()

    # From the package's arguments to a profile.

    def _profile(self) -> Profile:
        forwards = tuple(
            arguments.forward(f"tunnel-{index}", local, remote)
            for index, (local, remote) in enumerate(
                zip(self._local_binds, self._remote_binds, strict=True), 1
            )
        )
        return Profile(_PROFILE, "", (self._gateway(),), forwards)

    def _gateway(self) -> Host:
        host = arguments.configured(self._name, self._ssh_config_file) or Host(
            GATEWAY, self.ssh_host
        )
        identities = self._throw_away(private_key_text)
        certificates = self._throw_away(certificate_text)
        from_agent = any(is_agent_key(key) for key in self.ssh_pkeys)
        host = replace(
            host,
            name=GATEWAY,
            hostname=self.ssh_host,
            port=self.ssh_port,
            user=self.ssh_username,
            identity_file=identities or (NO_KEY,),
            certificate_file=(*certificates, *host.certificate_file),
            identities_only=not from_agent,
            identity_agent=None if from_agent else "none",
            server_alive_interval=float(self.set_keepalive or 0),
            host_key=() if self.ssh_host_key is None else (arguments.pin(self.ssh_host_key),),
        )
        if self.ssh_password:
            host = replace(host, password=SecretRef(SecretSource.ENV, (_PASSWORD,)))
        if self.ssh_proxy is not None and not isinstance(self.ssh_proxy, ProxyProgram):
            host = replace(host, proxy_jump=(), proxy_command=arguments.command(self.ssh_proxy))
        return host

    def _throw_away(self, text_of: Callable[[Any], bytes | None]) -> tuple[str, ...]:
        """The paths of files with the text that `text_of` makes of each key, until `stop`."""
        texts = map(text_of, self.ssh_pkeys)
        files = tuple(ThrowAwayFile(text) for text in texts if text is not None)
        self._files += files
        return tuple(file.path for file in files)

    @staticmethod
    def _read_ssh_config(
        ssh_host: str,
        ssh_config_file: str | None,
        ssh_username: str | None = None,
        ssh_pkey: Any = None,
        ssh_port: int | None = None,
        ssh_proxy: Any = None,
        compression: bool | None = None,
        logger: logging.Logger | None = None,
    ) -> tuple[str, str, Any, int, Any, bool]:
        """Read what the arguments leave out, with the reader that profiles use."""
        host = arguments.configured(ssh_host, ssh_config_file, logger) or Host(GATEWAY, ssh_host)
        if ssh_proxy is None and host.proxy_command:
            ssh_proxy = ProxyProgram(host.proxy_command)
        return (
            host.hostname,
            ssh_username or host.user or getpass.getuser(),
            ssh_pkey or next(iter(host.identity_file), None),
            int(ssh_port or host.port),
            ssh_proxy,
            bool(compression),
        )

    @staticmethod
    def _consolidate_binds(local_binds: list[Any], remote_binds: list[Any]) -> list[Any]:
        """A tunnel without an address listens on 127.0.0.1, at a port that the system chooses."""
        missing = len(remote_binds) - len(local_binds)
        if missing < 0:
            raise ValueError(
                "Too many local bind addresses (local_bind_addresses > remote_bind_addresses)"
            )
        return [*local_binds, *[(LOOPBACK, 0)] * missing]

    def __str__(self) -> str:
        text: str = super().__str__()
        text = text.replace("hostkey: not checked", "hostkey: as known_hosts has it")
        return text.replace(f"'password': {self.ssh_password!r}", "'password': ...")


def open_tunnel(*args: Any, **kwargs: Any) -> SSHTunnelForwarder:
    """A forwarder that is not started, as sshtunnel.open_tunnel; use it in a `with`.

    Takes the arguments of `SSHTunnelForwarder`, `debug_level` and `skip_tunnel_checkup`.
    """
    kwargs["logger"] = kwargs.get("logger") or create_logger(
        loglevel=kwargs.pop("debug_level", None)
    )
    kwargs.pop("debug_level", None)
    address = kwargs.pop("ssh_address_or_host", None)
    for deprecated in ("ssh_address", "ssh_host"):
        address = SSHTunnelForwarder._process_deprecated(address, deprecated, kwargs)
    port = kwargs.pop("ssh_port", 22)
    skip = kwargs.pop("skip_tunnel_checkup", True)
    if kwargs.pop("block_on_close", None):
        warnings.warn(
            "'block_on_close' is DEPRECATED: use .stop() or .stop(force=True)",
            DeprecationWarning,
            stacklevel=2,
        )
    if not args:
        args = (address if isinstance(address, tuple) else (address, port),)
    forwarder = SSHTunnelForwarder(*args, **kwargs)
    forwarder.skip_tunnel_checkup = skip
    return forwarder


def _is_decided(status: ProfileStatus) -> bool:
    """Whether the first attempt has a result: all is up; or a host has failed, or waits for another
    attempt; or the hosts are up and each forward was opened or has failed."""
    if status.state is ProfileState.UP or any(host.state in _NOT_UP for host in status.hosts):
        return True
    # A port that is in use is known before its host has answered, and the host's result is needed
    # too.
    hosts_are_up = all(host.state is HostState.UP for host in status.hosts)
    return hosts_are_up and all(f.state is not ForwardState.PENDING for f in status.forwards)
