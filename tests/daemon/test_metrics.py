"""`GET /metrics`, read by Prometheus' own parser: the names of the contract, and true numbers."""

from __future__ import annotations

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.daemon.conftest import Answer, Api
from tests.docs.pages import ROOT, table
from tests.support.ports import free_port
from tests.support.services import EchoService, connect
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl import __version__
from tunnelctl.home.paths import Paths
from tunnelctl.state.documents.histogram import BOUNDS, Histogram

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Scrape:
    """One answer; every sample by its name and labels."""

    def __init__(self, answer: Answer) -> None:
        assert answer.status == 200, answer.body
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        families = list(text_string_to_metric_families(answer.body.decode()))
        assert all(family.documentation for family in families)
        self.samples: Samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }
        self.families = {re.sub("_(bucket|sum|count)$", "", name) for name, _ in self.samples}

    def value(self, name: str, **labels: str) -> float:
        """The sample of that name with exactly these labels."""
        return self.samples[f"tunnelctl_{name}", frozenset(labels.items())]


def test_the_numbers_of_a_tunnel(world: World, sshd: OpenSSHServer, paths: Paths) -> None:
    with EchoService() as echo:
        world.tunnel(
            sshd,
            db=f"local: 0, to: {echo.port}",
            gone=f"local: 0, to: {free_port()}, probe: none",
        )
        world.ok("up", "dev", "-d")
        api = Api(paths.socket)
        host = {"profile": "dev", "host": "server"}
        db = {"profile": "dev", "forward": "db", "type": "local"}
        gone = {"profile": "dev", "forward": "gone", "type": "local"}
        eventually(lambda: world.forward("dev", "db")["health"] == "healthy", "it is healthy")
        with connect(_port(world, "db")) as client:
            client.sendall(b"five!")
            client.recv(5)
            with pytest.raises(ConnectionResetError), connect(_port(world, "gone")) as refused:
                refused.recv(1)
            scrape = Scrape(api.ask("GET", "/metrics"))
        assert scrape.value("forward_connections", **db) == 1
    assert scrape.value("profile_wanted", profile="dev") == 1
    assert scrape.value("host_up", **host) == 1
    assert scrape.value("host_idle", **host) == 0
    assert scrape.value("host_reconnects_total", **host) == 0
    assert 0 < scrape.value("host_connect_seconds_sum", **host) < 30
    assert scrape.value("host_connect_seconds_count", **host) == 1
    assert scrape.value("host_connect_seconds_bucket", le="+Inf", **host) == 1
    assert scrape.value("host_connect_seconds_bucket", le="60.0", **host) == 1
    assert scrape.value("forward_up", **db) == 1
    assert scrape.value("forward_healthy", **db) == 1
    assert ("tunnelctl_forward_healthy", frozenset(gone.items())) not in scrape.samples
    assert scrape.value("forward_connections_total", **db) == 1
    assert scrape.value("forward_bytes_total", direction="out", **db) == 5
    assert scrape.value("forward_bytes_total", direction="in", **db) == 5
    assert scrape.value("forward_connections", **gone) == 0
    failed = scrape.value("forward_connection_failures_total", code="target-refused", **gone)
    assert failed == world.forward("dev", "gone")["connections"]["failed"] == 1
    for code in ("target-refused", "target-unreachable", "session-lost"):
        assert scrape.value("forward_connection_failures_total", code=code, **db) == 0
    (build,) = (labels for name, labels in scrape.samples if name == "tunnelctl_build_info")
    assert dict(build)["version"] == __version__

    world.ok("restart", "dev")
    eventually(lambda: world.host("dev")["reconnects"] == 1, "it is connected anew")
    again = Scrape(api.ask("GET", "/metrics"))
    assert again.value("host_reconnects_total", **host) == 1
    assert again.value("host_connect_seconds_count", **host) == 2
    rtt = eventually(lambda: world.host("dev")["rtt_ms"], "the server was asked")
    assert rtt > 0
    last = Scrape(api.ask("GET", "/metrics"))
    assert last.value("host_rtt_seconds", **host) > 0
    only_in_a_fleet = {"tunnelctl_fleet_holder"}  # tests/fleet/test_alone.py
    assert scrape.families | last.families == documented() - only_in_a_fleet
    world.ok("down", "dev")
    down = Scrape(api.ask("GET", "/metrics"))
    assert down.value("profile_wanted", profile="dev") == 0
    assert down.value("host_up", **host) == 0


class Tcp(Api):
    """The metrics as Prometheus meets them."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._address = (host, port)

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(self._address, 20)


@pytest.mark.parametrize(
    ("given", "host"), [("{}", "127.0.0.1"), ("127.0.0.1:{}", "127.0.0.1"), ("[::1]:{}", "::1")]
)
def test_over_tcp_there_are_metrics_and_nothing_else(
    embedded: World, given: str, host: str
) -> None:
    port = free_port()
    with embedded.start("daemon", "dev", "--metrics", given.format(port)) as daemon:
        try:
            eventually(lambda: embedded.run("ps").returncode == 0, "it is up")
            tcp = Tcp(port, host)
            scrape = Scrape(tcp.ask("GET", "/metrics"))
            assert scrape.value("profile_wanted", profile="dev") == 1
            for target in ("/", "/v1/status", "/v1/logs", "/healthz"):
                assert tcp.ask("GET", target).status == 404
            assert tcp.ask("POST", "/v1/shutdown", {}).status == 404
            assert tcp.ask("POST", "/metrics", {}).status == 405
            # Who says nothing keeps nobody out.
            with ExitStack() as idle:
                for _ in range(100):
                    idle.enter_context(tcp.connect())
                assert Scrape(tcp.ask("GET", "/metrics")).families
            assert daemon.poll() is None
        finally:
            daemon.terminate()
            daemon.communicate(timeout=20)
    assert daemon.returncode == 0


def test_an_address_that_cannot_be_had_is_told(embedded: World) -> None:
    with EchoService() as taken:
        done = embedded.run("daemon", "dev", "--metrics", f"{taken.port}")
        assert done.returncode == 73
        assert f"metrics cannot be served on 127.0.0.1:{taken.port}: it is in use by" in done.stderr
    for given in ("example.com:9469", "/run/x.sock", "*:9469", "99999"):
        done = embedded.run("daemon", "dev", "--metrics", given)
        assert done.returncode == 2
        assert "--metrics" in done.stderr
    assert not embedded.processes()


def documented() -> set[str]:
    """The metrics that docs/service.md lists."""
    rows = table((ROOT / "docs" / "service.md").read_text(), "metric", "labels", "value")
    return {name for name, _, _ in rows}


def _port(world: World, forward: str) -> int:
    return int(world.forward("dev", forward)["listen"].rpartition(":")[2])


def test_without_the_extra_it_says_what_to_install(
    embedded: World, paths: Paths, tmp_path: Path
) -> None:
    # A package that is not installed, as far as an import can tell.
    (tmp_path / "prometheus_client.py").write_text(
        "raise ModuleNotFoundError('not here', name=__name__)\n"
    )
    embedded.environ["PYTHONPATH"] = str(tmp_path)
    embedded.ok("up", "dev", "-d")
    answer = Api(paths.socket).ask("GET", "/metrics")
    assert answer.status == 501
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert "tunnelctl[metrics]" in answer.json["hint"]
    assert answer.json["code"]


def test_a_histogram_counts_each_once() -> None:
    durations = Histogram()
    for seconds in (0.01, BOUNDS[0], BOUNDS[0] + 0.001, BOUNDS[-1] + 1):
        durations = durations.with_one(seconds)
    assert durations.counts[:2] == (2, 1)
    assert durations.counts[-1] == 1
    assert sum(durations.counts) == 4
    assert durations.total == pytest.approx(0.01 + 2 * BOUNDS[0] + 0.001 + BOUNDS[-1] + 1)
