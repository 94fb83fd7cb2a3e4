"""Ten minutes of traffic and round trips, measured every two seconds.

Owns the samples of every forward and host, and the timer, which runs while there is something to
measure. Must never hold up the loop: many forwards are measured a few at a time.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from tunnelctl import clock
from tunnelctl.forward.client_connections import Connections
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.history import STEP_SECONDS, ForwardHistory, History, HostHistory
from tunnelctl.supervisor.records.ring import Ring

# Forwards that are measured before other work gets its turn.
_AT_ONCE: Final = 200

# The names of a profile and its host, and the round trip in milliseconds.
RoundTripTo = tuple[str, str, float | None]


class _Traffic:
    """The samples of one forward. The first one is due a step after it came."""

    __slots__ = ("_come", "_gone", "_seen_in", "_seen_out", "forward")

    def __init__(self, forward: Connections) -> None:
        self.forward = forward
        self._come, self._gone = Ring(), Ring()
        self._seen_in, self._seen_out = forward.counters.bytes_in, forward.counters.bytes_out

    def measure(self, elapsed: float) -> None:
        counters = self.forward.counters
        come, gone = counters.bytes_in, counters.bytes_out
        self._come.add((come - self._seen_in) / elapsed)
        self._gone.add((gone - self._seen_out) / elapsed)
        self._seen_in, self._seen_out = come, gone

    def in_order(self) -> tuple[array[float], array[float]]:
        return self._come.in_order(), self._gone.in_order()


@dataclass(frozen=True, slots=True)
class Samples:
    """A copy of the samples of one moment."""

    at: str
    forwards: tuple[tuple[str, str, array[float], array[float]], ...]
    hosts: tuple[tuple[str, str, array[float]], ...]

    def history(self) -> History:
        """The document. Long work if there are many forwards; may be called in any thread."""
        return History(
            at=self.at,
            forwards=tuple(
                ForwardHistory(profile, name, tuple(map(round, come)), tuple(map(round, gone)))
                for profile, name, come, gone in self.forwards
            ),
            hosts=tuple(
                HostHistory(profile, name, tuple(map(_milliseconds, taken)))
                for profile, name, taken in self.hosts
            ),
        )


class Sampler:
    """`forwards` and `hosts` return what is to be measured now."""

    def __init__(
        self,
        forwards: Callable[[], Iterable[Connections]],
        hosts: Callable[[], Iterable[RoundTripTo]],
    ) -> None:
        self._forwards = forwards
        self._hosts = hosts
        self._traffic: dict[Connections, _Traffic] = {}
        self._round_trips: dict[tuple[str, str], Ring] = {}
        self._at = clock.wall()
        self._measured_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure from now on. No effect if it does already."""
        if self._timer is None:
            self._measured_at = clock.monotonic()
            self._follow()
            self._wait()

    def close(self) -> None:
        """Stop measuring. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def samples(self, profile: str | None = None) -> Samples:
        """Those of one profile, or of all."""
        return Samples(
            clock.rfc3339(self._at),
            tuple(
                (forward.profile, forward.name, *traffic.in_order())
                for forward, traffic in self._traffic.items()
                if profile in (None, forward.profile)
            ),
            tuple(
                (name, host, ring.in_order())
                for (name, host), ring in self._round_trips.items()
                if profile in (None, name)
            ),
        )

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        # The steps are those of the clock, however late a measurement is.
        due = loop.time() if self._timer is None else self._timer.when()
        self._timer = loop.call_at(max(loop.time(), due + STEP_SECONDS), self._sample)

    def _follow(self) -> None:
        """Forget what is gone, and begin with what is new."""
        before = self._traffic
        self._traffic = {one: before.get(one) or _Traffic(one) for one in self._forwards()}

    def _sample(self) -> None:
        now = clock.monotonic()
        elapsed, self._measured_at = now - self._measured_at, now
        self._at = clock.wall()
        before = self._round_trips
        self._round_trips = {}
        for profile, host, taken in self._hosts():
            ring = before.get((profile, host)) or Ring()
            ring.add(taken)
            self._round_trips[profile, host] = ring
        self._measure(iter(tuple(self._traffic.values())), elapsed)
        self._follow()
        if self._traffic or self._round_trips:
            self._wait()
        else:
            self._timer = None

    def _measure(self, left: Iterator[_Traffic], elapsed: float) -> None:
        """Measure a few forwards, and the others in the next turns."""
        few = tuple(islice(left, _AT_ONCE))
        for traffic in few:
            traffic.measure(elapsed)
        if few:
            asyncio.get_running_loop().call_soon(self._measure, left, elapsed)


def _milliseconds(taken: float) -> float | None:
    return None if math.isnan(taken) else round(taken, 3)
