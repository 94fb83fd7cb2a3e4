"""What a server says to a request for a listener there, and for how long that is waited for.

Replies come in the order of the requests (RFC 4254 section 4), and need no asking of anybody else.
A server that gives none may be gone, or may be one that answers no such request. Must never take
the one for the other: what it says to something else decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tunnelctl import clock
from tunnelctl.ssh.link.link import Link

# Seconds after which the server is asked for any sign of life, and after which it is judged by
# whether one came.
_ASK_AFTER = 5.0
_JUDGE_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class ForwardReply:
    """`reply` is None for a refusal, and what the server `said` before it. `is_kept`: it holds the
    listener of an earlier forward still; `is_unknown`: it knows no such request."""

    reply: bytes | None
    said: tuple[str, ...] = ()
    is_kept: bool = False
    is_unknown: bool = False


async def answer_of(
    link: Link, replied: asyncio.Future[ForwardReply], on_silence: Callable[[], None]
) -> ForwardReply:
    """The server's answer, however late. `on_silence` is called once, when the server answers
    something else and not this.

    Raises:
        Failure: why the link ended meanwhile; a server that gives no sign of life is left.
    """
    asked_at = clock.monotonic()
    try:
        await _within(replied, _ASK_AFTER)
        while not replied.done():
            link.liveness.probe()
            await _within(replied, _JUDGE_AFTER)
            if not replied.done() and link.stream.heard_at > asked_at:
                on_silence()
                await _within(replied, None)
            elif not replied.done():
                link.liveness.ask_now()
        if link.closed.done():
            raise link.closed.result()
        return replied.result()
    except BaseException:
        replied.cancel()  # what is granted now is taken back
        raise


async def _within(replied: asyncio.Future[ForwardReply], seconds: float | None) -> None:
    await asyncio.wait((replied,), timeout=seconds)
