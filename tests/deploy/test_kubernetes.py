"""The manifests of deploy/kubernetes: valid for Kubernetes, with a profile that is valid here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from tests.support.nobody import NOBODY, as_nobody, needs_root
from tunnelctl.cli.main import tunnelctl
from tunnelctl.config.profile.load import load_profile
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.keys.key_files import KeyFile

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
# The oldest release that is still in wide use, and the newest that the package knows.
VERSIONS = ("1.29", kubernetes_validate.latest_version())


def documents(*files: Path) -> dict[str, dict[str, Any]]:
    """The documents of manifests, by kind."""
    return {one["kind"]: one for file in files for one in yaml.safe_load_all(file.read_text())}


MANIFESTS = documents(FOLDER / "profile.yaml", FOLDER / "base" / "tunnel.yaml")
POD: dict[str, Any] = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def profile(tmp_path: Path) -> Profile:
    """The profile in the ConfigMap."""
    file = tmp_path / "tunnel.yaml"
    file.write_text(MANIFESTS["ConfigMap"]["data"]["tunnel.yaml"])
    return load_profile(file, {"HOME": str(tmp_path)}).profile


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", MANIFESTS)
def test_each_manifest_follows_the_schema_of_kubernetes(kind: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[kind], version, strict=True)


def test_the_profile_passes_the_check_of_tunnelctl(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tunnel.yaml").write_text(MANIFESTS["ConfigMap"]["data"]["tunnel.yaml"])
    monkeypatch.setenv("TUNNELCTL_CONFIG_DIR", str(tmp_path))
    result = CliRunner().invoke(tunnelctl, ["check", "tunnel"])
    assert result.exit_code == 0, result.output


def test_the_profile_names_files_that_the_pod_has(tmp_path: Path) -> None:
    mounts = {mount["mountPath"]: mount for mount in CONTAINER["volumeMounts"]}
    (host,) = profile(tmp_path).hosts
    for file in host.user_known_hosts_file:
        assert mounts[file]["subPath"] in MANIFESTS["ConfigMap"]["data"]
    (key,) = host.identity_file
    assert mounts[str(Path(key).parent)]["name"] == "key"
    environment = {one["name"]: one["value"] for one in CONTAINER["env"]}
    assert f"{environment['TUNNELCTL_CONFIG_DIR']}/{CONTAINER['args'][1]}.yaml" in mounts
    # Below the volume's own folder, which everybody may write to: the daemon makes private ones.
    for name in ("TUNNELCTL_SOCKET", "XDG_STATE_HOME"):
        assert "/run/tunnelctl" in map(str, Path(environment[name]).parents)
    assert "/run/tunnelctl" not in {
        environment["XDG_STATE_HOME"],
        str(Path(environment["TUNNELCTL_SOCKET"]).parent),
    }


def test_clients_reach_the_forward_by_service_and_policy(tmp_path: Path) -> None:
    (forward,) = profile(tmp_path).forwards
    assert forward.expose
    assert forward.allow
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    (service,) = MANIFESTS["Service"]["spec"]["ports"]
    assert service["port"] == ports[service["targetPort"]] == forward.listen.port
    policy = MANIFESTS["NetworkPolicy"]["spec"]
    open_ports = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert open_ports == {service["targetPort"], "metrics"}
    (host,) = profile(tmp_path).hosts
    assert host.port in {port["port"] for rule in policy["egress"] for port in rule["ports"]}


def test_the_metrics_are_served_where_the_manifest_says() -> None:
    assert CONTAINER["args"][2:] == ["--metrics", "0.0.0.0:9469"]
    assert {"name": "metrics", "containerPort": 9469} in CONTAINER["ports"]
    assert "prometheus-client==" in (ROOT / "requirements" / "all.txt").read_text()


def test_one_pod_without_rights() -> None:
    spec = MANIFESTS["Deployment"]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    security = POD["securityContext"]
    assert security["runAsNonRoot"]
    assert f"--uid {security['runAsUser']} " in (ROOT / "Dockerfile").read_text()
    assert CONTAINER["readinessProbe"]["exec"]["command"] == ["tunnelctl", "ps"]


@needs_root
def test_the_key_is_taken_with_the_mode_and_the_group_of_the_pod(tmp_path: Path) -> None:
    """A Secret's file belongs to root and to the pod's fsGroup; the process is another user."""
    (volume,) = (one for one in POD["volumes"] if one["name"] == "key")
    key = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    key.chmod(volume["secret"]["defaultMode"])
    os.chown(key, 0, NOBODY)
    opened = KeyFile(key)
    assert as_nobody(opened.check_private) is None


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_kustomize_makes_valid_manifests_that_belong_together(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    example = tmp_path / "kubernetes" / "example"
    (example / "id_ed25519").write_text("a key")
    (example / "known_hosts").write_text("bastion.example.com ssh-ed25519 AAAA")
    made = subprocess.run(
        ["kubectl", "kustomize", str(example)], check=True, capture_output=True, text=True
    ).stdout
    file = tmp_path / "made.yaml"
    file.write_text(made)
    found = documents(file)
    assert set(found) == {*MANIFESTS, "Secret"}
    for document in found.values():
        kubernetes_validate.validate(document, VERSIONS[-1], strict=True)
    pod = found["Deployment"]["spec"]["template"]
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    assert volumes["profile"]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
    assert volumes["key"]["secret"]["secretName"] == found["Secret"]["metadata"]["name"]
    labels = pod["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels
    assert found["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels


def test_the_example_has_the_profile_of_the_manifest(tmp_path: Path) -> None:
    example = load_profile(FOLDER / "example" / "tunnel.yaml", {"HOME": str(tmp_path)}).profile
    assert (example.hosts, example.forwards) == (
        profile(tmp_path).hosts,
        profile(tmp_path).forwards,
    )
