"""Detects a dead peer of a link by keepalive requests.

Owns the requests, the round trip time, and the timers. Must never take a silent peer for a live
one, nor judge it during a key exchange, which has a time limit of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.ssh import sentences
from tunnelctl.ssh.link.info import LinkSettings
from tunnelctl.ssh.packets.stream import PacketStream
from tunnelctl.wire.connection import Connection
from tunnelctl.wire.window import RoundTrip

_FIRST_PROBES = 4
# Seconds for the answer to an urgent request: some round trips on a slow network.
_SIGN_SECONDS = 4.0
_SIGN_ROUND_TRIPS = 8


class Liveness:
    """For one link. `give_up(failure)` ends the link; `is_exchanging_keys()`: a key exchange is
    under way."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: LinkSettings,
        connection: Connection,
        stream: PacketStream,
        round_trip: RoundTrip,
        give_up: Callable[[Failure], None],
        is_exchanging_keys: Callable[[], bool],
    ) -> None:
        self.rtt: float | None = None  # seconds
        self._loop = loop
        self._settings = settings
        self._interval = settings.server_alive_interval
        self._count_max = settings.server_alive_count_max
        self._connection = connection
        self._stream = stream
        self._round_trip = round_trip
        self._give_up = give_up
        self._is_exchanging_keys = is_exchanging_keys
        self._is_over = False
        self._asked = 0  # unanswered requests in a row
        self._asked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._judgement: asyncio.TimerHandle | None = None
        if self._interval > 0:
            self._timer = loop.call_later(self._interval, self._check)
            self.probe(_FIRST_PROBES)

    def close(self) -> None:
        """Stop. Idempotent."""
        self._is_over = True
        for timer in (self._timer, self._judgement):
            if timer is not None:
                timer.cancel()

    @property
    def silence(self) -> float:
        """Seconds since the peer last sent anything."""
        return clock.monotonic() - self._stream.heard_at

    def probe(self, times: int = 1) -> None:
        """Send a keepalive request now; its answer measures the round trip time.

        `times`: repeat after each answer; the shortest of several is the round trip, longer ones
        include waiting for a processor.
        """
        if self._is_over or self._is_exchanging_keys():
            return
        asked_at = clock.monotonic()

        def answered() -> None:
            if not self._is_over:
                self.rtt = clock.monotonic() - asked_at
                # The shortest: longer ones waited behind data.
                self._round_trip.seconds = min(self.rtt, self._round_trip.seconds or self.rtt)
                # Not while a reply is due: some servers disconnect at a second request.
                if times > 1 and not self._connection.awaits_reply:
                    self.probe(times - 1)

        self._connection.ask_for_sign(answered)

    def ask_now(self) -> None:
        """Send a keepalive request, and end the link if nothing comes within a few seconds: after a
        network change, silence is a stronger sign."""
        if self._is_over or self._judgement is not None:
            return
        seconds = max(_SIGN_SECONDS, _SIGN_ROUND_TRIPS * (self.rtt or 0.0))
        has_answered = False

        def answered() -> None:
            nonlocal has_answered
            has_answered = True

        def judge() -> None:
            self._judgement = None
            # An answer may wait behind data, which is a sign of life. Bytes that were already on
            # their way are not.
            is_silent = not has_answered and self.silence > seconds / 2
            if is_silent and not self._is_exchanging_keys():
                self._give_up(sentences.no_sign_of_life(*self._settings.peer, seconds))

        self._connection.ask_for_sign(answered)
        self._judgement = self._loop.call_later(seconds, judge)

    def _check(self) -> None:
        """An interval without a byte: send a request, or end the link after the maximum number of
        them."""
        silence, wait = self.silence, self._interval
        if self._stream.heard_at > self._asked_at:
            # Not by the silence only: after an answer that came at once, a slightly late timer
            # finds a whole interval of it.
            self._asked = 0
        if silence < self._interval:
            wait = self._interval - silence
        elif self._asked >= self._count_max:
            self._give_up(sentences.peer_silent(*self._settings.peer, silence))
            return
        else:
            self._asked += 1
            self._asked_at = clock.monotonic()
            self.probe()
        self._timer = self._loop.call_later(max(wait, 0.001), self._check)
