"""What deploy/compose-fleet.yaml and the files in docker/fleet/ claim, read without docker."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.docker.files import COMMON_KEYS, ROOT, STAGES, Services, last_user, load, sharing
from tunnelctl.config.profile.load import load_profile
from tunnelctl.fleet.file import load_fleet
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.host import StrictHostKeyChecking

COMPOSE = load("deploy/compose-fleet.yaml")
SERVICES: Services = COMPOSE["services"]
MEMBERS = ("etcd1", "etcd2", "etcd3")
MACHINES = ("machine1", "machine2")
FILES = ROOT / "docker" / "fleet" / "machine"
each_service = pytest.mark.parametrize("name", SERVICES)


def test_the_file_keeps_to_what_both_versions_of_compose_read() -> None:
    assert {key for key in COMPOSE if not key.startswith("x-")} == {
        "services",
        "networks",
        "volumes",
    }
    for service in SERVICES.values():
        assert set(service) <= COMMON_KEYS
        assert service["build"]["context"] == ".."
        assert service["build"]["target"] in STAGES


@each_service
def test_each_service_runs_without_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert last_user(service["build"]["target"]) == "tunnel"
    assert ("healthcheck" in service) is (name != "test")


def test_three_members_of_one_cluster_with_data_of_their_own() -> None:
    members = ",".join(f"{name}=http://{name}:2380" for name in MEMBERS)
    for name in MEMBERS:
        environment = SERVICES[name]["environment"]
        assert environment["ETCD_INITIAL_CLUSTER"] == members
        assert environment["ETCD_NAME"] == name
        assert environment["ETCD_ADVERTISE_CLIENT_URLS"] == f"http://{name}:2379"
        assert environment["ETCD_INITIAL_ADVERTISE_PEER_URLS"] == f"http://{name}:2380"
        assert SERVICES[name]["volumes"] == [f"{name}:/var/lib/etcd"]


def test_the_store_is_reached_by_machines_alone() -> None:
    for name in MEMBERS:
        assert sharing(SERVICES, name) == {*MEMBERS, *MACHINES} - {name}
    assert COMPOSE["networks"]["store"] == {"internal": True}


def test_the_proof_reaches_the_ssh_server_alone() -> None:
    assert sharing(SERVICES, "test") == {"sshd"}
    listen, *hidden = SERVICES["test"]["command"][2:]
    assert listen == "sshd:8080"
    assert {address.partition(":")[0] for address in hidden} == {"web", "etcd1"}


def test_the_machines_run_one_profile_of_one_fleet_under_two_names() -> None:
    names = set()
    for name in MACHINES:
        environment = SERVICES[name]["environment"]
        settings = load_fleet(FILES / "fleet.yml", environment)
        names.add(settings.machine)
        hosts = tuple(urlsplit(endpoint).hostname for endpoint in settings.etcd.endpoints)
        assert hosts == MEMBERS
        assert SERVICES[name]["command"] == [
            "daemon",
            "--fleet",
            f"{environment['TUNNELCTL_CONFIG_DIR']}/fleet.yml",
            "hello",
        ]
    assert names == set(MACHINES)
    assert "COPY docker/fleet/machine /etc/tunnelctl\n" in STAGES["machine"][1]


def test_the_profile_leads_from_the_port_that_sshd_permits_to_web(tmp_path: Path) -> None:
    profile = load_profile(FILES / "hello.yaml", {"HOME": str(tmp_path)}).profile
    (host,) = profile.hosts
    assert (host.hostname, host.strict_host_key_checking) == ("sshd", StrictHostKeyChecking.YES)
    (forward,) = profile.forwards
    assert forward.target == Endpoint("web", 8000)
    sshd_config = (ROOT / "docker/fleet/sshd_config").read_text().splitlines()
    assert f"PermitListen {forward.listen}" in sshd_config
    assert SERVICES["sshd"]["ports"] == [f"127.0.0.1::{forward.listen.port}"]


def test_sshd_releases_the_port_of_a_machine_that_is_gone() -> None:
    # As docs/fleet.md says.
    sshd_config = (ROOT / "docker/fleet/sshd_config").read_text().splitlines()
    page = (ROOT / "docs/fleet.md").read_text()
    for line in ("ClientAliveInterval 5", "ClientAliveCountMax 2"):
        assert line in sshd_config
        assert f"`{line}`" in page
