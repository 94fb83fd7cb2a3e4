"""Speaks to etcd over its JSON gateway (/v3/, etcd 3.4 and later).

Owns the HTTP session, the login and its token, TLS, and the order in which endpoints are tried.
Turns every fault of the store into one `store-lost` failure. Must never wait longer than its caller
allows, and never log a password or a token.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from tunnelctl import clock
from tunnelctl.errors import Failure, printable, reason
from tunnelctl.fleet import sentences
from tunnelctl.fleet.file import StoreSettings
from tunnelctl.fleet.hedging import NobodyAnswered, hedged
from tunnelctl.net.threads import in_thread, shielded
from tunnelctl.spec.secret import ResolveSecret

Json = dict[str, Any]
T = TypeVar("T")

_LONGEST_ANSWER: Final = 16 * 1024 * 1024
_LONGEST_REASON: Final = 200
# A request ends when its caller gives it up.
_ENDLESS: Final = aiohttp.ClientTimeout(total=None)
# Seconds of a login, which computes, and for which nobody may wait any more.
_LOGGED_IN_WITHIN: Final = 10.0
# Seconds until a refused password is tried again, each of which etcd has to compute.
_REFUSED_FOR: Final = 5.0
# Codes of gRPC (google.rpc.Code), which the gateway passes on.
_INVALID, _DEADLINE, _DENIED, _EXHAUSTED = 3, 4, 7, 8
_PRECONDITION, _UNAVAILABLE, _UNAUTHENTICATED = 9, 14, 16
# Texts of etcd's api/v3rpc/rpctypes, where a code has several meanings.
_NO_AUTH = "authentication is not enabled"
_NO_USER = "user name is empty"
_BAD_LOGIN = "authentication failed"
_BAD_TOKEN = "invalid auth token"  # noqa: S105 - the text of an error
_NO_SPACE = "database space exceeded"
# What a server says that wants a certificate, in TLS 1.3 and before.
_CERTIFICATE_ALERTS = ("ALERT_CERTIFICATE_REQUIRED", "ALERT_BAD_CERTIFICATE")
NO_LEASE = "requested lease not found"


class EtcdError(Exception):
    """An answer that is an error of etcd: the code of gRPC, and its text."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = printable(text)[:_LONGEST_REASON]


@dataclass(frozen=True, slots=True)
class _RefusedLogin:
    """A password that was refused, and until when (clock.monotonic) it is not tried again."""

    password: str = field(repr=False)
    until: float


class Etcd:
    """One store. `resolve` reads the password whenever a login needs it; `prefix` is the part of
    the keys that is used, for messages."""

    def __init__(self, settings: StoreSettings, resolve: ResolveSecret, prefix: str) -> None:
        self.settings = settings
        self.prefix = prefix
        self._resolve = resolve
        self._first = 0  # of the endpoints, which answered last
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None
        self._token = ""
        self._logins: dict[str, asyncio.Task[None]] = {}  # under way, by URL
        self._refused: _RefusedLogin | None = None

    async def open(self) -> None:
        """Get ready for requests; no effect if it is.

        Raises:
            Failure: store-lost, a file for TLS cannot be used.
        """
        if self._session is not None:
            return
        if any(url.startswith("https:") for url in self.settings.endpoints):
            self._tls = await in_thread(self._tls_context, "the certificates for etcd")
        if self._session is None:  # nobody else has opened it meanwhile
            connector = aiohttp.TCPConnector(resolver=_Resolver())
            self._session = aiohttp.ClientSession(connector=connector, trust_env=False)

    async def close(self) -> None:
        """Close all connections."""
        for login in self._logins.values():
            login.cancel()
        await asyncio.gather(*self._logins.values(), return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def anywhere(self, work: Callable[[Member], Awaitable[T]], seconds: float) -> T:
        """The result of `work` at the endpoint where it succeeds first, within so many seconds in
        all. What answered last comes first; others are asked while it is slow (`hedging.py`). So
        `work` may run more than once, and at the same time.

        Raises:
            Failure: store-lost, with the reason of each endpoint.
        """
        await self.open()
        urls = self.settings.endpoints

        async def ask(at: int) -> T:
            return await work(Member(self, urls[at]))

        try:
            self._first, answer = await hedged(ask, len(urls), self._first, seconds)
        except NobodyAnswered as nobody:
            failures = nobody.failures
        else:
            return answer
        # Another endpoint comes first next time: this one may be the one that is cut off.
        self._first = (self._first + 1) % len(urls)
        found = [
            failures.get(at) or sentences.endpoint_silent(url, seconds)
            for at, url in enumerate(urls)
        ]
        raise sentences.several_endpoints(found) if len(found) > 1 else found[0]

    async def post(self, url: str, path: str, body: Json) -> Json:
        """One request, with a login if it is needed.

        Raises:
            EtcdError: etcd answers with an error.
            Failure: store-lost, something else happened.
        """
        if self.settings.user is not None and not self._token:
            await self._log_in(url)
        token = self._token
        try:
            return await self._post(url, path, body)
        except EtcdError as error:
            stale = error.code == _UNAUTHENTICATED or _BAD_TOKEN in error.text
            if self.settings.user is None or not (stale or _NO_USER in error.text):
                raise
            if self._token == token:  # nobody else has logged in meanwhile
                self._token = ""
                await self._log_in(url)
            return await self._post(url, path, body)

    async def watch(self, body: Json, quiet: float) -> AsyncGenerator[Json, None]:
        """The lines of a watch at the endpoint that answered last. It ends where it breaks off, and
        after `quiet` seconds without a line, because the endpoint may be cut off.

        Raises:
            EtcdError: etcd answers with an error.
            Failure: store-lost, something else happened.
        """
        await self.open()
        url = self.settings.endpoints[self._first]
        if self.settings.user is not None and not self._token:
            await self._log_in(url)
        endless = aiohttp.ClientTimeout(total=None, sock_connect=quiet, sock_read=quiet)
        try:
            async with self._request(url, "/v3/watch", body, endless) as response:
                while line := await response.content.readline():
                    yield _object(url, response.status, line)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _unreachable(url, error) from None

    async def _log_in(self, url: str) -> None:
        """One at a time at each member, which goes on when the request that needs it is given up:
        a login costs etcd a tenth of a second of computing, on purpose."""
        login = self._logins.get(url)
        if login is None:
            work = self._authenticate(url)
            login = asyncio.get_running_loop().create_task(work, name="fleet: log in")
            self._logins[url] = login
            login.add_done_callback(lambda ended: self._logged_in(url, ended))
        await shielded(login)

    def _logged_in(self, url: str, login: asyncio.Task[None]) -> None:
        del self._logins[url]
        if not login.cancelled():
            login.exception()  # perhaps nobody waits for it any more

    async def _authenticate(self, url: str) -> None:
        user, reference = self.settings.user, self.settings.password
        assert user is not None
        assert reference is not None
        password = await in_thread(lambda: self._resolve(reference), "the password for etcd")
        refused = self._refused
        if refused and refused.password == password and clock.monotonic() < refused.until:
            raise sentences.login_refused(url, user)
        body = {"name": user, "password": password}
        within = aiohttp.ClientTimeout(total=_LOGGED_IN_WITHIN)
        try:
            answer = await self._post(url, "/v3/auth/authenticate", body, within)
        except EtcdError as error:
            if _NO_AUTH in error.text:
                return
            if _BAD_LOGIN in error.text or error.code in (_INVALID, _UNAUTHENTICATED):
                self._refused = _RefusedLogin(password, clock.monotonic() + _REFUSED_FOR)
                raise sentences.login_refused(url, user) from None
            raise
        self._token = str(answer.get("token", ""))

    async def _post(
        self, url: str, path: str, body: Json, within: aiohttp.ClientTimeout = _ENDLESS
    ) -> Json:
        try:
            async with self._request(url, path, body, within) as response:
                raw = await response.content.read(_LONGEST_ANSWER)
                while part := await response.content.read(_LONGEST_ANSWER - len(raw)):
                    raw += part
                return _object(url, response.status, raw)
        except TimeoutError:
            raise sentences.endpoint_silent(url, within.total or 0.0) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(url, error) from None

    def _request(self, url: str, path: str, body: Json, timeout: aiohttp.ClientTimeout) -> Any:
        assert self._session is not None
        headers = {"Authorization": self._token} if self._token else {}
        return self._session.post(
            url + path,
            data=json.dumps(body).encode(),
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
            ssl=self._tls or True,
        )

    def _tls_context(self) -> ssl.SSLContext:
        """Blocking."""
        settings = self.settings
        file = settings.ca_file
        try:
            context = ssl.create_default_context(cafile=settings.ca_file)
            if settings.cert_file is not None:
                file = settings.cert_file
                context.load_cert_chain(settings.cert_file, settings.key_file, _no_passphrase)
        except (OSError, ValueError) as error:
            raise sentences.tls_files_unusable(file or "", reason(error)) from None
        return context


class _Resolver(AbstractResolver):
    """Names are looked up in threads of their own, because the loop's executor would delay the end
    of the process while a resolver hangs (net/threads.py)."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """See aiohttp."""
        found = await in_thread(
            lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM), f"look up {host}"
        )
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


class Member:
    """One endpoint, during one piece of work."""

    def __init__(self, etcd: Etcd, url: str) -> None:
        self._etcd = etcd
        self.url = url

    async def post(self, path: str, body: Json) -> Json:
        """One request.

        Raises:
            Failure: store-lost.
        """
        try:
            return await self._etcd.post(self.url, path, body)
        except EtcdError as error:
            raise self._explained(error) from None

    async def put_if(self, compare: list[Json], then: list[Json], other: list[Json]) -> Json:
        """A transaction.

        Raises:
            NoLease: it puts a key under a lease that has ended.
            Failure: store-lost.
        """
        body = {"compare": compare, "success": then, "failure": other}
        try:
            return await self._etcd.post(self.url, "/v3/kv/txn", body)
        except EtcdError as error:
            if NO_LEASE in error.text:
                raise NoLease from None
            raise self._explained(error) from None

    def _explained(self, error: EtcdError) -> Failure:
        url, user = self.url, self._etcd.settings.user
        if _NO_SPACE in error.text:
            return sentences.no_space(url)
        if error.code == _DENIED:
            return sentences.access_denied(url, user or "", self._etcd.prefix)
        if _NO_USER in error.text or error.code == _UNAUTHENTICATED:
            return sentences.login_needed(url)
        if error.code in (_UNAVAILABLE, _DEADLINE, _EXHAUSTED):
            return sentences.no_quorum(url, error.text)
        return sentences.refused_by_etcd(url, error.text)


class NoLease(Exception):
    """The lease has ended."""


def _object(url: str, status: int, raw: bytes) -> Json:
    """The JSON object of an answer. Raises EtcdError, or Failure if it is not etcd's."""
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        raise sentences.not_etcd(url, status) from None
    if not isinstance(answer, dict):
        raise sentences.not_etcd(url, status)
    error = answer.get("error")
    if isinstance(error, Mapping):  # of a stream
        code = error.get("grpc_code", error.get("code", 0))
        raise EtcdError(int(code), str(error.get("message", "")))
    if error is not None or status != 200:
        code = answer.get("code")
        if not isinstance(code, int):
            raise sentences.not_etcd(url, status)
        raise EtcdError(code, str(answer.get("message", error)))
    return answer


def _unreachable(url: str, error: Exception) -> Failure:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return sentences.tls_failed(url, _words(error.certificate_error))
    if isinstance(error, aiohttp.ClientResponseError):  # its parser's words have several lines
        return sentences.not_http(url)
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    elif isinstance(error, aiohttp.ClientOSError) and error.__cause__ is not None:
        cause = error.__cause__
    if isinstance(cause, ssl.SSLError):
        words = _words(cause)
        is_asked = any(alert in words for alert in _CERTIFICATE_ALERTS)
        return sentences.certificate_needed(url) if is_asked else sentences.tls_failed(url, words)
    if isinstance(cause, ConnectionResetError | aiohttp.ServerDisconnectedError):
        return sentences.connection_closed(url)
    return sentences.endpoint_unreachable(url, _words(cause))


def _words(error: BaseException) -> str:
    text = getattr(error, "verify_message", "") or getattr(error, "reason", "")
    number = error.errno if isinstance(error, OSError) else None
    if not text and number is not None and number > 0:  # asyncio adds addresses
        text = os.strerror(number)
    text = text or (reason(error) if isinstance(error, Exception) else str(error))
    return printable(str(text))[:_LONGEST_REASON]


def _no_passphrase() -> str:
    raise ValueError(sentences.key_has_passphrase())
