"""Proxies on the way to a host: SOCKS 5 (RFC 1928, 1929) and HTTP CONNECT (RFC 9110 section 9.3.6).

Owns the exchange before SSH begins. The proxy resolves the name of the host. Must never take a byte
that belongs to SSH, never keep or show a password, and never read more of an answer than is
reasonable.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import functools
import ipaddress
import socket

from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.endpoint import bracketed
from tunnelctl.spec.host import Host, Proxy, ProxyKind
from tunnelctl.spec.secret import ResolveSecret
from tunnelctl.ssh.reach import sentences
from tunnelctl.ssh.reach.dial import dial
from tunnelctl.ssh.sentences import excerpt, no_answer

_VERSION = 5
_CONNECT = 1
_NO_AUTHENTICATION, _PASSWORD = 0, 2
_IPV4, _NAME, _IPV6 = 1, 3, 4
_LENGTH_MAX = 255  # RFC 1928 and 1929 count names and passwords in one byte
_HEADER_MAX = 16 * 1024
_HEADER_END = b"\r\n\r\n"

# RFC 1928 section 6: the replies that refuse.
_REPLIES = {
    1: (Code.UNREACHABLE, "general failure"),
    2: (Code.FORWARD_DENIED, "not allowed by its rules"),
    3: (Code.UNREACHABLE, "network unreachable"),
    4: (Code.UNREACHABLE, "host unreachable"),
    5: (Code.CONNECTION_REFUSED, "connection refused"),
    6: (Code.TIMED_OUT, "timed out"),
    7: (Code.HANDSHAKE_FAILED, "it does not support CONNECT"),
    8: (Code.HANDSHAKE_FAILED, "it does not support this type of address"),
}
# RFC 9110 section 15: the failure for a status; others by their class.
_STATUSES = {
    401: Code.AUTH_FAILED,
    403: Code.FORWARD_DENIED,
    405: Code.FORWARD_DENIED,
    407: Code.AUTH_FAILED,
    504: Code.TIMED_OUT,
}


class _Refused(Exception):
    """The proxy does not connect: a code, and the reason in the proxy's words or ours."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why


async def dial_through(
    host: Host, proxy: Proxy, resolve_secret: ResolveSecret, deadline: float
) -> socket.socket:
    """Connect to `host` through `proxy` before `deadline` (a moment of `clock.monotonic`).

    The socket is as from `dial`, and the next byte to read is the host's first. Cancelling leaves
    no socket.

    Raises:
        Failure: that names host and proxy; as `dial` for the proxy itself, auth-failed when it asks
            for other credentials, forward-denied when it forbids, and what `resolve_secret` raises.
    """
    password = await _password(proxy, resolve_secret)
    sock = await _dial_proxy(host, proxy, deadline)
    speak = _socks5 if proxy.kind is ProxyKind.SOCKS5 else _http_connect
    try:
        async with asyncio.timeout(max(0.0, deadline - clock.monotonic())):
            await speak(_Conversation(sock), host, proxy, password)
    except BaseException as error:
        sock.close()
        if isinstance(error, TimeoutError):
            raise no_answer(host, f"talking to the proxy {proxy}") from None
        if isinstance(error, _Refused):
            raise sentences.proxy_refused(host, proxy, error.code, error.why) from None
        if isinstance(error, OSError):
            why = f"the connection broke: {error.strerror or error}"
            raise sentences.proxy_refused(host, proxy, Code.HANDSHAKE_FAILED, why) from None
        raise
    return sock


async def _password(proxy: Proxy, resolve_secret: ResolveSecret) -> str | None:
    if proxy.password is None:
        return None
    return await in_thread(functools.partial(resolve_secret, proxy.password), "secret of a proxy")


async def _dial_proxy(host: Host, proxy: Proxy, deadline: float) -> socket.socket:
    there = dataclasses.replace(host, name=str(proxy), hostname=proxy.hostname, port=proxy.port)
    try:
        return await dial(there, deadline)
    except Failure as failure:
        raise sentences.proxy_unreachable(host, proxy, failure) from None


class _Conversation:
    """Bytes to and from the proxy, none more than needed."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    async def receive(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        data = b""
        while len(data) < count:
            piece = await self._loop.sock_recv(self._sock, count - len(data))
            if not piece:
                raise _Refused(Code.HANDSHAKE_FAILED, "it closed the connection")
            data += piece
        return data

    async def receive_until(self, end: bytes, limit: int) -> bytes:
        """Up to and including `end`, which must come within `limit` bytes; later bytes stay."""
        data = b""
        while True:
            piece = await self._peek(limit)
            if not piece:
                raise _Refused(Code.HANDSHAKE_FAILED, "it closed the connection")
            found = (data + piece).find(end)
            size = len(piece) if found < 0 else found + len(end) - len(data)
            data += await self.receive(size)
            if found >= 0:
                return data
            if len(data) >= limit:
                raise _Refused(Code.HANDSHAKE_FAILED, f"its answer is longer than {limit} bytes")

    async def _peek(self, count: int) -> bytes:
        """Available bytes, at most `count`, without taking them; waits for the first one."""
        while True:
            try:
                return self._sock.recv(count, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                await self._readable()

    async def _readable(self) -> None:
        event = asyncio.Event()
        self._loop.add_reader(self._sock, event.set)
        try:
            await event.wait()
        finally:
            self._loop.remove_reader(self._sock)


async def _socks5(talk: _Conversation, host: Host, proxy: Proxy, password: str | None) -> None:
    methods = bytes(
        (_NO_AUTHENTICATION,) if proxy.user is None else (_NO_AUTHENTICATION, _PASSWORD)
    )
    await talk.send(bytes((_VERSION, len(methods))) + methods)
    version, method = await talk.receive(2)
    if version != _VERSION:
        raise _Refused(Code.HANDSHAKE_FAILED, "it does not speak SOCKS 5")
    if method == _PASSWORD and proxy.user is not None:
        await _socks5_log_in(talk, proxy.user, password or "")
    elif method != _NO_AUTHENTICATION:
        offered = "a user and password" if proxy.user is None else "another way to log in"
        raise _Refused(Code.AUTH_FAILED, f"it asks for {offered}")
    request = bytes((_VERSION, _CONNECT, 0)) + _address(host.hostname)
    await talk.send(request + host.port.to_bytes(2, "big"))
    version, reply, _, kind = await talk.receive(4)
    if version != _VERSION:
        raise _Refused(Code.HANDSHAKE_FAILED, "it does not speak SOCKS 5")
    if reply:
        raise _Refused(*_REPLIES.get(reply, (Code.HANDSHAKE_FAILED, f"its reply is {reply}")))
    # The address that it connected from, which is not needed but must be read.
    sizes = {_IPV4: 4, _IPV6: 16}
    if kind != _NAME and kind not in sizes:
        raise _Refused(Code.HANDSHAKE_FAILED, f"its reply has an address of kind {kind}")
    size = sizes[kind] if kind != _NAME else (await talk.receive(1))[0]
    await talk.receive(size + 2)


async def _socks5_log_in(talk: _Conversation, user: str, password: str) -> None:
    """RFC 1929."""
    words = (user.encode(), password.encode())
    if not all(0 < len(word) <= _LENGTH_MAX for word in words):
        raise _Refused(Code.CONFIG_INVALID, "SOCKS 5 takes users and passwords of 1 to 255 bytes")
    await talk.send(b"\1" + b"".join(bytes((len(word),)) + word for word in words))
    _, status = await talk.receive(2)
    if status:
        raise _Refused(Code.AUTH_FAILED, f"it does not accept the password of {excerpt(user)}")


def _address(hostname: str) -> bytes:
    """A host in a SOCKS 5 request: an address, or a name that the proxy resolves."""
    try:
        address = ipaddress.ip_address(hostname)
    except ValueError:
        name = _ascii(hostname)
        if len(name) > _LENGTH_MAX:
            raise _Refused(Code.CONFIG_INVALID, "a host name has at most 255 bytes") from None
        return bytes((_NAME, len(name))) + name
    return bytes((_IPV4 if address.version == 4 else _IPV6,)) + address.packed


def _ascii(hostname: str) -> bytes:
    try:
        name = hostname.encode("ascii" if hostname.isascii() else "idna")
    except UnicodeError:
        name = b""
    # No character that could end a line of an HTTP request, or a name.
    if not name or not all(0x21 <= byte < 0x7F for byte in name):
        raise _Refused(Code.CONFIG_INVALID, f"'{excerpt(hostname)}' is not a valid host name")
    return name


async def _http_connect(
    talk: _Conversation, host: Host, proxy: Proxy, password: str | None
) -> None:
    name = _ascii(host.hostname).decode()
    target = f"{bracketed(name)}:{host.port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user is not None:
        if ":" in proxy.user:  # RFC 7617 section 2
            raise _Refused(Code.CONFIG_INVALID, "the user of an HTTP proxy cannot contain a colon")
        basic = base64.b64encode(f"{proxy.user}:{password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {basic}")
    await talk.send("\r\n".join((*lines, "", "")).encode())
    left = _HEADER_MAX
    while True:
        header = await talk.receive_until(_HEADER_END, left)
        left -= len(header)
        status, said = _status(header)
        if 200 <= status < 300:
            return
        if status >= 200:
            break
        if left <= 0:  # RFC 9110 section 15.2: any number of 1xx may come first
            raise _Refused(Code.HANDSHAKE_FAILED, "no final answer")
    others = Code.UNREACHABLE if status >= 500 else Code.HANDSHAKE_FAILED
    raise _Refused(_STATUSES.get(status, others), f'it said "{said}"')


def _status(header: bytes) -> tuple[int, str]:
    """The status, and the text of it for a message (RFC 9112 section 4)."""
    line = header.split(b"\r\n", 1)[0].decode("latin-1")
    version, _, rest = line.partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdecimal() or rest[3:4] not in ("", " "):
        raise _Refused(Code.HANDSHAKE_FAILED, f'it does not speak HTTP: "{excerpt(line)}"')
    return int(rest[:3]), excerpt(rest)
