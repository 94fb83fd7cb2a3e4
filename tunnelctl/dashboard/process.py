"""The process of the dashboard, from its listener to its end.

Owns the listener, which is on 127.0.0.1 only, the one line on stdout, and the signals. Must never
print the token anywhere else.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from tunnelctl.daemon.api.server import ControlServer
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.dashboard import browser, sentences
from tunnelctl.dashboard.application import Dashboard
from tunnelctl.dashboard.daemon_client import DaemonClient
from tunnelctl.dashboard.guard import HEADERS
from tunnelctl.dashboard.login import Login
from tunnelctl.errors import reason
from tunnelctl.net.addresses import collide, port_holder
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.snapshot import Status

_HOST = "127.0.0.1"
_BACKLOG = 128
_LISTEN_HERE = ("local", "dynamic")  # types of forwards
_ENDING = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class DashboardSettings:
    """`port` 0: a free one. `socket` is the daemon's, `folder` one that only this user can read,
    and `environment` that of the command. `status` is what the daemon does at the start. `debug`:
    log errors, with tracebacks, to stderr."""

    port: int
    socket: Path
    folder: Path
    environment: Environment
    status: Status
    read_only: bool = False
    with_browser: bool = True
    debug: bool = False


def run(settings: DashboardSettings, on_ready: Callable[[str], None]) -> None:
    """Serve the dashboard until SIGINT or SIGTERM; `on_ready` gets its address with the token.

    Raises:
        Failure: PORT_IN_USE or PERMISSION_DENIED.
    """
    # What is wrong with a request concerns only its sender; who debugs us sees it all the same.
    logging.basicConfig(level=logging.WARNING if settings.debug else logging.CRITICAL)
    with _listening(settings.port, settings.status) as listener:
        asyncio.run(_serve(settings, listener, on_ready))


async def _serve(
    settings: DashboardSettings, listener: socket.socket, on_ready: Callable[[str], None]
) -> None:
    ended = asyncio.Event()
    for number in _ENDING:
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    port = listener.getsockname()[1]
    login = Login(port)
    # Every user of this machine can connect; the guard decides who is answered.
    server = ControlServer(listener, Troubles(), admits=lambda _: True, headers=HEADERS)
    dashboard = Dashboard(
        DaemonClient(settings.socket), login, settings.environment, read_only=settings.read_only
    )
    await server.start(dashboard.application(port, server.middleware))
    try:
        url = f"http://{_HOST}:{port}/?token={login.token}"
        on_ready(url)
        if settings.with_browser:
            with browser.opened(url, settings.folder, settings.environment):
                await ended.wait()
        else:
            await ended.wait()
    finally:
        await server.refuse()
        await server.stop()


def _listening(port: int, status: Status) -> socket.socket:
    address = Endpoint(_HOST, port)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise sentences.port_not_allowed(address, reason(error)) from None
        if forward := _forward_at(port, status):
            raise sentences.port_in_use_by_forward(address, forward) from None
        raise sentences.port_in_use(address, port_holder(_HOST, port)) from None
    return listener


def _forward_at(port: int, status: Status) -> str | None:
    """The forward, PROFILE/FORWARD, that listens on this port here."""
    for profile in status.profiles:
        for forward in profile.forwards:
            host, _, number = forward.listen.rpartition(":")
            is_here = forward.bound and forward.type in _LISTEN_HERE
            if is_here and number == str(port) and collide(host.strip("[]"), _HOST):
                return f"{profile.name}/{forward.name}"
    return None
