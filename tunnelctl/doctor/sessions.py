"""The session that a host requests (`session_type`), which only some servers grant.

Must never run anything there: a session is opened, requests nothing, and is closed.
"""

from __future__ import annotations

import asyncio

from tunnelctl.doctor import causes, sentences
from tunnelctl.doctor.report import Part, Step, ok, skipped, warning
from tunnelctl.spec.host import Host
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.session import Session, wants_session

_PATIENCE = 5.0  # seconds


class _Unused(Session):
    """A session without a shell. `answer` is the reason for a refusal, empty if it was granted."""

    def __init__(self, link: Link) -> None:
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        super().__init__(link, lambda _line: None, self._settle)

    def opened(self) -> None:
        self._settle("")

    def closed(self) -> None:
        self._settle(sentences.connection_ended())

    def _settle(self, why: str) -> None:
        if not self.answer.done():
            self.answer.set_result(why)


async def steps(host: Host, link: Link) -> list[Step]:
    """Whether the server grants a session; nothing if the host requests none."""
    if not wants_session(link):
        return []
    session = _Unused(link)
    try:
        async with asyncio.timeout(_PATIENCE):
            why = await session.answer
    except TimeoutError:
        return [skipped(Part.SESSION, host.name, sentences.session_silent(host.name, _PATIENCE))]
    finally:
        session.close()
    if not why:
        return [ok(Part.SESSION, host.name, sentences.session_granted(host.name))]
    what = sentences.session_refused(host.name, why)
    return [warning(Part.SESSION, host.name, what, causes.of_no_session(host, link.info.software))]
