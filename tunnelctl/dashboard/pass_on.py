"""Passes the requests of the page below `/v1/` on to the daemon, and its answers back.

Owns what is passed on: the target, the body, the status and the type of the answer, streams as they
come. Decides nothing: every order is one of the control API (docs/api.md). Must never log a body.
"""

from __future__ import annotations

import asyncio
import json

from aiohttp import web

from tunnelctl.daemon.request_parts import read_bytes
from tunnelctl.dashboard.daemon_client import DaemonClient
from tunnelctl.errors import Failure
from tunnelctl.spec.environment import Environment

_READER_WITHIN = 30.0  # seconds for a browser to take what was sent
_FROM_THE_DAEMON = ("Content-Type", "Allow")


class PassOn:
    """The handler. Profiles that the page brings up run their programs in `environment`, as those
    of a command typed where the dashboard was started."""

    def __init__(self, daemon: DaemonClient, environment: Environment) -> None:
        self._daemon = daemon
        self._environment = environment

    async def question(self, request: web.Request) -> web.StreamResponse:
        """A GET, also one whose answer is a stream."""
        return await self._pass(request, b"")

    async def order(self, request: web.Request) -> web.StreamResponse:
        """A POST."""
        body = await read_bytes(request)
        if request.path.startswith("/v1/profiles/") and request.path.endswith("/up"):
            body = self._with_environment(body)
        return await self._pass(request, body)

    async def _pass(self, request: web.Request, body: bytes) -> web.StreamResponse:
        # The daemon decides how long an order takes: `down` waits for connections to end.
        async with self._daemon.asked(
            request.method, request.rel_url.raw_path_qs, body, within=None
        ) as answer:
            response = web.StreamResponse(status=answer.head.status)
            for name in _FROM_THE_DAEMON:
                if value := answer.head.field(name):
                    response.headers[name] = value
            response.content_length = answer.head.length
            await response.prepare(request)
            try:
                async for chunk in answer.body():
                    async with asyncio.timeout(_READER_WITHIN):
                        await response.write(chunk)
            except (Failure, TimeoutError, ConnectionError):
                response.force_close()  # the end of a stream, or an answer that was cut short
                if request.transport is not None and answer.head.length is not None:
                    request.transport.abort()
                return response
            await response.write_eof()
            return response

    def _with_environment(self, body: bytes) -> bytes:
        try:
            order = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            return body  # the daemon refuses it
        if isinstance(order, dict):
            order.setdefault("environment", dict(self._environment))
        return json.dumps(order).encode()
