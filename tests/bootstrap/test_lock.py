"""requirements/ holds what pyproject.toml asks for, in versions that it allows, with hashes."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tools.lock import EXTRAS, FOLDER

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COMPILER = PROJECT["tool"]["hatch"]["build"]["hooks"]["custom"]["compiler"]
OPTIONAL = PROJECT["project"]["optional-dependencies"]
EXTRAS_TOO = [
    *PROJECT["project"]["dependencies"],
    *(line for extra in EXTRAS for line in OPTIONAL[extra]),
]
EVERYTHING = {
    "run": PROJECT["project"]["dependencies"],
    "all": EXTRAS_TOO,
    "build": PROJECT["build-system"]["requires"],
    "compile": [*PROJECT["build-system"]["requires"], *COMPILER],
    "release": PROJECT["dependency-groups"]["release"],
    "test": [*COMPILER, *EXTRAS_TOO, *OPTIONAL["test"]],
}


def locked(name: str) -> dict[str, list[Requirement]]:
    """The entries of one file, by name; several where Pythons need different versions."""
    entries: dict[str, list[Requirement]] = {}
    text = (FOLDER / f"{name}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s+--hash=", line)
        assert hashes, f"{requirement} has no hash"
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest.strip()) for digest in hashes)
        entry = Requirement(requirement)
        entries.setdefault(canonicalize_name(entry.name), []).append(entry)
    return entries


@pytest.mark.parametrize("name", EVERYTHING)
def test_the_lock_holds_all_that_is_asked_for(name: str) -> None:
    entries = locked(name)
    for asked in map(Requirement, EVERYTHING[name]):
        found = entries.get(canonicalize_name(asked.name), [])
        assert found, f"{asked.name} is not in {name}.txt: run tools/lock.py"
        for entry in found:
            (pin,) = entry.specifier
            assert pin.operator == "=="
            assert asked.specifier.contains(pin.version), f"{entry}: run tools/lock.py"


def test_the_audit_asks_about_all_that_is_released() -> None:
    script = (ROOT / ".ci" / "audit").read_text()
    asked = re.search(r"for name in (.+); do", script)
    assert asked is not None
    assert asked[1].split() == ["all", "compile"]
    assert all((FOLDER / f"{name}.txt").exists() for name in asked[1].split())
    assert "--strict" in script  # otherwise a package that PyPI does not know is passed over


def test_only_the_compiled_wheel_needs_a_compiler() -> None:
    assert "mypy" in locked("compile")
    assert not {"mypy", "setuptools"} & {*locked("run"), *locked("build")}


@pytest.mark.parametrize("name", ["run", "all", "build", "compile"])
def test_the_checks_run_with_what_users_install(name: str) -> None:
    checked = locked("test")
    for package, entries in locked(name).items():
        if name in {"run", "all"} or package in checked:
            assert list(map(str, entries)) == list(map(str, checked[package]))
