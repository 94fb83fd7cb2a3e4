"""Every command that README.md and docs/ show in a console is run, and prints what is shown."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.docs.conftest import Examples
from tests.docs.pages import PAGES, README, ROOT, ProfileFile, examples, steps
from tests.support.world import World

# Not run here: they prepare an environment of their own. tests/bootstrap runs what bootstrap.py
# does with a package index of the test's; CI begins with the second one (.ci/run), for real.
BOOTSTRAP = ("python3 bootstrap.py up dev", "python3 bootstrap.py test")
BASTION = re.compile(r"\bbastion\b")
SESSION = ROOT / "docs" / "session.svg"
_SVG_TEXT = "{http://www.w3.org/2000/svg}text"
_WITHIN = 120  # seconds

# What `curl URL` does, for a machine that has none: CI's is bare.
# A `#!` line cannot hold the path of a Python with a space in it; a shell's words can.
_FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[-1]).read().decode(), end='')"
_CURL = f"""#!/bin/sh
exec {shlex.quote(sys.executable)} -c {shlex.quote(_FETCH)} "$@"
"""


@pytest.fixture
def path(world: World) -> str:
    """A $PATH on which `tunnelctl` and `curl` are."""
    folder = world.home / "bin"
    folder.mkdir()
    if shutil.which("curl") is None:
        curl = folder / "curl"
        curl.write_text(_CURL)
        curl.chmod(0o755)
    places = (folder, Path(sys.executable).parent, os.environ.get("PATH", os.defpath))
    return os.pathsep.join(map(str, places))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_in_a_console_works(
    page: Path, examples_world: Examples, path: str, request: pytest.FixtureRequest
) -> None:
    if any(BASTION.search(str(step)) for step in steps(page)):
        request.getfixturevalue("with_bastion")
    if any(example.command.startswith("curl -") for example in examples(page)):
        needs_curl()
    world = examples_world.world
    for example in steps(page):
        if isinstance(example, ProfileFile):
            world.profile(example.name, examples_world.moved(example.text))
            continue
        if example.command in BOOTSTRAP or example.why_not_run:
            continue
        command = examples_world.moved(example.command)
        done = run(command, world, path)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        for line in example.output:
            assert examples_world.moved(line) in done.stdout.splitlines(), command


def needs_curl() -> None:
    """Skip without the real one: what stands in for it takes a URL alone."""
    if shutil.which("curl") is None:
        pytest.skip("the page uses options of curl, which is not installed")


def run(command: str, world: World, path: str) -> subprocess.CompletedProcess[str]:
    """Run one line as a shell would, as the user of a private world."""
    return subprocess.run(
        ["bash", "-c", command],
        cwd=world.home,
        env={**world.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_WITHIN,
        check=False,
    )


def test_the_two_bootstrap_commands_are_what_the_readme_begins_with() -> None:
    assert tuple(example.command for example in examples(README))[:2] == BOOTSTRAP
    assert "bootstrap.py test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.timeout(180)
def test_the_picture_is_what_its_script_records(
    examples_world: Examples, path: str, tmp_path: Path
) -> None:
    drawn = tmp_path / "session.svg"
    options = ("--configs", str(examples_world.world.configs), "--output", str(drawn))
    done = subprocess.run(
        [sys.executable, "-m", "docs.make_session", *options],
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=_WITHIN,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Figures, ports and keys differ from run to run; what is said with them does not.
    assert gist(drawn) == gist(SESSION)


def gist(picture: Path) -> list[str]:
    """The lines of a picture without what every run has anew: figures, keys, and in which of two
    ways the kernel told of a killed server."""
    root = ElementTree.parse(picture).getroot()
    lines: dict[str, str] = {}
    for text in root.iter(_SVG_TEXT):
        lines.setdefault(text.attrib["y"], "")
        lines[text.attrib["y"]] += text.text or ""
    *terminal, _caption = lines.values()
    return [re.sub(r"(?<=noticed after ).*|SHA256:\S+|\d+(\.\d+)?", "#", line) for line in terminal]
