"""What is built from the source, with and without a compiler: hatch_build.py on two modules."""

from __future__ import annotations

import email.parser
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from hatch_build import LOCK, LOCK_WITH_EXTRAS, NEEDED_PYTHON, SBOM, VENDORED, locked, why_pure
from tunnelctl import __version__

ROOT = Path(__file__).resolve().parents[2]
# Both are compiled in seconds; the rest of the data path would take a minute.
MODULES = ("__init__.py", "clock.py")
SAYS = """
import tunnelctl
from tunnelctl import clock
print(tunnelctl.is_compiled(), hasattr(clock, "EDITED"))
"""

pytestmark = pytest.mark.timeout(600)
needs_compiler = pytest.mark.skipif(why_pure() is not None, reason="nothing can be compiled here")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A clone with little in it."""
    folder = tmp_path / "clone"
    package = folder / "tunnelctl"
    package.mkdir(parents=True)
    (folder / "man").mkdir()
    shutil.copytree((ROOT / VENDORED).parent, (folder / VENDORED).parent)
    for name in MODULES:
        shutil.copy(ROOT / "tunnelctl" / name, package)
    for name in ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py"):
        shutil.copy(ROOT / name, folder)
    (folder / LOCK).parent.mkdir()
    for lock in (LOCK, LOCK_WITH_EXTRAS):
        shutil.copy(ROOT / lock, folder / lock)
    return folder


def build(tree: Path, into: str, kind: str = "wheel", **environ: str) -> tuple[Path, str]:
    """Build a wheel or an sdist; returns it and the output."""
    folder = tree.with_name(into)
    done = run_build(tree, folder, kind, **environ)
    assert done.returncode == 0, done.stdout
    (archive,) = folder.iterdir()
    return archive, done.stdout


def run_build(
    tree: Path, folder: Path, kind: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """The build itself, which may fail."""
    pytest.importorskip("hatchling")
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)],
        cwd=tree,
        env={**os.environ, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def files(tree: Path) -> set[str]:
    """What lies there, but for the caches of Python."""
    found = (path for path in tree.rglob("*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(tree)) for path in found}


@pytest.mark.long
def test_an_older_python_can_build_so_pip_says_which_one_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as older:
        older.setattr(sys, "version_info", (3, 10, 13))
        assert why_pure() == "for a Python that is too old"
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert oldest == f">={'.'.join(map(str, NEEDED_PYTHON))}"
    check = ("-m", "mypy", "--config-file=", "--python-version=3.10")
    about = ("--ignore-missing-imports", "--follow-imports=silent", "--no-error-summary")
    command = [sys.executable, *check, *about, str(ROOT / "hatch_build.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"TUNNELCTL_PURE": "1"}, "TUNNELCTL_PURE is set"),
        ({"CC": "/nowhere/cc"}, "there is no C compiler (/nowhere/cc)"),
        ({"CC": "false"}, "there are no headers of Python for C"),
    ],
)
def test_a_wheel_is_pure_where_nothing_can_be_compiled_and_says_why(
    tree: Path, environ: dict[str, str], why: str
) -> None:
    wheel, said = build(tree, "wheel", **environ)
    assert wheel.name == f"tunnelctl-{__version__}-py3-none-any.whl"
    (note,) = [line for line in said.splitlines() if "pure Python" in line]
    assert why in note


@needs_compiler
def test_a_compiler_that_fails_ends_the_build_with_the_way_around_it(tree: Path) -> None:
    compiler = tree.with_name("cc")
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *-fsyntax-only*) exec cc "$@";; esac\necho no space >&2; exit 1\n'
    )
    compiler.chmod(0o755)
    done = run_build(tree, tree.with_name("wheel"), "wheel", CC=str(compiler))
    assert done.returncode != 0
    assert "no space" in done.stdout
    assert "with TUNNELCTL_PURE=1 it stays pure Python" in done.stdout.splitlines()[-1]


@needs_compiler
def test_compiled_files_never_come_before_the_source_that_is_edited(tree: Path) -> None:
    before = files(tree)
    wheel, _ = build(tree, "wheel")
    assert f"-cp{sys.version_info[0]}{sys.version_info[1]}-" in wheel.name
    assert files(tree) == before
    elsewhere = shutil.copytree(tree, tree.with_name("another folder"))
    again, _ = build(elsewhere, "again")
    assert again.read_bytes() == wheel.read_bytes()
    for folder in (str(tree.parent), sys.base_prefix + "/lib"):
        assert folder.encode() not in shared_library(wheel)
    assert [name for name in components(wheel) if name == "mypy"], "its C runtime is compiled in"

    venv = tree.with_name("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = str(venv / "bin" / "python")
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    assert ask(python).split() == ["True", "False"]

    # As pip does for `-e`, with the backend of this environment.
    backend = "import hatchling.build; hatchling.build.build_editable('../editable')"
    tree.with_name("editable").mkdir()
    subprocess.run([sys.executable, "-c", backend], cwd=tree, check=True)
    (editable,) = tree.with_name("editable").iterdir()
    subprocess.run([*pip, "--force-reinstall", str(editable)], check=True)
    with (tree / "tunnelctl" / "clock.py").open("a") as source:
        source.write("EDITED = True\n")
    assert ask(python).split() == ["False", "True"]


# --- byte for byte the same -----------------------------------------------------------------

COMMITTED = 1_790_000_000  # after hatchling's own date, before today's


def test_built_twice_in_two_folders_it_is_the_same(tree: Path) -> None:
    elsewhere = shutil.copytree(tree, tree.with_name("another folder"), copy_function=shutil.copy)
    (elsewhere / "README.md").chmod(0o600)
    for kind in ("wheel", "sdist"):
        one, _ = build(tree, f"one {kind}", kind, TUNNELCTL_PURE="1")
        other, _ = build(elsewhere, f"other {kind}", kind, TUNNELCTL_PURE="1")
        assert one.name == other.name
        assert one.read_bytes() == other.read_bytes()


def test_the_sdist_builds_the_same_wheel_with_the_date_of_the_commit(tree: Path) -> None:
    commit(tree, COMMITTED)
    wheel, _ = build(tree, "wheel", TUNNELCTL_PURE="1")
    assert {info.date_time for info in zipfile.ZipFile(wheel).infolist()} == {
        time.gmtime(COMMITTED)[:6]
    }
    sdist, _ = build(tree, "sdist", "sdist")
    unpacked = tree.with_name("unpacked")
    with tarfile.open(sdist) as archive:
        assert {member.mtime for member in archive} == {COMMITTED}
        archive.extractall(unpacked, filter="data")
    again, _ = build(unpacked / sdist.name.removesuffix(".tar.gz"), "again", TUNNELCTL_PURE="1")
    assert again.read_bytes() == wheel.read_bytes()


def test_a_date_that_is_set_is_kept(tree: Path) -> None:
    commit(tree, COMMITTED)
    wheel, _ = build(tree, "wheel", TUNNELCTL_PURE="1", SOURCE_DATE_EPOCH=str(COMMITTED + 60))
    assert {info.date_time for info in zipfile.ZipFile(wheel).infolist()} == {
        time.gmtime(COMMITTED + 60)[:6]
    }


def commit(tree: Path, when: int) -> None:
    """Make it a git repository of one commit."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    who = ("-c", "user.name=tests", "-c", "user.email=tests@localhost")
    environ = {**os.environ, "GIT_COMMITTER_DATE": f"{when} +0000"}
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "one")):
        subprocess.run(["git", *who, *words], cwd=tree, env=environ, check=True)


# --- what it says about itself --------------------------------------------------------------


def test_the_metadata_is_whole(tree: Path) -> None:
    wheel, _ = build(tree, "wheel", TUNNELCTL_PURE="1")
    info = f"tunnelctl-{__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.parser.Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        assert b"MIT License" in archive.read(f"{info}/licenses/LICENSE")
        licenses = {name for name in archive.namelist() if name.startswith(f"{info}/licenses/")}
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "MIT AND Apache-2.0"
    named = metadata.get_all("License-File", [])
    assert {f"{info}/licenses/{name}" for name in named} == licenses
    assert {Path(name).name for name in named} == {
        "LICENSE",
        "htm-LICENSE.txt",
        "preact-LICENSE.txt",
        "uPlot-LICENSE.txt",
    }
    assert metadata["Description-Content-Type"] == "text/markdown"
    for name in ("Summary", "Author-email", "Keywords", "Requires-Python"):
        assert metadata[name], name
    urls = {line.partition(",")[0] for line in metadata.get_all("Project-URL", [])}
    assert urls >= {"Homepage", "Documentation", "Changelog", "Issues", "Source"}
    assert "Operating System :: POSIX :: Linux" in metadata.get_all("Classifier", [])


def test_the_links_of_the_description_lead_somewhere_without_the_files_beside_it(
    tree: Path,
) -> None:
    (tree / "README.md").write_text(
        "[page](docs/a.md#part) ![picture](docs/a.svg) [part](#part) [site](https://example.org/)\n"
    )
    for kind in ("wheel", "sdist"):
        archive, _ = build(tree, kind, kind, TUNNELCTL_PURE="1")
        at = f"https://github.com/tunnelctl/tunnelctl/{{}}/v{__version__}/docs/a.{{}}"
        assert description(archive) == (
            f"[page]({at.format('blob', 'md')}#part) ![picture]({at.format('raw', 'svg')}) "
            "[part](#part) [site](https://example.org/)\n"
        )


def description(archive: Path) -> str:
    """What PyPI shows of a wheel or an sdist."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            metadata = wheel.read(f"tunnelctl-{__version__}.dist-info/METADATA")
    else:
        with tarfile.open(archive) as sdist:
            member = sdist.extractfile(f"tunnelctl-{__version__}/PKG-INFO")
            assert member is not None
            metadata = member.read()
    return str(email.parser.BytesParser().parsebytes(metadata).get_payload())


def test_all_that_is_installed_is_in_the_bill_of_materials(tree: Path) -> None:
    wheel, _ = build(tree, "wheel", TUNNELCTL_PURE="1")
    packages, required = locked(ROOT / LOCK_WITH_EXTRAS), locked(ROOT / LOCK)
    vendored = {each["name"]: each for each in json.loads((ROOT / VENDORED).read_text())}
    assert set(vendored) == {"htm", "preact", "uplot"}
    versions = {name: each["version"] for name, each in vendored.items()}
    assert components(wheel) == {**packages, **versions}
    for each in bill(wheel)["components"]:
        if each["name"] in vendored:
            (license_,) = each["licenses"]
            assert license_ == {"license": {"id": vendored[each["name"]]["license"]}}
            assert each["purl"] == f"pkg:npm/{each['name']}@{each['version']}"
        assert (each["scope"] == "required") == (each["name"] in {*required, *vendored})
    whole = bill(wheel)["metadata"]["component"]
    assert whole["purl"] == f"pkg:pypi/tunnelctl@{__version__}"
    (direct,) = bill(wheel)["dependencies"]
    assert direct["ref"] == whole["bom-ref"]
    assert f"pkg:pypi/paramiko@{packages['paramiko']}" in direct["dependsOn"]


def bill(wheel: Path) -> dict[str, Any]:
    """Its bill of materials, where PEP 770 has it."""
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(f"tunnelctl-{__version__}.dist-info/sboms/{SBOM}")
    found: dict[str, Any] = json.loads(content)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    return found


def components(wheel: Path) -> dict[str, str]:
    """The versions in its bill of materials, by name."""
    return {each["name"]: each["version"] for each in bill(wheel)["components"]}


def shared_library(wheel: Path) -> bytes:
    """The library with all compiled code."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if "__mypyc" in name]
        return archive.read(name)


def ask(python: str) -> str:
    """Whether the package of that environment is compiled, and whether it has what was edited."""
    asked = [python, "-P", "-c", SAYS]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout
