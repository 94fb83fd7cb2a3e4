"""The control API (docs/api.md), for the command line and other programs.

Owns the routes and the form of requests and answers. Decides nothing about tunnels: it reads the
supervisor's snapshot and passes orders on. Must never write a secret to an answer or a log line.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from tunnelctl import __version__, is_compiled
from tunnelctl.clock import rfc3339, wall
from tunnelctl.daemon import sentences
from tunnelctl.daemon.api.answers import AnswerOrder, read_places
from tunnelctl.daemon.orders import (
    CheckOrder,
    ReleaseOrder,
    ReloadOrder,
    RestartOrder,
    UpOrder,
    read_drain,
    read_environment,
    read_lease,
    refuse_unknown,
)
from tunnelctl.daemon.problems import as_problem
from tunnelctl.daemon.request_parts import (
    check_query,
    flag_in_query,
    profile_in_path,
    profiles_in_query,
    read_body,
)
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.daemon.wanted.holders import command
from tunnelctl.daemon.wanted.profiles import Profiles
from tunnelctl.errors import Failure
from tunnelctl.net.descriptors import WARNING, descriptors
from tunnelctl.spec.environment import MOST_BYTES
from tunnelctl.state.documents.api_version import API_VERSION
from tunnelctl.state.documents.snapshot import DaemonStatus, ProfileStatus, Status
from tunnelctl.supervisor.supervisor import Supervisor

_log = logging.getLogger(__name__)

_BODY_BYTES = 64 * 1024
_ORDER_BYTES = _BODY_BYTES + MOST_BYTES  # of an order with an environment
# Event streams at the same time, each with a descriptor. Other requests need the remaining clients
# of the server and descriptors of the process.
_STREAMS = 512
_OF_DESCRIPTORS = 1 / 4

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """The application, and what it has to know about the daemon.

    `stop` is called once for `shutdown`. `is_background`: a command started the daemon, so another
    command may replace it.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        profiles: Profiles,
        troubles: Troubles,
        *,
        is_background: bool,
        stop: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._profiles = profiles
        self._troubles = troubles
        self._is_background = is_background
        self._stop = stop
        self._started_at = rfc3339(wall())
        self._streams = 0

    def application(self, *middlewares: Any) -> web.Application:
        """The routes; `middlewares` wrap all of them."""
        application = web.Application(
            middlewares=[*middlewares, _answer_problems], client_max_size=_BODY_BYTES
        )
        application.router.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/v1/version", self._version),
                web.get("/v1/status", self._status),
                web.get("/v1/events", self._events),
                web.post("/v1/check", self._check),
                web.post("/v1/profiles/{name}/up", self._up),
                web.post("/v1/profiles/{name}/keep", self._keep),
                web.post("/v1/profiles/{name}/release", self._release),
                web.post("/v1/profiles/{name}/down", self._down),
                web.post("/v1/profiles/{name}/restart", self._restart),
                web.post("/v1/profiles/{name}/environment", self._environment),
                web.post("/v1/profiles/{name}/answers", self._answers),
                web.post("/v1/reload", self._reload),
                web.post("/v1/shutdown", self._shutdown),
            ]
        )
        application.on_response_prepare.append(_name_version)
        return application

    def _known(self, name: str) -> ProfileStatus:
        status = self._profiles.status_of(name)
        if status is None:
            raise sentences.profile_unknown(name)
        return status

    # --- questions ---------------------------------------------------------------------------

    async def _healthz(self, request: web.Request) -> web.Response:
        return _answer({"status": "ok"})

    async def _version(self, request: web.Request) -> web.Response:
        check_query(request)
        return _answer(
            {
                "version": __version__,
                "compiled": is_compiled(),
                "pid": os.getpid(),
                "background": self._is_background,
                "attached": self._profiles.holders.attached,
            }
        )

    async def _status(self, request: web.Request) -> web.Response:
        """All profiles, or those named by `?profile=NAME`; with `?lease=ID` whether it holds
        each."""
        check_query(request, ("lease",), repeatable=("profile",))
        lease = read_lease(request.query.get("lease"))
        await self._supervisor.look()
        names = profiles_in_query(request)
        known = map(self._profiles.status_of, names) if names else self._profiles.status()
        warnings = (*self._troubles.texts, *([WARNING] if descriptors.are_scarce else []))
        daemon = DaemonStatus(os.getpid(), __version__, self._started_at, warnings)
        profiles = (self._leased(profile, lease) for profile in known if profile is not None)
        return _answer(Status(daemon, tuple(profiles)).as_json())

    def _leased(self, profile: ProfileStatus, lease: str | None) -> ProfileStatus:
        """With whether a lease holds it, if one was named."""
        if lease is None:
            return profile
        return replace(profile, leased=command(lease) in self._profiles.holders.of(profile.name))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events, of all profiles, of those named by `?profile=NAME`, or of none with
        `?silent=1`. With `?lease=ID` the end of the stream releases everything that the lease
        holds. With `?answer=PROFILE` its reader answers questions of the profile's hosts, which are
        tried again at once, or with `?orders=1` by the `up` that follows."""
        check_query(request, ("lease", "orders", "silent"), repeatable=("profile", "answer"))
        lease = read_lease(request.query.get("lease"))
        places = read_places(request.query.getall("answer", ()))
        names = profiles_in_query(request)
        orders = flag_in_query(request, "orders")
        is_silent = flag_in_query(request, "silent")
        if self._streams >= _most_streams():
            raise web.HTTPServiceUnavailable(text=sentences.too_many_event_streams())
        if lease is not None and not self._profiles.holders.open(lease):
            raise sentences.lease_in_use()
        self._streams += 1
        subscription = self._supervisor.subscribe(places, orders=orders)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        response.force_close()
        try:
            await response.prepare(request)
            await response.write(b": every event from here on\n\n")
            async for event in subscription:
                if is_silent or (names and event.profile not in names):
                    continue
                data = json.dumps(event.as_json(), separators=(",", ":"))
                await response.write(f"event: {event.kind}\ndata: {data}\n\n".encode())
        except ConnectionError:
            pass  # the reader has disconnected
        finally:
            self._streams -= 1
            subscription.close()
            if lease is not None:
                self._profiles.end_lease(lease)
        return response

    # --- orders ------------------------------------------------------------------------------

    async def _check(self, request: web.Request) -> web.Response:
        order = CheckOrder.read(await _order(request))
        checked = [
            {
                "file": str(file),
                "name": loaded.profile.name,
                "variables": sorted(loaded.variables),
                "required": [rule.name for rule in loaded.profile.forwards if rule.required],
            }
            for file, loaded in await self._profiles.check(order)
        ]
        return _answer({"profiles": checked})

    async def _up(self, request: web.Request) -> web.Response:
        name = profile_in_path(request)
        order = UpOrder.read(await _order(request))
        _log.info("request: bring up %s", name)
        await self._profiles.up(name, order)
        held = self._leased(self._known(name), order.lease)
        leased = bool(held.leased)
        return _answer({"profile": replace(held, leased=None).as_json(), "leased": leased})

    async def _keep(self, request: web.Request) -> web.Response:
        name = profile_in_path(request)
        refuse_unknown(await read_body(request), ())
        await self._profiles.keep(name)
        return _answer({"profile": self._known(name).as_json()})

    async def _release(self, request: web.Request) -> web.Response:
        name = profile_in_path(request)
        order = ReleaseOrder.read(await read_body(request))
        status = await self._profiles.release(name, order.lease, order.drain)
        return _answer({"profile": status.as_json()})

    async def _down(self, request: web.Request) -> web.Response:
        name = profile_in_path(request)
        drain = read_drain(await read_body(request))
        _log.info("request: take down %s", name)
        return _answer({"profile": (await self._profiles.down(name, drain)).as_json()})

    async def _restart(self, request: web.Request) -> web.Response:
        name = profile_in_path(request)
        order = RestartOrder.read(await _order(request))
        _log.info("request: restart %s", "/".join((name, *order.hosts)))
        await self._profiles.restart(name, order)
        return _answer({"profile": self._known(name).as_json()})

    async def _environment(self, request: web.Request) -> web.Response:
        name = profile_in_path(request)
        environment = read_environment(await _order(request))
        status = self._known(name)
        self._profiles.hear(name, environment)
        return _answer({"profile": status.as_json()})

    async def _answers(self, request: web.Request) -> web.Response:
        name = profile_in_path(request)
        order = AnswerOrder.read(await read_body(request))
        self._supervisor.answer(name, order.question, order.answer, remember=order.remember)
        return _answer({"status": "taken"})

    async def _reload(self, request: web.Request) -> web.Response:
        order = ReloadOrder.read(await _order(request))
        _log.info("request: reload%s", " (dry run)" if order.dry_run else "")
        done = await self._profiles.reload(order)
        return _answer({"dry_run": order.dry_run, "profiles": [one.as_json() for one in done]})

    async def _shutdown(self, request: web.Request) -> web.Response:
        refuse_unknown(await read_body(request), ())
        _log.info("request: shut down")
        # After the answer is sent.
        asyncio.get_running_loop().call_soon(self._stop)
        return _answer({"status": "stopping"}, status=202)


@web.middleware
async def _answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error becomes application/problem+json."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        response = as_problem(error)
    except Failure as failure:
        response = as_problem(failure)
    except ConnectionError:
        response = web.Response()  # nobody reads it: the client has left
    except Exception as error:
        _log.exception("%s %s failed", request.method, request.path)
        response = as_problem(error)
    # One request per connection, so an idle or incomplete one is always new, and is cut.
    response.force_close()
    return response


async def _name_version(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = f"tunnelctl/{__version__}"


async def _order(request: web.Request) -> dict[str, Any]:
    """As `read_body`, large enough for an environment."""
    return await read_body(request.clone(client_max_size=_ORDER_BYTES))


def _most_streams() -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return _STREAMS
    return min(_STREAMS, int(limit * _OF_DESCRIPTORS))


def _answer(document: dict[str, Any], status: int = 200) -> web.Response:
    return web.json_response({"api_version": API_VERSION, **document}, status=status)
