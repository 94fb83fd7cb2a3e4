"""The links of one tunnel, by the epoch of the attempt that made them.

Owns them from login to the end of their threads. One is in use; another lives beside it only for
moments, or while connections of a fallback's last hour still run. Those beyond, which `links: N`
allows, are in `extra_links.py`. Knows how long each took to make,
and what each server says.
Must never decide which is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tunnelctl.errors import Failure
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.session import wants_session
from tunnelctl.state.histogram import Histogram
from tunnelctl.state.unused import UnusedEnds, Verdict
from tunnelctl.supervisor import sentences
from tunnelctl.supervisor.speech import Speech, of_events
from tunnelctl.supervisor.tasks import Tasks

# A server that left so often in a row when it was asked for a channel will do it again. It could be
# asked again with each client, so that is spaced: seconds.
_LEFT_TIMES = 3
_LEAVES_PAUSE = 60.0
# How soon a link that carries nothing any more is closed.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """What came to light of a server when its link ended. `failure` is what to say of it."""

    verdict: Verdict
    failure: Failure


class Links:
    """Of one tunnel, whose `tasks` wait for the ends; `tell` gets what their servers say."""

    def __init__(self, tasks: Tasks, tell: Callable[[str], None]) -> None:
        self._tasks = tasks
        self._tell = tell
        self._throttle = of_events()
        self._speeches: dict[int, Speech] = {}
        self._links: dict[int, Link] = {}
        self.took = Histogram()
        self._left_at_opens = 0  # links in a row
        self._unused_ends = UnusedEnds()

    def add(self, epoch: int, link: Link, took: float) -> None:
        """A link that was made in this epoch, in so many seconds."""
        self._links[epoch] = link
        self.took = self.took.with_one(took)

    def __getitem__(self, epoch: int) -> Link:
        return self._links[epoch]

    def get(self, epoch: int) -> Link | None:
        """The link of this epoch; None when there is none (any more)."""
        return self._links.get(epoch)

    def listen(self, epoch: int) -> None:
        """Open the session of a link that wants one, once what is asked for now was sent.

        As OpenSSH's client does it: a server that finds no forward when the session begins may end
        it with nothing but a usage text.
        """
        if wants_session(self._links[epoch]):
            asyncio.get_running_loop().call_soon(self._begin, epoch)

    def said(self, epoch: int) -> tuple[str, ...] | None:
        """The last lines of a link's session; None when there is none."""
        speech = self._speeches.get(epoch)
        return None if speech is None else speech.lines

    def close(self, epoch: int) -> None:
        """Close a link, resetting what it carries. Idempotent."""
        link = self._links.pop(epoch, None)
        self._speeches.pop(epoch, None)
        if link is not None:
            link.close()
            self._tasks.spawn(link.wait_thread(), "end of the link's thread")

    def end_of(self, link: Link, failure: Failure, *, lazy: bool, needed: bool) -> LinkEnd:
        """Why a link ended, whose own word on it is `failure`; to be asked once of each.

        A host that is `lazy` misses no link that ended in order, whatever its server's habit is;
        `needed` is whether a forward needs one.
        """
        failure = self._why_lost(link, failure)
        unused = link.left_unused
        verdict = self._unused_ends.judge(unused, link.last_word)
        if unused is None or not (verdict is Verdict.UNUSED or lazy):
            return LinkEnd(verdict, failure)
        ends = sentences.ends_unused_links(link.settings.title, unused, needed=needed)
        return LinkEnd(Verdict.UNUSED, ends)

    def retire(self, epoch: int) -> None:
        """Close a link once the last connection over it has ended."""
        speech = self._speeches.pop(epoch, None)
        if speech is not None:
            speech.end()
        self._tasks.spawn(self._drain(epoch), "end of the link's last connection")

    def close_all(self) -> None:
        """Close every link that is left."""
        for epoch in tuple(self._links):
            self.close(epoch)

    def _why_lost(self, link: Link, failure: Failure) -> Failure:
        self._left_at_opens = self._left_at_opens + 1 if link.left_at_open else 0
        if self._left_at_opens < _LEFT_TIMES:
            return failure
        return sentences.leaves_at_channels(failure, link.info.server, _LEAVES_PAUSE)

    def _begin(self, epoch: int) -> None:
        link = self._links.get(epoch)
        if link is not None:
            self._speeches[epoch] = Speech(link, self._tell, self._throttle)

    async def _drain(self, epoch: int) -> None:
        await unused(self._links[epoch])
        self.close(epoch)


async def unused(link: Link) -> None:
    """Wait until a link carries nothing any more, or has ended."""
    while link.connection.channels and not link.closed.done():
        await asyncio.wait([link.closed], timeout=_LOOK_SECONDS)


async def drained(link: Link) -> None:
    """Close a link that is in no list once its last connection has ended."""
    try:
        await unused(link)
    finally:
        link.close()
    await link.wait_thread()
