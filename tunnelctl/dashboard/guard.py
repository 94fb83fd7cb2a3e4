"""Checks every request before it is handled, and marks every answer.

Owns the order of the checks: the name in `Host` (421: DNS rebinding), the login (401), the user
(403), where it comes from (403), and whether orders are allowed (403). What a browser may do with
an answer is in its headers: no other page may frame or read it, and it runs no script but ours.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from tunnelctl import __version__
from tunnelctl.daemon.problems import as_problem
from tunnelctl.dashboard import sentences
from tunnelctl.dashboard.login import Login
from tunnelctl.errors import Failure

_log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Server": f"tunnelctl/{__version__}",
}
_READS = frozenset({"GET", "HEAD"})
# Parameters of GET /v1/events that change something: hosts try again, profiles are released.
_ORDERING = ("answer", "lease", "orders")
# Of Sec-Fetch-Site (Fetch Metadata): the page itself, and an address that a person typed.
_FROM_HERE = frozenset({"same-origin", "none"})


class Guard:
    """The checks of a dashboard that listens on `port`; `refused_page` is for a person who is not
    logged in."""

    def __init__(self, port: int, login: Login, refused_page: bytes, *, read_only: bool) -> None:
        self._hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]"))
        self._login = login
        self._refused_page = refused_page
        self._read_only = read_only

        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                await self._check(request)
                return await handler(request)
            except web.HTTPUnauthorized as error:
                return self._not_logged_in(request, error)
            except (web.HTTPException, Failure) as error:
                return as_problem(error)
            except Exception as error:
                _log.exception("%s %s failed", request.method, request.path)
                return as_problem(sentences.error_inside(type(error).__name__))

        self.middleware = around

    async def _check(self, request: web.Request) -> None:
        """
        Raises:
            web.HTTPException: the request is refused.
        """
        hosts = [host.lower() for host in request.headers.getall("Host", ())]
        # An address in the request line would take the place of Host (RFC 9112, 3.2.2).
        if len(hosts) != 1 or hosts[0] not in self._hosts or not request.raw_path.startswith("/"):
            raise web.HTTPMisdirectedRequest(text=sentences.not_our_name())
        if not await self._is_logged_in(request):
            raise web.HTTPUnauthorized(text=sentences.not_logged_in())
        if not await self._login.is_ours(request):
            raise web.HTTPForbidden(text=sentences.another_users())
        is_order = request.method not in _READS or any(key in request.query for key in _ORDERING)
        if not self._is_from_here(request, hosts[0], is_order=is_order):
            raise web.HTTPForbidden(text=sentences.from_another_site())
        if is_order and self._read_only:
            raise web.HTTPForbidden(text=sentences.read_only())

    async def _is_logged_in(self, request: web.Request) -> bool:
        """By the cookie, or by the token, which is looked at only from this user, who alone can use
        it up."""
        if self._brings_token(request):
            return await self._login.is_ours(request) and self._login.redeem(request.query["token"])
        return self._login.knows(request)

    @staticmethod
    def _brings_token(request: web.Request) -> bool:
        return request.method == "GET" and request.path == "/" and "token" in request.query

    def _not_logged_in(self, request: web.Request, error: web.HTTPException) -> web.Response:
        """For a person a page, for a program a problem."""
        if "text/html" not in request.headers.get("Accept", ""):
            return as_problem(error)
        return web.Response(status=401, body=self._refused_page, content_type="text/html")

    def _is_from_here(self, request: web.Request, host: str, *, is_order: bool) -> bool:
        """Whether no other site sent it: not even one on another port of 127.0.0.1, for which
        browsers send the cookie too. Other pages may link to this one."""
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            return False
        is_visit = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.path == "/"
        if is_visit and not is_order:
            return True
        return request.headers.get("Sec-Fetch-Site", "none") in _FROM_HERE


async def harden(request: web.Request, response: web.StreamResponse) -> None:
    """Mark an answer; for `on_response_prepare`."""
    response.headers.update(HEADERS)
