"""The hosts of a profile as ssh_config describes them at each attempt.

`ssh` reads it at each start, so that a `Match exec` can renew a certificate. Must never read it
more often than every few seconds, nor let a mistake in ssh_config end what worked before.
"""

from __future__ import annotations

import asyncio
import functools
import logging

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import HostAnew

_log = logging.getLogger("tunnelctl")

_EVERY = 5.0  # seconds
_AT_ONCE = 4  # hosts of one profile whose ssh_config is read concurrently


class Anew:
    """For one profile that was just read. `ask` is None if ssh_config has no effect on its
    hosts."""

    def __init__(self, profile: str, ask: HostAnew | None) -> None:
        self._profile = profile
        self._ask = ask
        self._known: dict[str, tuple[float, Host]] = {}  # by name: when it was read, and the result
        self._began = clock.monotonic()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def candidate(self, host: Host, candidate: Host, environment: Environment) -> Host:
        """`candidate`, which is `host` itself or a fallback of it, as it is now."""
        if self._ask is None or candidate.embedded:
            return candidate
        asked, known = self._known.get(host.name, (self._began, host))
        if clock.monotonic() - asked >= _EVERY:
            known = await self._asked(self._ask, known, environment)
            self._known[host.name] = (clock.monotonic(), known)
        return next((c for c in known.candidates if c.name == candidate.name), candidate)

    async def _asked(self, ask: HostAnew, known: Host, environment: Environment) -> Host:
        name = f"{self._profile}/{known.name}"
        async with self._turns:
            try:
                look = functools.partial(ask, known.name, environment)
                return await in_thread(look, f"ssh_config of {name}")
            except Failure as failure:
                _log.warning("%s uses its previous settings:  %s", name, failure)
                return known
