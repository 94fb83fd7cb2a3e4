"""The workflows call what is in this repository, and may do no more than each job needs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TARGETS = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(path: Path) -> dict[str, Any]:
    """A workflow. Every value is a string: YAML 1.1 takes `on` for a boolean, GitHub does not."""
    found: dict[str, Any] = yaml.load(path.read_text(), yaml.BaseLoader)  # it builds only strings
    return found


def steps(workflow: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """All steps with the name of their job."""
    return [(name, step) for name, job in workflow["jobs"].items() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_what_it_runs_is_there(path: Path) -> None:
    ran = [step["run"] for _, step in steps(read(path)) if "run" in step]
    for command in ran:
        for script in re.findall(r"^\.ci/\S+", command):
            assert os.access(ROOT / script, os.X_OK), script
        for targets in re.findall(r"^make ([a-z ]+)(?: [A-Z]+=.*)?$", command):
            assert set(targets.split()) <= TARGETS


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_has_a_version_and_every_job_ends(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}, "for jobs that name none"
    assert all(int(job["timeout-minutes"]) <= 60 for job in workflow["jobs"].values())
    for _, step in steps(workflow):
        assert re.search(r"@(v\d|release/v\d)", step.get("uses", "@v0")), step


def test_the_lock_the_newest_and_known_vulnerabilities_are_jobs() -> None:
    commands = {name: step["run"] for name, step in steps(read(WORKFLOWS[0])) if "run" in step}
    assert commands == {
        "check": ".ci/run",
        "pythons": ".ci/run",
        "newest": ".ci/newest",
        "audit": ".ci/audit",
    }


def test_a_release_is_a_tag_and_is_published_without_a_token() -> None:
    release = read(ROOT / ".github/workflows/release.yml")
    assert release["on"] == {"push": {"tags": ["v[0-9]*"]}}
    publish = release["jobs"]["publish"]
    assert publish["environment"] == "pypi"
    assert publish["permissions"]["id-token"] == "write"
    (upload,) = [step for step in publish["steps"] if "pypi-publish" in step.get("uses", "")]
    assert set(upload["with"]) == {"packages-dir"}, "no password: trusted publishing"
    assert not re.search(r"secrets\.", (ROOT / ".github/workflows/release.yml").read_text())


def test_everything_that_is_published_was_checked_and_attested() -> None:
    jobs = read(ROOT / ".github/workflows/release.yml")["jobs"]
    made = set(jobs["publish"]["needs"])
    assert made == {"python", "system", "image"}
    for name in made:
        assert "check" in needs(jobs[name])
        used = [step.get("uses", "") for step in jobs[name]["steps"]]
        assert any(action.startswith("actions/attest-build-provenance@") for action in used), name
        assert jobs[name]["permissions"]["attestations"] == "write"


def test_the_release_has_the_files_that_were_attested_and_no_others() -> None:
    jobs = read(ROOT / ".github/workflows/release.yml")["jobs"]
    made = {what["name"] for job in jobs for what in artifacts(jobs[job], "upload-artifact")}
    downloaded = artifacts(jobs["publish"], "download-artifact")
    taken = [what for what in downloaded if what["path"] == "assets/"]
    assert {what.get("name") for what in taken} == made, "buildx leaves an artifact of its own"


def test_the_debian_package_has_the_data_path_compiled_for_both_releases() -> None:
    """The system job's Debian has one of the two Pythons only."""
    system = read(ROOT / ".github/workflows/release.yml")["jobs"]["system"]
    assert "python" in system["needs"], "whose wheels are for every Python"
    (taken,) = [
        step["with"] for step in system["steps"] if "/download-artifact@" in step.get("uses", "")
    ]
    (package,) = [step["run"] for step in system["steps"] if "make deb" in step.get("run", "")]
    assert taken["name"] == "python"
    assert f"--wheels {taken['path'].rstrip('/')}" in package


def needs(job: dict[str, Any]) -> list[str]:
    """The jobs that must have succeeded before a job."""
    named = job["needs"]
    return [named] if isinstance(named, str) else named


def artifacts(job: dict[str, Any], action: str) -> list[dict[str, str]]:
    """What a job's steps with this action move."""
    return [step["with"] for step in job["steps"] if f"/{action}@" in step.get("uses", "")]
