"""The Debian package, in parts. packaging/deb/try installs it on bare systems."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path
from subprocess import PIPE

import pytest

from hatch_build import DATE
from tools import deb
from tunnelctl.cli.setup import help as help_command
from tunnelctl.config.profile.load import load_profile

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")


def test_the_units_start_the_command_of_the_package() -> None:
    system, user = deb.units("system"), deb.units("user")
    assert set(system) == set(user) == {"tunnelctl.service", "tunnelctl.socket"}
    for units in (system, user):
        assert "ExecStart=/usr/bin/tunnelctl daemon\n" in units["tunnelctl.service"]
        assert not any("sha256:" in text for text in units.values()), "dpkg knows what is changed"
    assert "User=tunnelctl\n" in system["tunnelctl.service"]
    assert "SocketUser=tunnelctl\n" in system["tunnelctl.socket"]
    assert "ListenStream=/run/tunnelctl/control.sock\n" in system["tunnelctl.socket"]
    assert "ListenStream=%t/tunnelctl/control.sock\n" in user["tunnelctl.socket"]


def test_it_depends_on_one_of_the_pythons_that_it_has_packages_for() -> None:
    control = (deb.CONTROL / "control").read_text()
    floors = re.findall(r"python3 \(>= ([\d.]+)~\)", control)
    assert tuple(floors) == deb.PYTHONS


def test_each_python_gets_its_own_entries_of_the_lock() -> None:
    backport = "backports-tarfile=="  # of keyring, before Python 3.12
    entries = {version: deb.lock_of(version) for version in deb.PYTHONS}
    assert [version for version, text in entries.items() if backport in text] == ["3.11"]
    for text in entries.values():
        assert "textual==" in text
        assert "pywin32" not in text
        assert all(" --hash=sha256:" in line for line in text.splitlines())


def test_the_project_has_one_address() -> None:
    assert deb.maintainer().endswith("@users.noreply.github.com>")
    urls = tomllib.loads((deb.ROOT / "pyproject.toml").read_text())["project"]["urls"]
    dockerfile = (deb.ROOT / "Dockerfile").read_text()
    labels = re.findall(r'opencontainers[\w.]+="(https:[^"]*)"', dockerfile)
    assert len(labels) == 3
    assert all(url.startswith(deb.homepage()) for url in (*urls.values(), *labels))


def test_the_example_is_a_valid_profile(tmp_path: Path) -> None:
    assert load_profile(deb.CONTROL / "example.yaml", {"HOME": str(tmp_path)}).profile.forwards


def test_help_finds_the_man_pages_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATE, "1790000000")
    deb.fill_system(tmp_path, "1.0-1")
    pages = [tmp_path / page.relative_to("/") for page in help_command.pages("tunnelctl-up.1")]
    assert [page for page in pages if page.exists()]


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_the_maintainer_scripts_are_for_any_sh(name: str) -> None:
    script = deb.CONTROL / name
    subprocess.run(["sh", "-n", str(script)], check=True)
    assert script.read_text().startswith("#!/bin/sh\n")


def test_packages_that_are_the_same_for_both_pythons_are_kept_once(tmp_path: Path) -> None:
    first, second = (tmp_path / f"lib/python{v}/site-packages" for v in deb.PYTHONS)
    for packages, compiled in ((first, "for 3.11"), (second, "for 3.13")):
        for name, text in (("pure", "same"), ("fast", compiled)):
            (packages / name).mkdir(parents=True)
            (packages / name / "__init__.py").write_text(text)
    deb.share(tmp_path)
    assert (tmp_path / "lib/shared/pure/__init__.py").read_text() == "same"
    for packages in (first, second):
        assert {path.name for path in packages.iterdir()} == {"fast", "shared.pth"}
        line = (packages / "shared.pth").read_text().strip()
        assert (packages / line).resolve() == tmp_path / "lib/shared"


def test_a_removal_stops_daemons_that_commands_started(tmp_path: Path) -> None:
    """No command would be left that stops them."""
    python = str(tmp_path / "python3")
    sleep = shutil.which("sleep")
    assert sleep is not None
    functions, *_ = (deb.CONTROL / "prerm").read_text().partition("\nif ")
    functions = functions.replace("PYTHON=/opt/tunnelctl/bin/python3", f"PYTHON={python}")
    with (
        subprocess.Popen([python, "60"], executable=sleep) as daemon,
        subprocess.Popen([sleep, "60", "0"]) as other,
        subprocess.Popen(["sh", "-c", "read line", "sh", python], stdin=PIPE) as names_it,
    ):
        words = ["sh", "-c", f"{functions}\nstop_others"]
        said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
        assert said == f"Stopping tunnelctl of users: {daemon.pid}\n"
        assert daemon.wait(5) == -signal.SIGTERM
        for bystander in (other, names_it):
            assert bystander.poll() is None
            bystander.kill()


def test_another_python_of_the_system_gets_its_bytecode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only root can write it; without it, every start would compile its modules."""
    monkeypatch.setenv(DATE, "1790000000")
    deb.write_control(tmp_path, "1.0-1")
    assert "\ninterest-noawait /usr/bin/python3\n" in (tmp_path / "DEBIAN/triggers").read_text()
    functions, _, cases = (tmp_path / "DEBIAN/postinst").read_text().partition("\ncase ")
    stub = 'compile() { echo "compiled"; }'
    script = f"{functions}\n{stub}\ncase {cases}"
    words = ["sh", "-c", script, "postinst", "triggered", "/usr/bin/python3"]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert said == "compiled\n"


@needs_dpkg
def test_the_same_content_is_the_same_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DATE, "1790000000")
    made = []
    for number, umask in enumerate((0o022, 0o077)):
        tree = tmp_path / f"tree{number}"
        content = tree / deb.PREFIX / "lib"
        content.mkdir(parents=True, mode=0o777 & ~umask)
        (content / "module.py").write_text("content")
        (content / "module.py").chmod(0o666 & ~umask)
        example = tree / "etc/tunnelctl/example.yaml"
        example.parent.mkdir(parents=True)
        example.write_text("version: 1")
        deb.write_control(tree, "1.0-1")
        made.append(deb.pack(tree, tmp_path / f"{number}.deb").read_bytes())
    assert made[0] == made[1]
    shown = subprocess.run(
        ["dpkg-deb", "--contents", tmp_path / "0.deb"], capture_output=True, text=True, check=True
    ).stdout
    assert "-rw-r--r-- root/root" in shown
