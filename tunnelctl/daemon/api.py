"""The control API (SPEC section 4): what the command line and programs ask of the daemon.

Owns the routes and the shape of requests and answers. Decides nothing about tunnels: it reads the
supervisor's snapshot and hands orders on. Must never put a secret into an answer or a log line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web

from tunnelctl import __version__
from tunnelctl.clock import rfc3339, wall
from tunnelctl.config.find import find_profile, is_profile_name
from tunnelctl.config.load import load_profile
from tunnelctl.daemon.leases import Leases
from tunnelctl.daemon.problems import BadRequest, as_problem
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.profile import Profile
from tunnelctl.state.snapshot import API_VERSION, ProfileStatus, Wanted
from tunnelctl.supervisor.supervisor import Supervisor

_log = logging.getLogger(__name__)

_BODY_BYTES = 64 * 1024
_BODY_WITHIN = 5.0  # seconds
_DRAIN = 10.0  # seconds, when `down` does not say
_LONGEST_DRAIN = 3600.0
_STREAMS = 24  # event streams at once; the rest of the server's clients stays for questions
_LEASE = re.compile(r"[0-9a-f]{16,64}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The application and what it needs to know of the daemon around it.

    `stop` is called once for `shutdown`; `environ` and `cwd` are the daemon's own, for profiles
    that it must find itself.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        environ: Mapping[str, str],
        cwd: Path,
        stop: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._environ = dict(environ)
        self._cwd = cwd
        self._stop = stop
        self._started_at = rfc3339(wall())
        self._leases = Leases()
        self._streams = 0
        self._takedowns: set[asyncio.Task[None]] = set()

    def application(self, *middlewares: Any) -> web.Application:
        """The routes; `middlewares` go around everything."""
        application = web.Application(
            middlewares=[*middlewares, _answer_problems], client_max_size=_BODY_BYTES
        )
        application.router.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/v1/version", self._version),
                web.get("/v1/status", self._status),
                web.get("/v1/events", self._events),
                web.post("/v1/profiles/{name}/up", self._up),
                web.post("/v1/profiles/{name}/keep", self._keep),
                web.post("/v1/profiles/{name}/down", self._down),
                web.post("/v1/profiles/{name}/restart", self._restart),
                web.post("/v1/shutdown", self._shutdown),
            ]
        )
        application.on_response_prepare.append(_name_version)
        return application

    async def up(self, name: str, order: UpOrder) -> ProfileStatus:
        """Load a profile from its file and have it up.

        Raises:
            Failure: PROFILE_NOT_FOUND, CONFIG_INVALID; nothing that runs was changed.
        """
        environ = _overlaid(self._environ, order.environment)
        profile = await asyncio.to_thread(self._load, name, order.file, environ)
        known = self._supervisor.status_of(name)
        fresh = known is None or known.wanted is not Wanted.UP
        await self._supervisor.up(profile, environ)
        if order.lease is None:
            self._leases.keep(name)
        elif not self._leases.is_open(order.lease):
            if fresh:  # its command was killed meanwhile
                self._take_down((name,))
        elif fresh:
            self._leases.hold(order.lease, name)
        return self._known(name)

    def any_wanted(self) -> bool:
        """Whether some profile is to be up."""
        return any(profile.wanted is Wanted.UP for profile in self._supervisor.status())

    async def close(self) -> None:
        """End what goes on behind the requests."""
        for task in self._takedowns:
            task.cancel()
        await asyncio.gather(*self._takedowns, return_exceptions=True)

    def _load(self, name: str, file: Path | None, environ: Mapping[str, str]) -> Profile:
        known = self._supervisor.status_of(name)
        if file is None and known is not None:
            file = Path(known.source)
        path = find_profile(name, file=file, environ=environ, cwd=self._cwd)
        return load_profile(path, environ, name=name).profile

    def _known(self, name: str) -> ProfileStatus:
        status = self._supervisor.status_of(name)
        if status is None:
            raise Failure(Code.PROFILE_NOT_FOUND, f"the daemon knows no profile {name!r}")
        return status

    # --- questions ---------------------------------------------------------------------------

    async def _healthz(self, request: web.Request) -> web.Response:
        return _answer({"status": "ok"})

    async def _version(self, request: web.Request) -> web.Response:
        return _answer({"version": __version__, "pid": os.getpid()})

    async def _status(self, request: web.Request) -> web.Response:
        return _answer(
            {
                "daemon": {
                    "pid": os.getpid(),
                    "version": __version__,
                    "started_at": self._started_at,
                },
                "profiles": [profile.as_json() for profile in self._supervisor.status()],
            }
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events; with `?lease=ID` the stream's end takes the lease's profiles down."""
        lease = request.query.get("lease")
        if lease is not None and not _LEASE.fullmatch(lease):
            raise BadRequest("a lease is 16 to 64 hexadecimal digits")
        if self._streams >= _STREAMS:
            raise web.HTTPServiceUnavailable(text="too many event streams")
        if lease is not None and not self._leases.open(lease):
            raise BadRequest("this lease is in use")
        self._streams += 1
        subscription = self._supervisor.subscribe()
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        response.force_close()
        try:
            await response.prepare(request)
            await response.write(b": every event from here on\n\n")
            async for event in subscription:
                data = json.dumps(event.as_json(), separators=(",", ":"))
                await response.write(f"event: {event.kind}\ndata: {data}\n\n".encode())
        except ConnectionError:
            pass  # the reader has gone
        finally:
            self._streams -= 1
            subscription.close()
            if lease is not None:
                self._take_down(self._leases.close(lease))
        return response

    # --- orders ------------------------------------------------------------------------------

    async def _up(self, request: web.Request) -> web.Response:
        name = _profile_name(request)
        order = UpOrder.read(await _body(request))
        _log.info("asked to bring up %s", name)
        status = await self.up(name, order)
        leased = order.lease is not None and self._leases.holds(order.lease, name)
        return _answer({"profile": status.as_json(), "leased": leased})

    async def _keep(self, request: web.Request) -> web.Response:
        name = _profile_name(request)
        _refuse_unknown(await _body(request), ())
        self._leases.keep(name)
        return _answer({"profile": self._known(name).as_json()})

    async def _down(self, request: web.Request) -> web.Response:
        name = _profile_name(request)
        body = await _body(request)
        _refuse_unknown(body, ("timeout",))
        drain = body.get("timeout", _DRAIN)
        if not isinstance(drain, int | float) or not 0 <= drain <= _LONGEST_DRAIN:
            raise BadRequest(f"timeout must be seconds between 0 and {_LONGEST_DRAIN:g}")
        _log.info("asked to take down %s", name)
        self._leases.keep(name)
        await self._supervisor.down(name, drain)
        return _answer({"profile": self._known(name).as_json()})

    async def _restart(self, request: web.Request) -> web.Response:
        name = _profile_name(request)
        _refuse_unknown(await _body(request), ())
        _log.info("asked to restart %s", name)
        await self._supervisor.restart(name)
        return _answer({"profile": self._known(name).as_json()})

    async def _shutdown(self, request: web.Request) -> web.Response:
        _refuse_unknown(await _body(request), ())
        _log.info("asked to shut down")
        # After the answer has left.
        asyncio.get_running_loop().call_soon(self._stop)
        return _answer({"status": "stopping"}, status=202)

    def _take_down(self, names: tuple[str, ...]) -> None:
        """Take down what an ended command held: at once, for nobody waits for its connections."""
        for name in names:
            _log.info("the command that brought up %s has ended: taking it down", name)
            task = asyncio.create_task(self._supervisor.down(name, 0.0), name=f"take down {name}")
            self._takedowns.add(task)
            task.add_done_callback(self._takedowns.discard)


@dataclass(frozen=True, slots=True)
class UpOrder:
    """The body of `up`: where the profile is, the variables it names, and who holds it up.

    `environment` goes over the daemon's own; None unsets a variable.
    """

    file: Path | None = None
    environment: Mapping[str, str | None] | None = None
    lease: str | None = None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> UpOrder:
        """Check the body of a request.

        Raises:
            BadRequest: with what is wrong with it.
        """
        _refuse_unknown(body, ("file", "environment", "lease"))
        file, lease = body.get("file"), body.get("lease")
        environment = body.get("environment") or {}
        if file is not None and not (isinstance(file, str) and file.startswith("/")):
            raise BadRequest("file must be an absolute path")
        if lease is not None and not (isinstance(lease, str) and _LEASE.fullmatch(lease)):
            raise BadRequest("a lease is 16 to 64 hexadecimal digits")
        if not isinstance(environment, dict) or not all(
            value is None or isinstance(value, str) for value in environment.values()
        ):
            raise BadRequest("environment must be an object of strings")
        texts = (file or "", *environment, *filter(None, environment.values()))
        if any("\0" in text for text in texts):
            raise BadRequest("a NUL byte has no place in a path or a variable")
        return cls(Path(file) if file is not None else None, environment, lease)


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes application/problem+json."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = as_problem(error)
    except Failure as failure:
        response = as_problem(failure)
    except Exception as error:
        _log.exception("%s %s failed", request.method, request.path)
        response = as_problem(error)
    # One request a connection: what is idle or half-sent is then always a new one, and is cut.
    response.force_close()
    return response


async def _name_version(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = f"tunnelctl/{__version__}"


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object of a request; an empty body is an empty object."""
    try:
        async with asyncio.timeout(_BODY_WITHIN):
            raw = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="the body did not arrive in time") from None
    if not raw.strip():
        return {}
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadRequest("the body is not a JSON object")
    return body


def _answer(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response({"api_version": API_VERSION, **document}, status=status)


def _profile_name(request: web.Request) -> str:
    name = request.match_info["name"]
    if not is_profile_name(name):
        raise Failure(Code.PROFILE_NOT_FOUND, f"{name!r} cannot be the name of a profile")
    return name


def _refuse_unknown(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise BadRequest(f"unknown key {unknown[0]!r} in the body")


def _overlaid(
    environ: Mapping[str, str], changes: Mapping[str, str | None] | None
) -> dict[str, str]:
    merged = {**environ, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}
