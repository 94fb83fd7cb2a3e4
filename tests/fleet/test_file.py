"""The fleet's file: every mistake at once, each with its place; secrets are references."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, fenced
from tests.support.world import World
from tunnelctl.config.yaml.mistakes import ProfileInvalid
from tunnelctl.fleet.file import OnStoreLoss, load_fleet
from tunnelctl.spec.secret import SecretRef, SecretSource


def written(folder: Path, text: str) -> Path:
    file = folder / "fleet.yaml"
    file.write_text(textwrap.dedent(text))
    return file


def test_the_file_in_the_documentation(tmp_path: Path) -> None:
    text = next(block for block in fenced(ROOT / "docs" / "fleet.md", "text") if "etcd:" in block)
    settings = load_fleet(written(tmp_path, text), {"HOSTNAME": "m1"})
    assert (settings.fleet, settings.machine, settings.lease) == ("web", "m1", 15.0)
    assert settings.on_store_loss is OnStoreLoss.STOP
    assert settings.evict is False
    assert load_fleet(written(tmp_path, text.replace("evict: false", "evict: true")), {}).evict
    assert len(settings.etcd.endpoints) == 3
    assert settings.etcd.password == SecretRef(SecretSource.FILE, ("/run/secrets/etcd",))
    assert settings.etcd.ca_file == str(tmp_path / "ca.pem")


def test_the_machine_is_the_host_unless_named(tmp_path: Path) -> None:
    text = "version: 1\nfleet: web\netcd: {endpoints: http://127.0.0.1:2379}\n"
    assert load_fleet(written(tmp_path, text), {}).machine == os.uname().nodename
    named = load_fleet(written(tmp_path, text + "machine: ${HOSTNAME}\n"), {})
    assert named.machine == os.uname().nodename


def test_every_mistake_is_reported_with_its_place(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        """\
        version: 1
        flete: web
        lease: 2s
        on_store_loss: hope
        etcd:
          endpoints: ["10.0.0.1:2379"]
          user: tunnels
          password: secret
        """,
    )
    with pytest.raises(ProfileInvalid) as caught:
        load_fleet(file, {})
    found = {f"{one.line}:{one.path}": one.message for one in caught.value.mistakes}
    assert "did you mean fleet?" in found["2:flete"]
    assert "from 5s to 300s" in found["3:lease"]
    assert "stop or keep" in found["4:on_store_loss"]
    assert "https://HOST:2379" in found["6:etcd.endpoints"]
    assert "must not be in a profile" in found["8:etcd.password"]
    assert "fleet" in str(caught.value).splitlines()[0]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("user: tunnels", "user and password are given together"),
        ("cert_file: a.pem", "cert_file and key_file are given together"),
        ("ca_file: a.pem", "no endpoint is https"),
    ],
)
def test_keys_that_belong_together(tmp_path: Path, more: str, message: str) -> None:
    text = f"version: 1\nfleet: web\netcd: {{endpoints: http://127.0.0.1:2379, {more}}}\n"
    with pytest.raises(ProfileInvalid, match=message):
        load_fleet(written(tmp_path, text), {})


def test_the_command_reports_the_mistakes_and_starts_nothing(world: World) -> None:
    file = written(world.home, "version: 1\nfleet: web\n")
    done = world.run("daemon", "--fleet", str(file), "web")
    assert done.returncode == 78
    assert "etcd.endpoints is missing" in done.stderr
    assert "Traceback" not in done.stderr
    done = world.run("daemon", "--fleet", str(file))
    assert done.returncode == 2


def test_a_daemon_in_no_fleet_says_so(world: World) -> None:
    world.profile("dev", "version: 1\nhosts: {here: {embedded: true}}\n")
    world.ok("up", "-d", "dev")
    done = world.run("fleet")
    assert done.returncode == 1
    assert "in no fleet" in done.stderr
    assert "fleet" not in world.status()["profiles"][0]


def test_a_daemon_in_no_fleet_imports_nothing_of_it() -> None:
    program = "import sys, tunnelctl.daemon.process; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    modules = done.stdout.split()
    assert "tunnelctl.daemon.process" in modules
    assert not [name for name in modules if name.startswith("tunnelctl.fleet")]
