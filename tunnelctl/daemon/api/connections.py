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

from tunnelctl.daemon.request_parts import profiles_in_query
from tunnelctl.net.threads import in_thread
from tunnelctl.state.documents.api_version import API_VERSION
from tunnelctl.state.documents.connection_status import ConnectionStatus
from tunnelctl.state.documents.history import ForwardHistory, History, HostHistory
from tunnelctl.supervisor.records.connection_list import WantedConnections
from tunnelctl.supervisor.supervisor import Supervisor

_log = logging.getLogger(__name__)

# Connections that are encoded before other work gets its turn.
_AT_ONCE: Final = 100


def routes(supervisor: Supervisor) -> list[web.RouteDef]:
    """The routes."""

    async def connections(request: web.Request) -> web.Response:
        """All, those of `?profile=NAME`, or those of `?forward=NAME`; with `?process=1` also the
        processes of clients on this machine."""
        with_processes = request.query.get("process") == "1"
        wanted = WantedConnections(_profile(request), request.query.get("forward"), with_processes)
        found = await supervisor.connections(wanted)
        living, ended = await _elements(found.connections), await _elements(found.ended)
        return _document(f'"connections": {living}, "ended": {ended}')

    async def close(request: web.Request) -> web.Response:
        number = request.match_info["id"]
        supervisor.close_connection(number)
        _log.info("request: close connection %s", number)
        return _document('"status": "closed"')

    async def history(request: web.Request) -> web.Response:
        """Of all profiles, or of `?profile=NAME`."""
        samples = supervisor.samples(_profile(request))
        members = await in_thread(lambda: _members(samples.history()), "history")
        return _document(members)

    return [
        web.get("/v1/connections", connections),
        web.post("/v1/connections/{id}/close", close),
        web.get("/v1/history", history),
    ]


def _profile(request: web.Request) -> str | None:
    return next(iter(profiles_in_query(request)), None)


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
