"""The running daemon as an object: `tunnelctl.connect_daemon`.

Owns the translation of the control API (docs/api.md) to calls with plain values and documented
types. Must never start a daemon: who wants tunnels of its own calls `tunnelctl.open`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

from tunnelctl import clock
from tunnelctl.api import sentences
from tunnelctl.api.request import FilePath, caller_environment
from tunnelctl.api.tunnels import TIMEOUT
from tunnelctl.client import Client, EventStream
from tunnelctl.closeable import Closeable
from tunnelctl.home.paths import SOCKET_VARIABLE, Paths, current_folder
from tunnelctl.spec.drain import DRAIN
from tunnelctl.spec.environment import Environment
from tunnelctl.state.profile import readiness

if TYPE_CHECKING:
    from tunnelctl.state.documents.json_types import (
        ConnectionsDocument,
        EventDocument,
        LogLineDocument,
        ProfileDocument,
        ReloadDocument,
        StatusDocument,
        VersionDocument,
    )
    from tunnelctl.state.documents.snapshot import ProfileStatus


class Events(Closeable):
    """The changes from its creation on; an iterator, and a context manager that ends it.

    It ends with a Failure (daemon-not-running) when the daemon does.
    """

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream

    def next(self, timeout: float | None = None) -> EventDocument | None:
        """The next event; None if there was none within `timeout` seconds (None: no limit).

        Raises:
            Failure: daemon-not-running; the daemon has stopped.
        """
        event = self._stream.next(timeout)
        return None if event is None else cast("EventDocument", event.as_json())

    def fileno(self) -> int:
        """For `select`: readable when more has arrived; `next(0)` may have an event before that."""
        return self._stream.fileno()

    def close(self) -> None:
        """End the stream. Idempotent."""
        self._stream.close()

    def __iter__(self) -> Iterator[EventDocument]:
        while True:
            event = self.next()
            if event is not None:
                yield event


class Daemon(Closeable):
    """The daemon of this user. Each call is a request of its own, and may come from any thread.

    A context manager, which ends the streams of events that it opened. Every call raises Failure:
    daemon-not-running when the daemon has ended, or the code with which it refused.
    """

    def __init__(self, client: Client, environment: Environment) -> None:
        self._client = client
        self._environment = environment
        self._streams: WeakSet[Events] = WeakSet()

    def version(self) -> VersionDocument:
        """The daemon's description of itself."""
        return cast("VersionDocument", self._client.version())

    def status(self, *profiles: str) -> StatusDocument:
        """The status document, with these profiles or with all."""
        return cast("StatusDocument", self._client.status(profiles).as_json())

    def profile(self, name: str) -> ProfileDocument:
        """One profile of the status document.

        Raises:
            Failure: profile-not-found; it was never up.
        """
        return cast("ProfileDocument", self._profile(name).as_json())

    def up(
        self, profile: str, *, file: FilePath | None = None, timeout: float = TIMEOUT
    ) -> ProfileDocument:
        """Bring a profile up, as `tunnelctl up -d`, and wait until it is ready. It stays up when
        this program ends, until `down`.

        Raises:
            Failure: profile-not-found, config-invalid, name-taken; at once what does not pass by
                itself; not-ready after `timeout` seconds. The last two stay wanted.
        """
        from tunnelctl.config.profile.find import find_profile
        from tunnelctl.config.profile.load import load_profile

        path = find_profile(
            profile,
            file=None if file is None else Path(file),
            environ=self._environment,
            cwd=current_folder(),
        )
        loaded = load_profile(path, self._environment, name=profile)
        required = {rule.name for rule in loaded.profile.forwards if rule.required}
        environment, _ = self._environment.fitting(loaded.variables)
        deadline = clock.monotonic() + timeout
        with self._client.events(profiles=[profile]) as events:
            self._client.up(profile, str(path), environment, None)
            while not readiness.is_ready(status := self._profile(profile)):
                if failure := readiness.failure_of(status, required):
                    raise failure
                left = deadline - clock.monotonic()
                if left <= 0:
                    why = readiness.troubles(status)
                    raise sentences.not_ready_yet(profile, timeout, why)
                events.next(left)
        return cast("ProfileDocument", status.as_json())

    def down(self, profile: str, *, drain: float = DRAIN) -> ProfileDocument:
        """Take a profile down; its connections have `drain` seconds to end."""
        answer = self._client.begin_down(profile, drain).answer()
        return cast("ProfileDocument", answer["profile"])

    def restart(self, profile: str, *hosts: str) -> ProfileDocument:
        """Reconnect these hosts of a profile now, or all; its ports stay bound."""
        environment, _ = self._environment.fitting()
        answer = self._client.restart(profile, environment, hosts)
        return cast("ProfileDocument", answer["profile"])

    def reload(self, *profiles: str, dry_run: bool = False) -> list[ReloadDocument]:
        """Read the files of these profiles again, or of all that are wanted up, and apply the
        differences; with `dry_run` only tell them.

        Raises:
            Failure: config-invalid; a file has mistakes, and nothing was changed.
        """
        environment, _ = self._environment.fitting()
        answer = self._client.reload(profiles, environment, dry_run=dry_run)
        return cast("list[ReloadDocument]", answer["profiles"])

    def events(self, *profiles: str) -> Events:
        """Every change from this call on, of these profiles or of all."""
        events = Events(self._client.events(profiles=profiles))
        self._streams.add(events)
        return events

    def connections(
        self, profile: str | None = None, forward: str | None = None, *, processes: bool = False
    ) -> ConnectionsDocument:
        """The connections of one profile, of the forwards of one name, or all; with
        `processes` also by which program of this machine."""
        found = self._client.connections(profile, forward, processes=processes)
        return cast("ConnectionsDocument", found.as_json())

    def close_connection(self, id: str) -> None:
        """Reset one connection.

        Raises:
            Failure: connection-not-found; none of that id is open.
        """
        self._client.close_connection(id)

    def logs(self, *places: str, lines: int = 100) -> list[LogLineDocument]:
        """The last lines of the log, oldest first: all, or about places (`dev`, `dev/db`, `d*`)."""
        answer = self._client.logs(places, lines, None)
        return cast("list[LogLineDocument]", answer["lines"])

    def shutdown(self) -> bool:
        """End the daemon, as `tunnelctl daemon stop`; returns whether it ended in time. The next
        daemon starts what is wanted up."""
        return self._client.stop_daemon()

    def close(self) -> None:
        """End the streams of events. The daemon and its profiles go on."""
        for events in tuple(self._streams):
            events.close()

    def _profile(self, name: str) -> ProfileStatus:
        for profile in self._client.status([name]).profiles:
            return profile
        raise sentences.profile_not_up(name)

    def __repr__(self) -> str:
        return f"<Daemon on {self._client.paths.socket}>"


def connect_daemon(
    socket: FilePath | None = None, *, environ: Mapping[str, str] | None = None
) -> Daemon:
    """The daemon that runs on `socket`, by default that of this user (docs/api.md).

    `environ` has the variables that name the socket and the profiles, and that go to the daemon
    with each order; by default those of this process.

    Raises:
        Failure: daemon-not-running, none answers; usage, the path is too long for a socket.
    """
    environment = caller_environment(environ)
    if socket is not None:
        path = os.path.abspath(socket)
        environment = Environment({**environment, SOCKET_VARIABLE: path})
    client = Client(Paths.from_environ(environment))
    client.version()
    return Daemon(client, environment)
