"""Runs the hooks of profiles when their state changes.

Owns one queue for each profile: its hooks run one after another, each for a limited time. Must
never delay a tunnel, run a shell, or leave a process behind; the output of hooks is logged.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import tempfile
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from tunnelctl.errors import Failure
from tunnelctl.net.processes.child import Child, ending
from tunnelctl.net.threads import in_thread
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment
from tunnelctl.state.documents.api_version import API_VERSION
from tunnelctl.state.documents.snapshot import ProfileStatus
from tunnelctl.state.documents.status_events import StatusEvent
from tunnelctl.state.profile.hooks import Hook
from tunnelctl.supervisor.tasks import Tasks

_log = logging.getLogger("tunnelctl")

_WITHIN = 10.0  # seconds for one hook
_TERMINATE_WITHIN = 1.0  # seconds from SIGTERM to SIGKILL
_WAITING_MAX = 8  # for one profile; only an unstable one has more
_AT_ONCE = 8  # over all profiles: if a server goes down, many hooks may be due


@dataclass(frozen=True, slots=True)
class Call:
    """One hook to run, and the reason."""

    hook: Hook
    words: Sequence[str]
    environment: Environment
    event: StatusEvent
    profile: ProfileStatus

    @property
    def name(self) -> str:
        """The name in the log."""
        return f"hook {self.hook} of {self.profile.name}"

    def as_json(self) -> dict[str, Any]:
        """The standard input of the program."""
        return {
            "api_version": API_VERSION,
            "hook": str(self.hook),
            "event": self.event.as_json(),
            "profile": self.profile.as_json(),
        }


class HookRunner:
    """The hooks of all profiles of a supervisor."""

    def __init__(self) -> None:
        self._tasks = Tasks("hooks")
        self._waiting: dict[str, deque[Call]] = {}  # by profile, while its hooks run
        self._turns = asyncio.Semaphore(_AT_ONCE)

    def call(self, call: Call) -> None:
        """Run a hook after the earlier ones of its profile."""
        profile = call.profile.name
        if profile in self._waiting:
            waiting = self._waiting[profile]
            if len(waiting) == _WAITING_MAX:
                _tell(waiting.popleft(), logging.WARNING, "was not run: too many others wait")
            waiting.append(call)
        else:
            self._waiting[profile] = deque([call])
            self._tasks.spawn(self._run_all(profile), profile)

    async def close(self, seconds: float) -> None:
        """Give running hooks so many seconds to end, then end them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._tasks.settle()
        self._tasks.cancel()
        await self._tasks.settle()

    async def _run_all(self, profile: str) -> None:
        waiting = self._waiting[profile]
        try:
            while waiting:
                async with self._turns:
                    await _run(waiting.popleft())
        finally:
            del self._waiting[profile]


async def _run(call: Call) -> None:
    try:
        with await in_thread(lambda: _document(call), f"write for {call.name}") as document:
            child = await Child.start(
                call.words, call.environment, call.name, stdin=document.fileno()
            )
    except (OSError, ValueError, Failure) as error:
        _tell(call, logging.WARNING, f"cannot be run: {error}")
        return
    failing = None
    try:
        async with asyncio.timeout(_WITHIN):
            if (status := await child.wait()) != 0:
                failing = ending(status)
    except TimeoutError:
        await _end(child)
        failing = f"was ended: it took longer than {_WITHIN:g} s"
    except asyncio.CancelledError:
        child.signal(signal.SIGKILL)
        await child.wait()
        raise
    for line in child.said.splitlines():
        _tell(call, logging.INFO, f"says: {line}")
    if failing is not None:
        _tell(call, logging.WARNING, failing)


def _document(call: Call) -> IO[bytes]:
    """The standard input of the program."""
    document = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    document.write(json.dumps(call.as_json()).encode())
    document.seek(0)
    return document


async def _end(child: Child) -> None:
    child.signal(signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(_TERMINATE_WITHIN):
            await child.wait()
    child.signal(signal.SIGKILL)
    await child.wait()


def _tell(call: Call, level: int, what: str) -> None:
    _log.log(level, "%s %s", call.name, what, extra={"event": call.event})
