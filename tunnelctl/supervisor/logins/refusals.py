"""Logins that a server refused lately, over all profiles: when each may be tried again.

A server counts failed logins by client address, so hosts that log in to it with the same
credentials share one delay, and after it one of them tries before the others. Must never delay a
login with other credentials, nor one that the user asks for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Sequence
from random import Random

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.ssh.chain import everybody
from tunnelctl.ssh.keys.agent import agent_path
from tunnelctl.state import backoff

# Timers may fire a little early.
_TOLERANCE = 0.05  # seconds

# The server of a login, and its credentials. Behind other hops, an address is another server.
_Login = tuple[tuple[Host, ...], str, str | None, Hashable]


class Refusals:
    """For one supervisor, on its loop. `steps` are the delays in seconds (state/backoff.py)."""

    def __init__(
        self, random: Random | None = None, steps: Sequence[float] = backoff.SPACING
    ) -> None:
        self._random = random or Random()  # noqa: S311 - spreads tries, guards nothing
        self._steps = steps
        self._refused: dict[_Login, _Refused] = {}

    def queue(self, host: Host, environment: Environment) -> tuple[asyncio.Semaphore, ...]:
        """The queues before a login to `host`: if the last one was refused, the others wait."""
        refused = self._refused.get(_login(host, environment))
        return () if refused is None else (refused.turn,)

    def check(self, host: Host, environment: Environment) -> None:
        """Call it when it is the login's turn.

        Raises:
            Failure: why not to log in yet, and when.
        """
        refused = self._refused.get(_login(host, environment))
        if refused is not None:
            left = refused.until - clock.monotonic()
            if left > _TOLERANCE:
                raise refused.failure.but(retry_after=left)

    def noted(self, host: Host, environment: Environment, failure: Failure) -> Failure:
        """The failure of a login; if it was refused for now, with the time to wait."""
        if not failure.spaced:
            return failure
        refused = self._refused.setdefault(_login(host, environment), _Refused(failure))
        refused.failure = failure
        refused.times += 1
        wait = backoff.spacing(refused.times, self._random.random(), self._steps)
        refused.until = clock.monotonic() + wait
        return failure.but(retry_after=wait)

    def passed(self, host: Host, environment: Environment) -> None:
        """The login succeeded."""
        self._refused.pop(_login(host, environment), None)

    def lift(self, hosts: Iterable[Host], environment: Environment) -> None:
        """The next login to any of these, and to their hops, may begin at once."""
        for one in everybody(hosts):
            refused = self._refused.get(_login(one, environment))
            if refused is not None:
                refused.until = 0.0


class _Refused:
    def __init__(self, failure: Failure) -> None:
        self.failure = failure
        self.times = 0
        self.until = 0.0
        self.turn = asyncio.Semaphore(1)


def _login(host: Host, environment: Environment) -> _Login:
    agent = agent_path(host, environment)
    shown = (host.identity_file, host.certificate_file, agent, host.password)
    return host.proxy_jump, host.address, host.user, shown
