"""The links of one tunnel by the epoch of the attempt that made them.

Owns them from login to the end of their threads. One is in use; another exists beside it only
briefly, or while connections over a fallback end. The additional ones of `links: N` are in
`extra_links.py`. Knows how long each took to make, and what each server prints. Must never decide
which link is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tunnelctl.errors import Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.session import wants_session
from tunnelctl.state.documents.histogram import Histogram
from tunnelctl.state.host.unused import LinkEndKind, UnusedEnds
from tunnelctl.supervisor import sentences
from tunnelctl.supervisor.speech import Speech, of_events
from tunnelctl.supervisor.tasks import Tasks

# After so many links in a row that a server ended when a channel was opened, it is assumed to do so
# always. Seconds until it is tried again, because each client would cause a login.
_LEFT_TIMES = 3
_LEAVES_PAUSE = 60.0
# Seconds between looks at a link that is to be closed once it carries nothing.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class LinkEnd:
    """The conclusion from the end of a link. `failure` is the failure to report."""

    verdict: LinkEndKind
    failure: Failure


class Links:
    """For one tunnel. `tasks` wait for the ends of links; `tell` gets the lines of their
    servers."""

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
        """Add the link of this epoch, and the seconds that it took to make it."""
        self._links[epoch] = link
        self.took = self.took.with_one(took)

    def __getitem__(self, epoch: int) -> Link:
        return self._links[epoch]

    def get(self, epoch: int) -> Link | None:
        """The link of this epoch, or None."""
        return self._links.get(epoch)

    def listen(self, epoch: int) -> None:
        """Open the session of a link that needs one, after the requests of this turn were sent.

        OpenSSH's client uses this order: a server that finds no forward when the session begins may
        print a usage text and end it.
        """
        if wants_session(self._links[epoch]):
            asyncio.get_running_loop().call_soon(self._begin, epoch)

    def said(self, epoch: int) -> tuple[str, ...] | None:
        """The last lines of a link's session; None when there is none."""
        speech = self._speeches.get(epoch)
        return None if speech is None else speech.lines

    def close(self, epoch: int) -> None:
        """Close a link and reset its connections. Idempotent."""
        link = self._links.pop(epoch, None)
        self._speeches.pop(epoch, None)
        if link is not None:
            link.close()
            self._tasks.spawn(link.wait_thread(), "end of the link's thread")

    def end_of(self, link: Link, failure: Failure, *, lazy: bool, needed: bool) -> LinkEnd:
        """Why a link ended; `failure` is its own report. Call it once for each link.

        For a `lazy` host a cleanly ended link is no loss, whatever the policy of the server;
        `needed` is whether a forward needs a link.
        """
        failure = self._why_lost(link, failure)
        unused = link.left_unused
        verdict = self._unused_ends.judge(unused, link.last_word)
        if unused is None or not (verdict is LinkEndKind.UNUSED or lazy):
            return LinkEnd(verdict, failure)
        ends = sentences.ends_unused_links(link.settings.title, unused, needed=needed)
        return LinkEnd(LinkEndKind.UNUSED, ends)

    def retire(self, epoch: int) -> None:
        """Close a link once its last connection has ended."""
        speech = self._speeches.pop(epoch, None)
        if speech is not None:
            speech.end()
        self._tasks.spawn(self._drain(epoch), "end of the link's last connection")

    def close_all(self) -> None:
        """Close all remaining links."""
        for epoch in tuple(self._links):
            self.close(epoch)

    def cut_all(self) -> None:
        """Reset all links now; `close_all` does the rest."""
        for link in self._links.values():
            link.cut()

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
    """Wait until a link has no channels, or has ended."""
    while link.connection.channels and not link.closed.done():
        await asyncio.wait([link.closed], timeout=_LOOK_SECONDS)


async def drained(link: Link) -> None:
    """Close a link that no list contains once its last connection has ended."""
    try:
        await unused(link)
    finally:
        link.close()
    await link.wait_thread()
