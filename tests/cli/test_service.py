"""`service`: what it writes is what systemd takes; what it removes is what it wrote."""

from __future__ import annotations

import json
import os
import plistlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import World
from tunnelctl.cli.setup.units import Service, UnitManager, environment_of, files, is_as_written

SERVICE = Service(
    command=("/opt/a b/python", "-m", "tunnelctl", "daemon", "50%", "$HOME", 'say "it"'),
    system=True,
    socket=Path("/run/tunnelctl/control.sock"),
    log=Path("/var/lib/tunnelctl/daemon.log"),
    account="daemon",
    environment={"XDG_STATE_HOME": "/var/lib"},
)


def units(world: World) -> Path:
    return world.home / "config" / "systemd" / "user"


@pytest.fixture
def systemctl(world: World) -> Path:
    """A `systemctl` that says yes and keeps what it was told: tests start no services here."""
    folder = world.home / "bin"
    folder.mkdir()
    said = world.home / "systemctl.log"
    program = folder / "systemctl"
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {said}\ncase "$*" in *is-active*) echo active;; esac\n'
    )
    program.chmod(0o755)
    world.environ["PATH"] = f"{folder}:{world.environ['PATH']}"
    return said


def test_install_status_uninstall(world: World, systemctl: Path) -> None:
    assert world.run("service", "status", "--user", "--dry-run").returncode == 1
    dry = world.ok("service", "install", "--user", "--dry-run", "dev")
    assert not units(world).exists()
    done = world.run("service", "install", "--user", "--now", "dev")
    assert done.returncode == 0, done.stderr
    assert "loginctl enable-linger" in done.stderr
    written = sorted(units(world).iterdir())
    assert [path.name for path in written] == ["tunnelctl.service", "tunnelctl.socket"]
    for path in written:
        assert path.read_text() in dry
        assert path.stat().st_mode & 0o777 == 0o644
    assert systemctl.read_text().splitlines()[-2:] == [
        "--user daemon-reload",
        "--user enable --now tunnelctl.socket tunnelctl.service",
    ]
    state = json.loads(world.ok("service", "status", "--user", "--json"))
    assert state == {"files": dict.fromkeys(map(str, written), "installed"), "active": "active"}
    world.ok("service", "install", "--user")  # again, now without a profile
    assert "daemon dev" not in written[0].read_text()
    world.ok("service", "uninstall", "--user", "--dry-run")
    assert all(path.exists() for path in written)
    world.ok("service", "uninstall", "--user", "--now")
    assert not any(path.exists() for path in written)
    assert systemctl.read_text().splitlines()[-2:] == [
        "--user disable --now tunnelctl.socket tunnelctl.service",
        "--user daemon-reload",
    ]
    assert "no service is installed" in world.run("service", "uninstall", "--user").stderr


def test_the_unit_of_a_fleet_says_how_long_a_process_may_be_stuck(world: World) -> None:
    """The daemon tells systemd, which must listen: tests/daemon/test_notify.py."""
    shortened = "# The daemon shortens it to less than the margin of its lease.\nWatchdogSec=30\n"
    plain = world.ok("service", "install", "--user", "--dry-run", "web")
    assert shortened not in plain
    unit = world.ok("service", "install", "--user", "--dry-run", "--fleet", "fleet.yml", "web")
    assert shortened in unit
    assert f"daemon --fleet {world.home}/fleet.yml web\n" in unit
    assert "Type=notify\n" in unit
    assert "NotifyAccess" not in unit  # the default of this type: the daemon itself
    assert world.run("service", "install", "--user", "--fleet", "fleet.yml").returncode == 2


@pytest.mark.parametrize("text", ["mine\n", None], ids=["foreign", "edited"])
def test_what_somebody_changed_is_left_alone(world: World, text: str | None) -> None:
    world.ok("service", "install", "--user")
    unit = units(world) / "tunnelctl.service"
    changed = text or unit.read_text().replace("RestartSec=2", "RestartSec=20")
    unit.write_text(changed)
    for command in ("install", "uninstall"):
        refused = world.run("service", command, "--user")
        assert refused.returncode == 2
        assert str(unit) in refused.stderr
        assert "--force" in refused.stderr
        assert unit.read_text() == changed
    assert (units(world) / "tunnelctl.socket").exists(), "not half of it is removed"
    assert world.run("service", "uninstall", "--user", "--dry-run").returncode == 2
    dry = world.run("service", "install", "--user", "--dry-run")
    assert f"{unit} was changed: it would not" in dry.stderr
    assert f"{unit}: changed" in world.run("service", "status", "--user").stdout
    world.ok("service", "install", "--user", "--force")
    assert is_as_written(unit.read_text())
    unit.write_text(changed)
    world.ok("service", "uninstall", "--user", "--force")
    assert not unit.exists()


def test_what_systemctl_edit_made_is_left_alone(world: World) -> None:
    world.ok("service", "install", "--user")
    override = units(world) / "tunnelctl.service.d" / "override.conf"
    override.parent.mkdir()
    override.write_text("[Service]\nLoadCredential=password:/k/password\n")
    done = world.run("service", "uninstall", "--user")
    assert done.returncode == 0
    assert f"{override.parent} is kept" in done.stderr
    assert [path.name for path in units(world).iterdir()] == ["tunnelctl.service.d"]


def test_an_agent_that_it_will_not_see_is_said(world: World) -> None:
    done = world.run("service", "install", "--user", environ={"SSH_AUTH_SOCK": "/tmp/agent"})
    assert "import-environment SSH_AUTH_SOCK" in done.stderr


def test_a_daemon_that_runs_already_is_in_the_way(world: World, systemctl: Path) -> None:
    world.profile(
        "dev",
        "version: 1\nhosts: {a: {embedded: true}}\nforwards:\n"
        "  x: {local: 0, to: 'hello:80', via: a}\n",
    )
    world.ok("up", "dev", "-d")
    refused = world.run("service", "install", "--user", "--now")
    assert refused.returncode == 1
    assert "tunnelctl down --all" in refused.stderr
    assert not units(world).exists()
    assert not systemctl.exists()


def test_a_manager_that_refuses_is_said(world: World, systemctl: Path) -> None:
    program = world.home / "bin" / "systemctl"
    program.write_text("#!/bin/sh\necho 'no bus here' >&2\nexit 1\n")
    refused = world.run("service", "install", "--user", "--now")
    assert refused.returncode == 1
    assert "no bus here" in refused.stderr


@pytest.mark.parametrize(
    "words",
    [["--run-as", "root", "--user"], ["--run-as", "no-such-account", "--system", "--dry-run"]],
)
def test_an_account_that_cannot_be(world: World, words: list[str]) -> None:
    assert world.run("service", "install", *words).returncode == 2


def test_the_service_finds_what_the_shell_finds(world: World) -> None:
    shown = world.ok("service", "install", "--user", "--dry-run")
    for name in ("TUNNELCTL_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        assert f"Environment={name}={world.environ[name]}\n" in shown
    assert f"ListenStream={world.environ['XDG_RUNTIME_DIR']}/tunnelctl/control.sock\n" in shown
    kept = environment_of({"TUNNELCTL_SOCKET": "a.sock", "SECRET": "x"}, Path("/d"), system=False)
    assert kept == {"TUNNELCTL_SOCKET": "/d/a.sock"}


def test_a_word_of_the_command_is_a_word_for_systemd() -> None:
    (text,) = (
        t for p, t in files(UnitManager.SYSTEMD, SERVICE, {}).items() if p.suffix == ".service"
    )
    found = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert found is not None
    # Its quotes and backslashes are a shell's; `%` and `$` are doubled.
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(found[1])]
    assert tuple(words) == SERVICE.command


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("scope", ["user", "system"])
def test_systemd_takes_the_units(tmp_path: Path, scope: str) -> None:
    about = Service(
        command=(sys.executable, "-P", "-m", "tunnelctl", "daemon", "a profile", "100%", "$x"),
        system=scope == "system",
        socket=Path("/run/tunnelctl/control.sock"),
        log=Path("/var/lib/tunnelctl/daemon.log"),
        account="daemon",
        environment={"TUNNELCTL_CONFIG_DIR": "/a folder/100%"},
    )
    paths = []
    for path, text in files(UnitManager.SYSTEMD, about, {"HOME": str(tmp_path)}).items():
        paths.append(tmp_path / path.name)
        paths[-1].write_text(text)
    done = subprocess.run(
        ["systemd-analyze", f"--{scope}", "--man=no", "verify", *paths],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    # It looks at units of the machine as well, and says what is wrong with those.
    said = [line for line in done.stderr.splitlines() if "tunnelctl" in line]
    assert (done.returncode, said) == (0, []), done.stderr


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_machines_service_is_hardened(tmp_path: Path) -> None:
    (text,) = (
        t for p, t in files(UnitManager.SYSTEMD, SERVICE, {}).items() if p.suffix == ".service"
    )
    unit = tmp_path / "tunnelctl.service"
    unit.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30", "--no-pager", unit],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Unknown" in done.stderr or "unrecognized" in done.stderr:
        pytest.skip("this systemd cannot judge a file (it needs version 250)")
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


def test_launchd_gets_a_property_list() -> None:
    ((path, text),) = files(UnitManager.LAUNCHD, SERVICE, {"HOME": "/Users/me"}).items()
    assert path == Path("/Library/LaunchDaemons/tunnelctl.daemon.plist")
    content = plistlib.loads(text.encode())
    assert content["ProgramArguments"] == list(SERVICE.command)
    assert content["Label"] == "tunnelctl.daemon"
    assert content["UserName"] == "daemon"
    assert content["KeepAlive"] == {"SuccessfulExit": False}
    assert content["EnvironmentVariables"] == {"XDG_STATE_HOME": "/var/lib"}
    assert content["Umask"] == 0o077
    assert is_as_written(text)
    assert not is_as_written(text.replace("Background", "Standard"))
