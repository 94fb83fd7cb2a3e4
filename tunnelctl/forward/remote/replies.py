"""The reply of a server to a request for a listener, and the time to wait for it.

Replies come in the order of the requests (RFC 4254 section 4), without involving anybody else. A
server that does not reply may be gone, or may not answer such requests; its answer to another
request tells which.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tunnelctl import clock
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.link.link import Link

# Seconds after which the server is asked for a sign of life, and after which it is judged by that.
_ASK_AFTER = 5.0
_JUDGE_AFTER = 10.0


@dataclass(frozen=True, slots=True)
class ForwardReply:
    """`reply` is None for a refusal, with the messages that the server `said` before it. `is_kept`:
    it still holds the listener of an earlier forward; `is_unknown`: it does not know the
    request."""

    reply: bytes | None
    said: tuple[str, ...] = ()
    is_kept: bool = False
    is_unknown: bool = False


async def answer_of(
    link: Link, replied: asyncio.Future[ForwardReply], on_silence: Callable[[], None]
) -> ForwardReply:
    """The server's reply, however late. `on_silence` is called once, when the server answers
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
        replied.cancel()  # a late grant is cancelled
        raise


async def _within(replied: asyncio.Future[ForwardReply], seconds: float | None) -> None:
    await asyncio.wait((replied,), timeout=seconds)
