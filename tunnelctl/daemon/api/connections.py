"""The part of the control API for connections and history (docs/api.md).

Decides nothing. Must never write a long document in one step: encoding holds up the loop, also from
another thread.
"""

from __future__ import annotations

import asyncio
import json
import logging
from itertools import islice
from typing import Final

from aiohttp import web

from tunnelctl.daemon import sentences
from tunnelctl.daemon.orders import refuse_unknown
from tunnelctl.daemon.request_parts import (
    check_query,
    flag_in_query,
    profiles_in_query,
    read_body,
)
from tunnelctl.daemon.wanted.profiles import Profiles
from tunnelctl.net.threads import in_thread
from tunnelctl.state.documents.api_version import API_VERSION
from tunnelctl.state.documents.connection_status import ConnectionStatus
from tunnelctl.state.documents.history import ForwardHistory, History, HostHistory
from tunnelctl.supervisor.records.connection_list import WantedConnections
from tunnelctl.supervisor.sentences import no_such_forward
from tunnelctl.supervisor.supervisor import Supervisor

_log = logging.getLogger(__name__)

# Connections that are encoded before other work gets its turn.
_AT_ONCE: Final = 100


def routes(supervisor: Supervisor, profiles: Profiles) -> list[web.RouteDef]:
    """The routes."""

    async def connections(request: web.Request) -> web.Response:
        """All, those of `?profile=NAME`, or those of `?forward=NAME`; with `?process=1` also the
        processes of clients on this machine."""
        check_query(request, ("profile", "forward", "process"))
        profile, forward = _profile(request, profiles), request.query.get("forward")
        _check_forward(profile, forward, profiles)
        wanted = WantedConnections(profile, forward, flag_in_query(request, "process"))
        found = await supervisor.connections(wanted)
        living, ended = await _elements(found.connections), await _elements(found.ended)
        return _document(f'"connections": {living}, "ended": {ended}')

    async def close(request: web.Request) -> web.Response:
        refuse_unknown(await read_body(request), ())
        number = request.match_info["id"]
        supervisor.close_connection(number)
        _log.info("request: close connection %s", number)
        return _document('"status": "closed"')

    async def history(request: web.Request) -> web.Response:
        """Of all profiles, or of `?profile=NAME`."""
        check_query(request, ("profile",))
        samples = supervisor.samples(_profile(request, profiles))
        members = await in_thread(lambda: _members(samples.history()), "history")
        return _document(members)

    return [
        web.get("/v1/connections", connections),
        web.post("/v1/connections/{id}/close", close),
        web.get("/v1/history", history),
    ]


def _profile(request: web.Request, profiles: Profiles) -> str | None:
    """The profile in the query, if any. Raises Failure: it is unknown."""
    name = next(iter(profiles_in_query(request)), None)
    if name is not None and profiles.status_of(name) is None:
        raise sentences.profile_unknown(name)
    return name


def _check_forward(profile: str | None, forward: str | None, profiles: Profiles) -> None:
    """Raises Failure: neither this profile, nor any if there is none, has this forward."""
    if forward is None:
        return
    known = [one for one in profiles.status() if profile in (None, one.name)]
    names = [part.name for one in known for part in one.forwards]
    if forward not in names:
        if profile is None:
            raise sentences.forward_unknown(forward)
        raise no_such_forward(profile, forward, names)


async def _elements(statuses: tuple[ConnectionStatus, ...]) -> str:
    """Connections as a JSON array."""
    left, texts = iter(statuses), []
    while few := [status.as_json() for status in islice(left, _AT_ONCE)]:
        texts.append(json.dumps(few)[1:-1])
        await asyncio.sleep(0)
    return f"[{', '.join(texts)}]"


def _members(history: History) -> str:
    """The members of the document, encoded one forward or host at a time."""
    parts = history.forwards, history.hosts
    forwards, hosts = (f"[{', '.join(map(_encoded, part))}]" for part in parts)
    step, at = json.dumps(history.step_seconds), json.dumps(history.at)
    return f'"step_seconds": {step}, "at": {at}, "forwards": {forwards}, "hosts": {hosts}'


def _encoded(part: ForwardHistory | HostHistory) -> str:
    return json.dumps(part.as_json())


def _document(members: str) -> web.Response:
    text = f'{{"api_version": {API_VERSION}, {members}}}'
    return web.Response(text=text, content_type="application/json")
