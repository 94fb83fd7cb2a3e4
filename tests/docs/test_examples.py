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
from tests.docs.pages import PAGES, README, ROOT, ProfileFile, examples, fenced, steps
from tests.support.sshd import OpenSSHServer
from tests.support.world import World
from tunnelctl.config.profile.load import load_profile

# Not run here: they prepare an environment of their own. tests/bootstrap runs what bootstrap.py
# does with a package index of the test's; CI begins with the second one (.ci/run), for real.
BOOTSTRAP = ("python3 bootstrap.py up dev", "python3 bootstrap.py test")
BASTION = re.compile(r"\bbastion\b")
SESSION = ROOT / "docs" / "session.svg"
_SVG_TEXT = "{http://www.w3.org/2000/svg}text"
_CONNECT = """
def connect(host, port):
    import http.client
    web = http.client.HTTPConnection(host, port)
    web.request("GET", "/")
    print(web.getresponse().read().decode(), end="")
    web.close()

"""
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


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_in_a_console_works(
    page: Path, examples_world: Examples, path: str, request: pytest.FixtureRequest
) -> None:
    if any(BASTION.search(str(step)) for step in steps(page)):
        request.getfixturevalue("with_bastion")
    if any(example.command.startswith("curl -") for example in examples(page)):
        needs_curl()
    follow(page, examples_world, path)


def follow(page: Path, examples_world: Examples, path: str) -> None:
    """Do what the page says, in order, and see what it shows."""
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


@pytest.mark.parametrize(
    "block",
    [
        "```console\n$ tunnelctl check no-such-profile\n```",
        "```console\n$ tunnelctl check dev\n$ tunnelctl chek dev\n```",
        "- In a list:\n\n  ```console\n  $ tunnelctl ps --no-such-option\n  ```",
        "```console\n$ tunnelctl --version\nanother line than it prints\n```",
    ],
)
def test_a_page_that_is_wrong_is_found_out(
    block: str, examples_world: Examples, path: str, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```console\n$ tunnelctl check dev\n```\n\n{block}\n")
    with pytest.raises(AssertionError):
        follow(page, examples_world, path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_profile_that_a_page_shows_is_valid(page: Path, tmp_path: Path) -> None:
    for number, text in enumerate(fenced(page, "yaml")):
        file = tmp_path / f"p{number}.yaml"
        # Some pages show a section alone.
        file.write_text(text if "forwards:" in text else f"{text}hosts: {{a: {{embedded: true}}}}")
        assert load_profile(file, {"HOME": str(tmp_path)}).profile


def test_the_program_on_the_page_about_sshtunnel_runs(
    with_bastion: Examples, sshd: OpenSSHServer
) -> None:
    (program,) = fenced(ROOT / "docs" / "sshtunnel.md", "python")
    moved = {
        '("bastion.example.com", 22)': f'("127.0.0.1", {sshd.port})',
        '"alice"': repr(sshd.user),
        '"~/.ssh/id_ed25519"': repr(str(sshd.identity)),
        '("db.internal", 5432)': repr(("127.0.0.1", int(with_bastion.names["3000"]))),
    }
    for shown, ours in moved.items():
        assert program.count(shown) == 1, shown
        program = program.replace(shown, ours)
    done = subprocess.run(
        [sys.executable, "-c", f"{_CONNECT}{program}"],
        env=with_bastion.world.environ,
        capture_output=True,
        text=True,
        timeout=_WITHIN,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "Hello, World!\n"), done.stderr


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


def test_the_two_bootstrap_commands_are_the_first_that_the_readme_runs() -> None:
    assert tuple(example.command for example in examples(README))[:2] == BOOTSTRAP
    assert "bootstrap.py test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.timeout(400)
def test_the_picture_is_what_its_script_records(
    examples_world: Examples, path: str, tmp_path: Path
) -> None:
    drawn = tmp_path / "session.svg"
    options = ("--configs", str(examples_world.world.configs), "--output", str(drawn))
    done = subprocess.run(
        [sys.executable, "-m", "tools.make_session", *options],
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
    """The lines of a picture without what every run has anew: figures, keys, in which of two ways
    the kernel told of a killed server, and whether a target was asked already."""
    root = ElementTree.parse(picture).getroot()
    lines: dict[str, str] = {}
    for text in root.iter(_SVG_TEXT):
        lines.setdefault(text.attrib["y"], "")
        lines[text.attrib["y"]] += text.text or ""
    *terminal, _caption = lines.values()
    plain = (re.sub(r" +", " ", line.replace(" (healthy)", "")) for line in terminal)
    return [re.sub(r"(?<=detected after ).*|SHA256:\S+|\d+(\.\d+)?", "#", line) for line in plain]
