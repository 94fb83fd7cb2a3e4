"""Accepts clients at a listener: which ones, how many, and how long they may be silent.

Owns the accepted connections until aiohttp has their request. Must never serve another user at the
control socket, and never let idle clients keep others out: if all places are taken, a silent one is
closed. Also answers when the process has no descriptor left.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from tunnelctl import __version__
from tunnelctl.daemon import sentences
from tunnelctl.daemon.problems import as_problem
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.net.peers import is_ours, peer_uid

_log = logging.getLogger(__name__)

_SILENT = 32  # clients that have not sent a request yet
_CLIENTS = 1024
_SPEAK_WITHIN = 5.0  # seconds to send the head of a request, and to receive an answer
_ACCEPT_PAUSE = 0.05  # seconds after an accept failed, as without free descriptors
_TROUBLE = "lack of descriptors"
_FINISH_WITHIN = 1.0  # seconds for answers under way when the server stops

# Of the answer to what is no request; all others are the application's.
_HEADERS = {"Server": f"tunnelctl/{__version__}"}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ControlServer:
    """Serves an application on a listening socket, which its owner closes.

    `middleware` must be the outermost one of the application passed to `start`. `on_activity` is
    called when a request begins and when it ends. `admits` decides whether a client is served.
    `headers` are those of the answer to what is no request, which no middleware sees.
    """

    def __init__(
        self,
        listener: socket.socket,
        troubles: Troubles,
        on_activity: Callable[[], None] = lambda: None,
        admits: Callable[[socket.socket], bool] = is_ours,
        headers: Mapping[str, str] = _HEADERS,
    ) -> None:
        self._listener = listener
        self._admits = admits
        self._headers = headers
        self._troubles = troubles
        # Closed to free a descriptor for a client when the process has no other.
        self._reserve: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._on_activity = on_activity
        self._runner: web.AppRunner | None = None
        self._accepting: asyncio.Task[None] | None = None
        # A connection is silent (with the timer that cuts it) or served (None).
        self._clients: dict[asyncio.BaseTransport, asyncio.TimerHandle | None] = {}

        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._serve(request, handler)

        self.middleware = around

    @property
    def serving(self) -> int:
        """The number of requests that are being answered."""
        return sum(1 for timer in self._clients.values() if timer is None)

    async def start(self, application: web.Application) -> None:
        """Start to accept clients."""
        self._runner = web.AppRunner(
            application,
            access_log=None,
            handle_signals=False,
            handler_cancellation=True,
            shutdown_timeout=_FINISH_WITHIN,
        )
        await self._runner.setup()
        self._accepting = asyncio.create_task(self._accept(), name="control socket")

    async def move(self, listener: socket.socket) -> None:
        """Accept clients at this socket from now on; connected ones stay."""
        await self._pause()
        self._listener = listener
        self._accepting = asyncio.create_task(self._accept(), name="control socket")

    async def refuse(self) -> None:
        """Accept no more clients; the listener can be closed. Requests under way continue."""
        await self._pause()
        self._give_reserve()

    async def stop(self) -> None:
        """End the requests under way; called after `refuse`."""
        if self._runner is not None:
            await self._runner.cleanup()
        for transport, timer in self._clients.items():
            if timer is not None:
                timer.cancel()
            _abort(transport)
        self._clients.clear()

    async def _pause(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                self._troubles.begin(
                    _TROUBLE,
                    f"cannot accept at the control socket: {error.strerror} (ulimit -n and the "
                    "service's LimitNOFILE= limit the open files)",
                )
                if not self._give_reserve():
                    await asyncio.sleep(_ACCEPT_PAUSE)
                    self._take_reserve()
                continue
            try:
                await self._admit(sock)
            except OSError:  # it disconnected meanwhile
                sock.close()
            self._take_reserve()

    def _take_reserve(self) -> None:
        if self._reserve is None:
            with contextlib.suppress(OSError):  # none is free yet
                self._reserve = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
                self._troubles.end(_TROUBLE)

    def _give_reserve(self) -> bool:
        """Free the reserved descriptor; returns whether there was one."""
        reserve, self._reserve = self._reserve, None
        if reserve is not None:
            os.close(reserve)
        return reserve is not None

    async def _admit(self, sock: socket.socket) -> None:
        if not self._admits(sock):
            _log.warning("refused a client of user id %s", peer_uid(sock))
            sock.close()
            return
        if not self._make_room():
            sock.close()
            return
        assert self._runner is not None
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        transport, _ = await loop.connect_accepted_socket(
            lambda: _Protocol(server, self._headers, loop), sock
        )
        self._cut_later(transport)

    def _make_room(self) -> bool:
        """Whether one more client fits, after closing the one that was silent longest if
        necessary."""
        for transport in [t for t in self._clients if t.is_closing()]:
            self._forget(transport)
        silent = [t for t, timer in self._clients.items() if timer is not None]
        if len(silent) < _SILENT and len(self._clients) < _CLIENTS:
            return True
        if not silent:
            return False
        self._forget(silent[0])
        _abort(silent[0])
        return True

    def _cut_later(self, transport: asyncio.BaseTransport) -> None:
        self._forget(transport)
        loop = asyncio.get_running_loop()
        self._clients[transport] = loop.call_later(_SPEAK_WITHIN, self._cut, transport)

    def _cut(self, transport: asyncio.BaseTransport) -> None:
        self._forget(transport)
        _abort(transport)

    def _forget(self, transport: asyncio.BaseTransport) -> None:
        timer = self._clients.pop(transport, None)
        if timer is not None:
            timer.cancel()

    async def _serve(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._forget(transport)
        self._clients[transport] = None
        self._on_activity()
        try:
            return await handler(request)
        finally:
            self._cut_later(transport)
            self._on_activity()


class _Protocol(web.RequestHandler):
    """Answers what is no request as other errors are. aiohttp would repeat it, in an answer that
    a browser may take for a page."""

    __slots__ = ("_headers",)

    def __init__(
        self, server: web.Server, headers: Mapping[str, str], loop: asyncio.AbstractEventLoop
    ) -> None:
        # As AppRunner does without a log of requests.
        super().__init__(server, loop=loop, access_log=None)  # type: ignore[arg-type]
        self._headers = headers

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        _log.debug("an answer of %s: %s", status, type(exc).__name__)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun")
        if status == web.HTTPBadRequest.status_code:
            response = as_problem(web.HTTPBadRequest(text=sentences.not_http()))
        else:  # outside of all middlewares
            response = as_problem(exc if isinstance(exc, Exception) else RuntimeError())
        response.headers.update(self._headers)
        response.force_close()
        return response


def _abort(transport: asyncio.BaseTransport) -> None:
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()
