"""The part of the control API for the inspector: the requests of a forward, and their replay.

`GET /v1/requests/PROFILE/FORWARD` and `POST /v1/requests/PROFILE/FORWARD/ID/replay`. Must never
encode more than one exchange in one step of the loop: together they have up to 64 MiB.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

from tunnelctl.daemon import sentences
from tunnelctl.daemon.orders import refuse_unknown
from tunnelctl.daemon.request_parts import (
    check_query,
    flag_in_query,
    number_in_query,
    profile_in_path,
    read_body,
)
from tunnelctl.inspect.inspector import Inspection
from tunnelctl.state.documents.api_version import API_VERSION
from tunnelctl.state.documents.exchange import Headers
from tunnelctl.supervisor.supervisor import Supervisor

_MOST = 1000  # what the store has at most
_FOLLOWERS = 32


def routes(supervisor: Supervisor) -> Iterable[web.RouteDef]:
    """The routes."""
    return _Handlers(supervisor).routes()


class _Handlers:
    """The handlers, and the number of those who follow."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._followers = 0

    def routes(self) -> Iterable[web.RouteDef]:
        return (
            web.get("/v1/requests/{name}/{forward}", self._answer),
            web.post("/v1/requests/{name}/{forward}/{id}/replay", self._replay),
        )

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        count, follow = _query(request)
        inspection = self._inspection(request)
        if follow:
            return await self._follow(request, inspection, count)
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        response.force_close()
        await response.prepare(request)
        summary = json.dumps({"api_version": API_VERSION, **inspection.summary()})
        await response.write(summary[:-1].encode() + b', "requests": [')
        separator = b""
        for exchange in inspection.last(count):
            await response.write(separator + json.dumps(exchange.as_json()).encode())
            separator = b","
            await asyncio.sleep(0)  # a write to a reader that keeps up is no turn for others
        await response.write(b"]}")
        return response

    async def _follow(
        self, request: web.Request, inspection: Inspection, count: int
    ) -> web.StreamResponse:
        """Server-sent events `request`: the last exchanges, then each new or changed one."""
        if self._followers >= _FOLLOWERS:
            raise web.HTTPServiceUnavailable(text=sentences.requests_have_too_many_readers())
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        response.force_close()
        self._followers += 1
        follower = inspection.follow()
        try:
            await response.prepare(request)
            await response.write(b": every request from here on\n\n")
            async for exchange in follower.exchanges(count):
                data = json.dumps(exchange.as_json(), separators=(",", ":"))
                await response.write(f"event: request\ndata: {data}\n\n".encode())
                await asyncio.sleep(0)
        except ConnectionError:
            pass  # the reader has disconnected
        finally:
            self._followers -= 1
            follower.close()
        return response

    async def _replay(self, request: web.Request) -> web.Response:
        inspection = self._inspection(request)
        exchange = inspection.exchange(request.match_info["id"])
        headers = _headers(await read_body(request))
        profile, forward = request.match_info["name"], request.match_info["forward"]
        answer = await self._supervisor.replay(profile, forward, exchange, headers)
        return web.json_response(
            {
                "api_version": API_VERSION,
                "status": answer.status,
                "left_out": list(answer.left_out),
                **answer.response.as_json(),
            }
        )

    def _inspection(self, request: web.Request) -> Inspection:
        return self._supervisor.inspection(profile_in_path(request), request.match_info["forward"])


def _query(request: web.Request) -> tuple[int, bool]:
    """`n` and `follow`."""
    check_query(request, ("n", "follow"))
    return number_in_query(request, "n", _MOST), flag_in_query(request, "follow")


def _headers(body: Mapping[str, Any]) -> Headers:
    """The headers in the body of a replay: `{"headers": [[name, value], …]}`; it may be empty."""
    refuse_unknown(body, ("headers",))
    pairs: Any = body.get("headers", [])
    if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
        raise sentences.not_headers()
    return tuple((name, value) for name, value in pairs)


def _is_pair(pair: object) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(w, str) for w in pair)
