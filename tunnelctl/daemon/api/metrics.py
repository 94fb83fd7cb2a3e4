"""The snapshot as metrics for Prometheus (docs/service.md): `GET /metrics`.

Owns their names and labels, and the TCP listener that serves only them. prometheus-client (the
extra `metrics`) formats them; it is imported at the first request, in a thread, and without it the
answer is a problem that says what to install. Must never count anything: each number is from the
snapshot.
"""

from __future__ import annotations

import errno
import functools
import logging
import platform
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from tunnelctl import __version__
from tunnelctl.daemon import sentences
from tunnelctl.daemon.api.server import ControlServer
from tunnelctl.daemon.problems import not_installed
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.errors import Code, reason
from tunnelctl.net.addresses import port_holder
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.endpoint import LOCALHOST, Endpoint
from tunnelctl.state.documents.fleet_status import Role
from tunnelctl.state.documents.histogram import BOUNDS, Histogram
from tunnelctl.state.documents.snapshot import (
    ForwardState,
    Health,
    HostState,
    ProfileStatus,
    Wanted,
)

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_log = logging.getLogger(__name__)

_BACKLOG = 16
_PROFILE = ("profile",)
_HOST = ("profile", "host")
_FORWARD = ("profile", "forward", "type")
# Created at the start for every forward, because `increase` does not see the first event if the
# series begins with it.
_NO_FAILURES = dict.fromkeys(
    map(str, (Code.TARGET_REFUSED, Code.TARGET_UNREACHABLE, Code.SESSION_LOST)), 0
)

Statuses = Iterable[ProfileStatus]
Status = Callable[[], Awaitable[Statuses]]


@asynccontextmanager
async def served(
    address: Endpoint | None, status: Status, troubles: Troubles
) -> AsyncIterator[None]:
    """Serve only `GET /metrics`, to everybody who can reach that address; with None do nothing.

    Raises:
        Failure: PORT_IN_USE or PERMISSION_DENIED.
    """
    if address is None:
        yield
        return
    with await in_thread(lambda: _listening(address), f"listen on {address}") as sock:
        server = ControlServer(sock, troubles, admits=lambda _: True)
        application = web.Application(middlewares=[server.middleware])
        application.add_routes([route(status)])
        await server.start(application)
        bound = address.with_port(sock.getsockname()[1])
        _log.info("metrics are served on http://%s/metrics", bound)
        try:
            yield
        finally:
            await server.refuse()
            await server.stop()


def _listening(address: Endpoint) -> socket.socket:
    host = "127.0.0.1" if address.host == LOCALHOST else address.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, address.port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if error.errno != errno.EADDRINUSE:
            raise sentences.metrics_not_served(address, reason(error)) from None
        holder = port_holder(host, address.port)
        raise sentences.metrics_port_in_use(address, holder) from None
    return sock


def route(status: Status) -> web.RouteDef:
    """The route; `status` is called for each scrape."""

    async def metrics(request: web.Request) -> web.Response:
        try:
            work = functools.partial(_written, tuple(await status()))
            body, content_type = await in_thread(work, "metrics")
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "prometheus_client":
                raise
            return not_installed(sentences.no_metrics_package(), "metrics")
        return web.Response(body=body, headers={"Content-Type": content_type})

    return web.get("/metrics", metrics)


def _written(profiles: Statuses) -> tuple[bytes, str]:
    """All metrics in Prometheus' text format, and its content type.

    Not OpenMetrics, which does not allow `tunnelctl_forward_connections` beside
    `tunnelctl_forward_connections_total`.
    """
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

    class Snapshot:
        def collect(self) -> Iterator[Metric]:
            yield _build_info()
            yield _of_profiles(profiles)
            yield from _of_fleet(profiles)
            yield from _of_hosts(profiles)
            yield from _of_forwards(profiles)

    registry = CollectorRegistry()
    registry.register(Snapshot())
    return generate_latest(registry), CONTENT_TYPE_LATEST


def _build_info() -> Metric:
    from prometheus_client.core import InfoMetricFamily

    about = {"version": __version__, "python": platform.python_version()}
    return InfoMetricFamily("tunnelctl_build", "The daemon.", value=about)


def _of_profiles(profiles: Statuses) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    wanted = GaugeMetricFamily(
        "tunnelctl_profile_wanted", "Whether it is wanted up: 0 after `down`.", labels=_PROFILE
    )
    for profile in profiles:
        wanted.add_metric((profile.name,), profile.wanted is Wanted.UP)
    return wanted


def _of_fleet(profiles: Statuses) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    holder = GaugeMetricFamily(
        "tunnelctl_fleet_holder",
        "Whether this machine serves the profile; the sum over the fleet is 1.",
        labels=("profile", "machine"),
    )
    fleets = [(profile.name, profile.fleet) for profile in profiles if profile.fleet is not None]
    for name, fleet in fleets:
        holder.add_metric((name, fleet.machine), fleet.role is not Role.STANDBY)
    if fleets:
        yield holder


def _of_hosts(profiles: Statuses) -> Iterator[Metric]:
    from prometheus_client.core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
    )

    up = GaugeMetricFamily("tunnelctl_host_up", "Whether the host has a link.", labels=_HOST)
    idle = GaugeMetricFamily(
        "tunnelctl_host_idle", "Whether it is idle until a client needs it.", labels=_HOST
    )
    reconnects = CounterMetricFamily(
        "tunnelctl_host_reconnects", "Links that replaced a lost one.", labels=_HOST
    )
    rtt = GaugeMetricFamily(
        "tunnelctl_host_rtt_seconds",
        "Time that the server took to answer the last probe.",
        labels=_HOST,
    )
    connect = HistogramMetricFamily(
        "tunnelctl_host_connect_seconds",
        "Time to connect and log in, including waits for hops and answers.",
        labels=_HOST,
    )
    for profile in profiles:
        for host in profile.hosts:
            place = (profile.name, host.name)
            up.add_metric(place, host.state is HostState.UP)
            idle.add_metric(place, host.state is HostState.IDLE)
            reconnects.add_metric(place, host.reconnects)
            if host.rtt_ms is not None:
                rtt.add_metric(place, host.rtt_ms / 1000)
            connect.add_metric(place, _buckets(host.connects), host.connects.total)
    yield from (up, idle, reconnects, rtt, connect)


def _of_forwards(profiles: Statuses) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    up = GaugeMetricFamily("tunnelctl_forward_up", "Whether it listens.", labels=_FORWARD)
    healthy = GaugeMetricFamily(
        "tunnelctl_forward_healthy",
        "Whether its target answered; absent while that is not known.",
        labels=_FORWARD,
    )
    now = GaugeMetricFamily("tunnelctl_forward_connections", "Open connections.", labels=_FORWARD)
    total = CounterMetricFamily(
        "tunnelctl_forward_connections", "Clients that connected.", labels=_FORWARD
    )
    failures = CounterMetricFamily(
        "tunnelctl_forward_connection_failures",
        "Clients that never reached the target.",
        labels=(*_FORWARD, "code"),
    )
    moved = CounterMetricFamily(
        "tunnelctl_forward_bytes",
        "Bytes sent to the target (out) and received from it (in).",
        labels=(*_FORWARD, "direction"),
    )
    for profile in profiles:
        for forward in profile.forwards:
            place = (profile.name, forward.name, forward.type)
            up.add_metric(place, forward.state is ForwardState.UP)
            if forward.health is not Health.UNKNOWN:
                healthy.add_metric(place, forward.health is Health.HEALTHY)
            now.add_metric(place, forward.connections_open)
            total.add_metric(place, forward.connections_total)
            for code, count in (_NO_FAILURES | dict(forward.failures)).items():
                failures.add_metric((*place, code), count)
            moved.add_metric((*place, "in"), forward.bytes_in)
            moved.add_metric((*place, "out"), forward.bytes_out)
    yield from (up, healthy, now, total, failures, moved)


def _buckets(durations: Histogram) -> list[tuple[str, float]]:
    """Each upper bound with its cumulative count, as in a histogram."""
    names = (*map(str, BOUNDS), "+Inf")
    return [(name, sum(durations.counts[: at + 1])) for at, name in enumerate(names)]
