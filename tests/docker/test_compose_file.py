"""What docker-compose.yml, the Dockerfile and the files in docker/ claim, read without docker."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docker.files import COMMON_KEYS, ROOT, STAGES, Services, last_user, load, sharing
from tunnelctl.config.profile.load import load_profile
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.host import StrictHostKeyChecking

COMPOSE = load("docker-compose.yml")
SERVICES: Services = COMPOSE["services"]
each_service = pytest.mark.parametrize("name", SERVICES)


def test_the_file_keeps_to_what_both_versions_of_compose_read() -> None:
    assert set(COMPOSE) == {"services", "networks", "volumes"}
    for service in SERVICES.values():
        assert set(service) <= COMMON_KEYS
        assert set(service["build"]) == {"context", "target"}


@each_service
def test_each_service_runs_without_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert last_user(service["build"]["target"]) == "tunnel"


@each_service
def test_each_service_that_stays_has_a_health_check(name: str) -> None:
    assert ("healthcheck" in SERVICES[name]) is (name != "test")


def test_the_web_service_shares_a_network_with_the_ssh_server_alone() -> None:
    assert sharing(SERVICES, "web") == {"sshd"}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert "ports" not in SERVICES["web"]


def test_the_proof_reaches_the_daemon_alone() -> None:
    assert sharing(SERVICES, "test") == {"daemon"}
    assert SERVICES["test"]["profiles"] == ["test"], "`up` would start it"


def test_what_is_published_is_published_on_loopback() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_services_start_in_the_order_of_the_path_once_the_one_before_is_healthy() -> None:
    waits = {name: service.get("depends_on", {}) for name, service in SERVICES.items()}
    healthy = {"condition": "service_healthy"}
    assert waits == {
        "web": {},
        "sshd": {"web": healthy},
        "daemon": {"sshd": healthy},
        "test": {"daemon": healthy},
    }


def test_one_dockerfile_on_the_slim_image_makes_every_service() -> None:
    assert {service["build"]["target"] for service in SERVICES.values()} <= set(STAGES)
    bases = {base for base, _ in STAGES.values()}
    assert bases - set(STAGES) == {"python:3.13-slim", "scratch"}


def test_keys_are_made_at_the_start_and_the_servers_own_stay_with_it() -> None:
    assert not [
        path
        for path in (ROOT / "docker").rglob("*")
        if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
    ]
    mounts = {name: set(map(str, service.get("volumes", []))) for name, service in SERVICES.items()}
    assert "client-keys:/keys:ro" in mounts["daemon"]
    assert [name for name, made in mounts.items() if any("server-keys" in m for m in made)] == [
        "sshd"
    ]


def test_the_daemons_profile_trusts_the_key_in_the_volume_and_leads_to_web(tmp_path: Path) -> None:
    profile = load_profile(ROOT / "docker/profiles/compose.yaml", {"HOME": str(tmp_path)}).profile
    (host,) = profile.hosts
    assert (host.hostname, host.strict_host_key_checking) == ("sshd", StrictHostKeyChecking.YES)
    assert host.user_known_hosts_file == ("/keys/known_hosts",)
    (forward,) = profile.forwards
    assert forward.target == Endpoint("web", 8000)
    assert SERVICES["daemon"]["ports"] == [f"127.0.0.1::{forward.listen.port}"]
    assert SERVICES["daemon"]["command"] == ["daemon", profile.name]
    # Not mounted: a clone's files belong to a user that the container's does not trust.
    assert "COPY docker/profiles /etc/tunnelctl\n" in STAGES["daemon"][1]
