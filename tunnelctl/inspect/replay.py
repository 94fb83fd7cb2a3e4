"""A request that was seen, sent again; and its answer.

Owns the choice of headers: those of one connection alone (RFC 9110 section 7.6.1) are left out, and
those that were blacked out unless the user gives them. Decides nothing about where it is sent: the
caller has connected to the forward's own target.
"""

from __future__ import annotations

import asyncio
import socket

from tunnelctl.inspect import sentences
from tunnelctl.inspect.bodies import BODY_MAX
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.exchange import (
    SECRET_HEADERS,
    Headers,
    HttpExchange,
    HttpMessage,
)

MARK = "Tunnelctl-Replay"
_OF_CONNECTION = frozenset(
    {
        "connection",
        "expect",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_ANSWER_WITHIN = 30.0  # seconds
_READ = 65536


@dataclass(frozen=True, slots=True)
class ReplayAnswer:
    """`left_out` names the headers that were not sent because they had been blacked out."""

    status: int
    response: HttpMessage
    left_out: tuple[str, ...]


class Replay:
    """One exchange, to be sent again. `given` are the user's headers, which replace those of the
    request.

    Raises:
        Failure: usage, it cannot be sent.
    """

    def __init__(self, exchange: HttpExchange, given: Headers) -> None:
        number, request = str(exchange.id), exchange.request
        if exchange.method == "CONNECT" or exchange.status == 101:
            raise sentences.replay_of_switch(number)
        if request.truncated:
            if request.size == len(request.body):
                raise sentences.replay_lacks_end(number)
            raise sentences.replay_lacks_body(number, request.size, len(request.body))
        self.number = number
        self._method = exchange.method
        self._path = exchange.path
        self._body = bytes(request.body)
        replaced = {name.lower() for name, _ in given}
        kept = _end_to_end(request.headers)
        hidden = [name for name, _ in kept if name.lower() in SECRET_HEADERS - replaced]
        self._left_out = tuple(dict.fromkeys(hidden))
        left = SECRET_HEADERS | replaced | {"content-length", MARK.lower()}
        headers = [pair for pair in kept if pair[0].lower() not in left]
        headers += [*given, (MARK, number), ("Connection", "close")]
        if self._body or any(name.lower() == "content-length" for name, _ in kept):
            headers.append(("Content-Length", str(len(self._body))))
        self._headers = headers

    async def send(self, sock: socket.socket, target: str) -> ReplayAnswer:
        """Send it to the `target` that the socket is connected to, which is closed then.

        Raises:
            Failure: target-unreachable, no answer came; or usage, a header is invalid.
        """
        try:
            async with asyncio.timeout(_ANSWER_WITHIN):
                return await self._exchange(sock, target)
        except TimeoutError:
            why = f"nothing within {_ANSWER_WITHIN:g} s"
            raise sentences.replay_not_answered(self.number, target, why) from None
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise sentences.replay_not_answered(self.number, target, why) from None
        finally:
            sock.close()

    async def _exchange(self, sock: socket.socket, target: str) -> ReplayAnswer:
        import h11  # only where something is inspected

        from tunnelctl.inspect.heads import headers_of

        loop, connection = asyncio.get_running_loop(), h11.Connection(h11.CLIENT)
        try:
            headers = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in self._headers]
            request = h11.Request(method=self._method, target=self._path, headers=headers)
            head = connection.send(request) or b""
            body = connection.send(h11.Data(data=self._body)) or b""
            end = connection.send(h11.EndOfMessage()) or b""
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise sentences.replay_header_invalid(str(error)) from None
        await loop.sock_sendall(sock, head + body + end)
        status, response = 0, HttpMessage("", ())
        while len(response.body) < BODY_MAX:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                raise sentences.replay_not_answered(self.number, target, str(error)) from None
            if event is h11.NEED_DATA:
                connection.receive_data(await loop.sock_recv(sock, _READ))
            elif isinstance(event, h11.Response):
                version = f"HTTP/{event.http_version.decode()}"
                status, response = event.status_code, HttpMessage(version, headers_of(event))
            elif isinstance(event, h11.Data):
                response.size += len(event.data)
                response.body += event.data[: BODY_MAX - len(response.body)]
            elif not isinstance(event, h11.InformationalResponse):
                break
        else:
            response.is_cut = True  # the rest is not waited for
        return ReplayAnswer(status, response, self._left_out)


def _end_to_end(headers: Headers) -> Headers:
    """The headers that are not about one connection alone."""
    named = {
        word.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for word in value.split(",")
    }
    return tuple(pair for pair in headers if pair[0].lower() not in _OF_CONNECTION | named)
