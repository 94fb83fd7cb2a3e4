"""The routes of the dashboard: the page and its files, the live view, and the control API below it.

Owns which file is served under which name: nothing that a request says becomes a path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from importlib.resources import files
from typing import Any

from aiohttp import web

from tunnelctl.daemon.request_parts import read_body
from tunnelctl.dashboard import adhoc_command, sentences
from tunnelctl.dashboard.daemon_client import DaemonClient
from tunnelctl.dashboard.guard import Guard, harden
from tunnelctl.dashboard.live import Live
from tunnelctl.dashboard.login import Login
from tunnelctl.dashboard.pass_on import PassOn
from tunnelctl.spec.environment import MOST_BYTES, Environment

_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
_PAGE, _REFUSED = "page.html", "refused.html"
_STREAMS = 32  # browsers that listen at the same time
_READER_WITHIN = 30.0  # seconds for a browser to take what was sent
_BODY_BYTES = MOST_BYTES + 64 * 1024  # as the daemon's


class Dashboard:
    """The application of one dashboard."""

    def __init__(
        self, daemon: DaemonClient, login: Login, environment: Environment, *, read_only: bool
    ) -> None:
        self._login = login
        self._read_only = read_only
        self._environment = environment
        self._live = Live(daemon, read_only=read_only)
        self._pass_on = PassOn(daemon, environment)
        self._files = _read_files()

    def application(self, port: int, *middlewares: Any) -> web.Application:
        """The routes, behind the guard of `port`; `middlewares` are outside of it."""
        refused = self._files[_REFUSED]
        guard = Guard(port, self._login, refused, read_only=self._read_only)
        application = web.Application(
            middlewares=[*middlewares, guard.middleware], client_max_size=_BODY_BYTES
        )
        application.on_response_prepare.append(harden)
        routes = application.router
        routes.add_get("/", self._page)
        routes.add_get("/static/{name:.+}", self._file)
        # A stream has no end that HEAD could tell.
        routes.add_get("/v1/view", self._view, allow_head=False)
        routes.add_post("/v1/adhoc", self._open_adhoc)
        routes.add_get("/v1/{rest:.+}", self._pass_on.question, allow_head=False)
        routes.add_post("/v1/{rest:.+}", self._pass_on.order)
        return application

    async def _page(self, request: web.Request) -> web.Response:
        """The page; with the token, which the guard has checked, the cookie and the way there."""
        if "token" not in request.query:
            return _file_answer(self._files, _PAGE)
        # After a link on another page, or in a file, a browser sends no Strict cookie to where it
        # is redirected; but it does when this answer itself leads there.
        is_linked = request.headers.get("Sec-Fetch-Site") == "cross-site"
        status, header = (200, {"Refresh": "0; url=/"}) if is_linked else (303, {"Location": "/"})
        response = web.Response(status=status, headers=header)
        self._login.begin(response)
        return response

    async def _file(self, request: web.Request) -> web.Response:
        return _file_answer(self._files, request.match_info["name"])

    async def _view(self, request: web.Request) -> web.StreamResponse:
        """The whole view once; or, for a client that accepts a stream of events, `daemon` and
        `view` at each change, and each line of the `log`."""
        if "text/event-stream" not in request.headers.get("Accept", ""):
            return web.json_response(await self._live.view())
        if self._live.listeners >= _STREAMS:
            raise web.HTTPServiceUnavailable(text=sentences.too_many_browsers())
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        with self._live.listening() as listener:
            await response.prepare(request)
            async with aclosing(listener.messages()) as messages:
                try:
                    async for message in messages:
                        async with asyncio.timeout(_READER_WITHIN):
                            await response.write(message)
                except (TimeoutError, ConnectionError):
                    pass  # the browser has gone, or takes nothing
        response.force_close()
        return response

    async def _open_adhoc(self, request: web.Request) -> web.Response:
        words = adhoc_command.words_of(await read_body(request))
        return web.json_response(await adhoc_command.opened(words, self._environment))


def _read_files() -> dict[str, bytes]:
    """Every file of the page by its name, read once."""
    found: dict[str, bytes] = {}

    def add(folder: Any, prefix: str) -> None:
        for entry in folder.iterdir():
            name = f"{prefix}{entry.name}"
            if entry.is_dir():
                add(entry, f"{name}/")
            elif any(name.endswith(ending) for ending in _TYPES):
                found[name] = entry.read_bytes()

    add(files("tunnelctl.dashboard") / "static", "")
    return found


def _file_answer(found: Mapping[str, bytes], name: str) -> web.Response:
    if name not in found:
        raise web.HTTPNotFound(text=sentences.no_such_file())
    content_type = _TYPES[name[name.rindex(".") :]]
    return web.Response(body=found[name], content_type=content_type, charset="utf-8")
