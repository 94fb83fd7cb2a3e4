"""The links to one host in addition to the one that its state machine knows, for `links: N`.

sshd and our ciphers use one core for each link, so several links can carry more. A connection stays
on the link that it was opened on. Another link is made while all are busy, and closed once it
carried nothing for `idle_timeout`. Owns these links, the load of each link, and the time of the
next attempt. Must never ask a person, and never change the host: a link that cannot be made, or is
lost, is reported, and the others continue.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from random import Random

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.home.redaction import SECRETS
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.host import Host
from tunnelctl.ssh.link.link import Link
from tunnelctl.state import backoff
from tunnelctl.supervisor import sentences
from tunnelctl.supervisor.links import drained
from tunnelctl.supervisor.logins.dialler import Dialler
from tunnelctl.supervisor.tasks import Tasks, unexpected

# Seconds between two measurements of the links.
_LOOK_SECONDS = 0.5
# Bytes between two measurements that make a link busy: more than typing or browsing causes.
_BUSY = 1024 * 1024
# Links whose traffic differs by fewer bytes count as equal; the number of channels decides then.
_ALIKE = 64 * 1024


@dataclass(eq=False, slots=True)
class _Load:
    """The traffic of one link: `seen` in total at the last measurement, `moved` since the one
    before."""

    link: Link
    seconds: float = 0.0  # the time that it took to make the link
    seen: int = 0
    moved: int = 0

    def look(self) -> None:
        """Measure. The stream counts from zero after each key exchange."""
        total = self.link.stream.bytes_sent + self.link.stream.bytes_received
        self.moved = total - self.seen if total >= self.seen else total
        self.seen = total

    def expect_one_more(self) -> None:
        """A connection is about to be opened over it; until the next measurement it counts as
        average."""
        self.moved += max(_ALIKE, self.moved // max(1, len(self.link.connection.channels)))

    @property
    def rank(self) -> tuple[int, int]:
        """The link with the lowest rank serves the next connection."""
        return self.moved // _ALIKE, len(self.link.connection.channels)


class ExtraLinks:
    """For one tunnel. `host` returns its host, `warn` gets failures of extra links; `place` is the
    name of its profile."""

    def __init__(
        self,
        place: str,
        host: Callable[[], Host],
        dialler: Dialler,
        tasks: Tasks,
        random: Random,
        warn: Callable[[Failure], None],
    ) -> None:
        self._place = place
        self._host = host
        self._dialler = dialler
        self._tasks = tasks
        self._random = random
        self._warn = warn
        self._first: _Load | None = None
        self._candidate = 0
        self._extra: list[_Load] = []
        self._timer: asyncio.TimerHandle | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._failures = 0  # in a row
        self._next_try = -math.inf

    def __iter__(self) -> Iterator[Link]:
        return (load.link for load in self._extra if not load.link.closed.done())

    def serve(self, first: Link, candidate: int) -> None:
        """`first` serves from now on; extra links connect to the same candidate of the host."""
        if candidate != self._candidate:
            self.halt()
            self.retire()
        self._first, self._candidate = _Load(first), candidate
        self._failures, self._next_try = 0, -math.inf
        self.retune()

    def retune(self) -> None:
        """Apply the host's settings, which may have changed."""
        if self._host().links == 1:
            self.halt()
            self.retire()
        elif self._first is not None and self._timer is None:
            self._wait()

    def choose(self, first: Link) -> Link:
        """The link for the next connection: `first`, or one with less traffic."""
        if not self._extra or self._first is None:
            return first
        load = _least(self._loads())
        if load is None:
            return first
        load.expect_one_more()
        return load.link

    def promote(self) -> tuple[Link, float]:
        """Hand over an extra link that replaces the first, and the seconds that it took to make
        it."""
        load = _least(self._extra)
        assert load is not None
        self._extra.remove(load)
        return load.link, load.seconds

    def ask_now(self) -> None:
        """Probe every extra link."""
        for link in self:
            link.liveness.ask_now()

    def halt(self) -> None:
        """Make no further links. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None

    def retire(self) -> None:
        """New connections use the first link only; each extra link ends with its last
        connection."""
        retired, self._extra = self._extra, []
        for load in retired:
            self._tasks.spawn(drained(load.link), "end of an extra link")

    def close(self) -> None:
        """Close the extra links and reset their connections. Idempotent."""
        self.halt()
        self._first = None
        closed, self._extra = self._extra, []
        for load in closed:
            self._close(load)

    def cut_all(self) -> None:
        """Reset the extra links now; `close` does the rest."""
        for load in self._extra:
            load.link.cut()

    def _loads(self) -> list[_Load]:
        assert self._first is not None
        return [self._first, *self._extra]

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        for load in self._loads():
            load.look()
        self._close_unused()
        loads, now = self._loads(), clock.monotonic()
        is_wanted = len(loads) < self._host().links and all(load.moved >= _BUSY for load in loads)
        if is_wanted and self._dialling is None and now >= self._next_try:
            self._dialling = self._tasks.spawn(self._dial(), "connect an extra link")
        self._wait()

    def _close_unused(self) -> None:
        now, limit = clock.monotonic(), self._host().idle_timeout
        for load in tuple(self._extra):
            connection = load.link.connection
            if not connection.channels and now - connection.unused_since >= limit:
                self._extra.remove(load)
                self._close(load)

    def _close(self, load: _Load) -> None:
        load.link.close()
        self._tasks.spawn(load.link.wait_thread(), "end of an extra link's thread")

    async def _dial(self) -> None:
        host, began = self._host(), clock.monotonic()
        candidate = host.candidates[self._candidate]
        try:
            with SECRETS.login():
                link = await self._dialler.link(host, candidate, lambda _: None, attended=False)
        except Failure as failure:
            self._failed(failure.at(f"{self._place}/{candidate.name}"))
        except Exception as error:
            self._failed(unexpected(error, f"connecting an extra link to {candidate.name}"))
        else:
            self._failures = 0
            load = _Load(link, clock.monotonic() - began)
            self._extra.append(load)
            link.closed.add_done_callback(lambda ended: self._ended(load, ended.result()))
        self._dialling = None

    def _failed(self, failure: Failure) -> None:
        """Wait as the host itself would; a permanent failure is not repeated until the host has
        another link."""
        wait = backoff.delay(self._host().reconnect, self._failures, self._random.random())
        self._failures += 1
        wait = max(wait, failure.retry_after) if failure.retryable else math.inf
        self._next_try = clock.monotonic() + wait
        self._warn(sentences.no_extra_link(failure))

    def _ended(self, load: _Load, failure: Failure) -> None:
        if load in self._extra:
            self._extra.remove(load)
            self._tasks.spawn(load.link.wait_thread(), "end of an extra link's thread")
            self._warn(sentences.extra_link_lost(failure))


def _least(loads: Iterable[_Load]) -> _Load | None:
    """The one with the least traffic among those that are not closed."""
    living = (load for load in loads if not load.link.closed.done())
    return min(living, key=lambda load: load.rank, default=None)
