"""Admits the browser that was given the dashboard's address, if this user runs it.

Owns the token, which works once, and the session's cookie, which takes its place. Cookies do not
know ports (RFC 6265, 8.5): a service on another port of 127.0.0.1 gets ours from the same browser.
So its name contains the port, and where the system tells whose a connection is, the cookie alone
lets in nobody but this user. Must never log the token or the cookie.
"""

from __future__ import annotations

import hmac
import os
import secrets
from weakref import WeakKeyDictionary

from aiohttp import web

from tunnelctl.net.tcp_clients import client_uid
from tunnelctl.net.threads import in_thread

_BYTES = 32  # of randomness


class Login:
    """The token and the session of one dashboard, which listens on `port`."""

    def __init__(self, port: int) -> None:
        self.cookie = f"tunnelctl-{port}"
        self._token: str | None = secrets.token_urlsafe(_BYTES)
        self._session = secrets.token_urlsafe(_BYTES)
        # Whether a connection is this user's: looked up once for each.
        self._ours: WeakKeyDictionary[object, bool] = WeakKeyDictionary()

    @property
    def token(self) -> str:
        """The token; empty once it was used."""
        return self._token or ""

    def redeem(self, token: str) -> bool:
        """Whether it is the token, which works no more after that."""
        if self._token is None or not _same(token, self._token):
            return False
        self._token = None
        return True

    def begin(self, response: web.StreamResponse) -> None:
        """Give the browser the cookie, until it is closed."""
        response.set_cookie(self.cookie, self._session, path="/", httponly=True, samesite="Strict")

    def knows(self, request: web.Request) -> bool:
        """Whether the request has the cookie. Other services can set one of the same name, so any
        of several may be ours."""
        for header in request.headers.getall("Cookie", ()):
            for pair in header.split(";"):
                name, _, value = pair.strip().partition("=")
                if name == self.cookie and _same(value, self._session):
                    return True
        return False

    async def is_ours(self, request: web.Request) -> bool:
        """Whether a process of this user or of root sent the request; true where the system does
        not tell."""
        transport = request.transport
        if transport is None:
            return False
        if transport not in self._ours:
            client, server = (transport.get_extra_info(n) for n in ("peername", "sockname"))
            if client is None or server is None:
                return False
            found = await in_thread(lambda: client_uid(client, server), "whose connection it is")
            self._ours[transport] = found in {None, 0, os.geteuid()}
        return self._ours[transport]


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())
