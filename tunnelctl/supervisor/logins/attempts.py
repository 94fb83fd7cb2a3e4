"""The attempts of one tunnel to make a link, by epoch: begun, abandoned, and their results.

Owns the tasks, and which of them are queued. Must never decide what follows: the machine does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.home.redaction import SECRETS
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.host import Host
from tunnelctl.ssh.connect import Stage
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.host import events
from tunnelctl.supervisor.logins.dialler import Dialler, OfProfile
from tunnelctl.supervisor.tasks import Tasks, unexpected


@dataclass(frozen=True, slots=True)
class Hearer:
    """The tunnel as its attempts see it.

    `connected(epoch, candidate, link, seconds)` and `lost(epoch, failure)` are the two results.
    `outdated()` follows if the attempt failed in an environment that a command replaced meanwhile.
    """

    handle: Callable[[events.Event], None]
    connected: Callable[[int, Host, Link, float], None]
    lost: Callable[[int, Failure], None]
    outdated: Callable[[], None]


class Attempts:
    """The attempts of one tunnel."""

    def __init__(self, profile: OfProfile, dialler: Dialler, tasks: Tasks, hearer: Hearer) -> None:
        self._profile = profile
        self._dialler = dialler
        self._tasks = tasks
        self._hearer = hearer
        self._running: dict[int, asyncio.Task[None]] = {}
        self._queued: set[int] = set()

    def begin(self, epoch: int, host: Host, candidate: Host) -> None:
        """Try to connect to `candidate`, which is `host` itself or a fallback."""
        work = self._secretly(epoch, host, candidate)
        self._running[epoch] = self._tasks.spawn(work, f"connect, try {epoch}")

    def abandon(self, epoch: int) -> None:
        """Cancel the attempt."""
        self._running.pop(epoch).cancel()

    def is_queued(self, epoch: int) -> bool:
        """Whether it waits for other handshakes to end."""
        return epoch in self._queued

    async def _secretly(self, epoch: int, host: Host, candidate: Host) -> None:
        with SECRETS.login():
            await self._run(epoch, host, candidate)

    async def _run(self, epoch: int, host: Host, candidate: Host) -> None:
        hearer, place = self._hearer, f"{self._profile.name}/{candidate.name}"

        def on_stage(stage: Stage) -> None:
            if stage is Stage.QUEUED:
                self._queued.add(epoch)
            else:
                self._queued.discard(epoch)
            if stage is Stage.AUTHENTICATING:
                hearer.handle(events.Authenticating(epoch))

        def on_silence(failure: Failure) -> None:
            hearer.handle(events.Silent(epoch, failure.at(place)))

        began, environment = clock.monotonic(), self._profile.environment()
        try:
            link = await self._dialler.link(host, candidate, on_stage, on_silence)
        except Failure as failure:
            hearer.lost(epoch, failure.at(place))
            if environment != self._profile.environment():
                hearer.outdated()
        except Exception as error:
            hearer.lost(epoch, unexpected(error, f"connecting to {candidate.name}"))
        else:
            hearer.connected(epoch, candidate, link, clock.monotonic() - began)
        finally:
            self._queued.discard(epoch)
            self._running.pop(epoch, None)
