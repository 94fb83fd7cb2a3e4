"""Makes a link to a host of a tunnel: as ssh_config describes it now, in the profile's environment.

Owns the server of `embedded: true`, which starts when it is first needed. Must never try twice.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import field

from tunnelctl.errors import Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import ResolveSecret
from tunnelctl.ssh.connect import Stage
from tunnelctl.ssh.keys.credentials import Logins
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.silence import OnSilence, unheard
from tunnelctl.sshd.server import EmbeddedServer
from tunnelctl.supervisor.logins.current_hosts import Anew
from tunnelctl.supervisor.logins.handshakes import Handshakes
from tunnelctl.supervisor.logins.question_desk import PatientAsking


@dataclass(frozen=True, slots=True)
class OfProfile:
    """Shared by the tunnels of one profile. `environment` returns the one that was sent last,
    `runs_commands` whether a command may be run on its servers."""

    name: str
    environment: Callable[[], Environment]
    resolve_secret: ResolveSecret
    anew: Callable[[], Anew]
    runs_commands: Callable[[], bool] = lambda: False
    logins: Logins = field(default_factory=Logins)


class Dialler:
    """For one tunnel. `asking` answers the questions of a login; `recalling` answers from memory
    only. `warn` gets, on the loop, problems that did not stop a login."""

    def __init__(
        self,
        profile: OfProfile,
        handshakes: Handshakes,
        reactor: Reactor,
        asking: PatientAsking,
        recalling: PatientAsking,
        warn: Callable[[Failure], None],
    ) -> None:
        self._profile = profile
        self._handshakes = handshakes
        self._reactor = reactor
        self._asking = asking
        self._recalling = recalling
        self._warn = warn
        self._server: EmbeddedServer | None = None

    async def link(
        self,
        host: Host,
        candidate: Host,
        on_stage: Callable[[Stage], None],
        on_silence: OnSilence = unheard,
        *,
        attended: bool = True,
    ) -> Link:
        """Connect to `candidate`, which is `host` itself or a fallback of it. Unless it is
        `attended`, nobody is asked, and only remembered answers are used.

        Raises:
            Failure: as `Handshakes.connect`.
        """
        environment = self._profile.environment()
        if candidate.embedded:
            reached = await self._embedded(candidate)
        else:
            reached = await self._profile.anew().candidate(host, candidate, environment)
        if self._profile.runs_commands():
            reached = reached.running_commands()
        return await self._handshakes.connect(
            reached,
            environment,
            self._profile.resolve_secret,
            on_stage,
            self._asking if attended else self._recalling,
            self._profile.logins,
            self._warned,
            on_silence,
        )

    def _warned(self, host: Host, warning: Failure) -> None:
        """A `Warn`, called from threads."""
        where = warning.at(f"{self._profile.name}/{host.name}")
        with suppress(RuntimeError):  # the loop is closed
            self._reactor.loop.call_soon_threadsafe(self._warn, where)

    async def close(self) -> None:
        """End the embedded server, if there is one; it is started again when needed."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _embedded(self, host: Host) -> Host:
        if self._server is None:
            server = EmbeddedServer(self._reactor)
            try:
                await server.start()
            except BaseException:
                await server.close()
                raise
            self._server = server
        return self._server.client_host(host)
