"""Builds the Debian package: `make deb`, or `python -m tools.deb --into FOLDER`.

One package serves Debian 12 and 13. It has a virtual environment in /opt/tunnelctl, whose Python is
the system's, with the locked packages for the Python of either. `dpkg-deb` is on every Debian;
debhelper would bring fifty packages and could not build for another release's Python. The package
is the same when it is built again from the same source, with the same compilers.

Owns what is in the package; packaging/deb/ has its control files. Must never take a package that is
not in the lock, and never run as anybody but who called it: nothing here needs root.
"""

from __future__ import annotations

import argparse
import filecmp
import gzip
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable
from email.utils import formatdate
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from hatch_build import DATE, source_date
from tunnelctl import __version__
from tunnelctl.cli.setup.completion_files import script
from tunnelctl.cli.setup.units import Service, UnitManager, environment_of, files

ROOT = Path(__file__).resolve().parents[1]
CONTROL = ROOT / "packaging" / "deb"
LOCK = ROOT / "requirements"
NAME = "tunnelctl"
PREFIX = Path("opt", NAME)
PYTHONS = ("3.11", "3.13")  # of Debian 12 and 13; `control` depends on one of them
GLIBC = 36  # 2.36 of Debian 12: wheels for it and for older ones run on both
_NOT_INSTALLED = ("bin", "share")  # scripts and man pages, which are elsewhere in the package
# What pip records about where a package came from; dpkg has its own list of files.
_RECORDS = ("RECORD", "REQUESTED", "direct_url.json")
_COMMAND = """\
#!/{python} -P
import sys

from tunnelctl.__main__ import main

sys.exit(main())
"""
_VENV = """\
home = /usr/bin
include-system-site-packages = false
"""
_SHARED = "../../shared\n"


def main(arguments: list[str]) -> int:
    """Build the package and print its path."""
    parser = argparse.ArgumentParser(prog="python -m tools.deb", description=__doc__)
    parser.add_argument("--into", type=Path, default=ROOT / "dist", help="default: dist")
    parser.add_argument("--revision", default="1", help="of the package; default: 1")
    parser.add_argument(
        "--wheels", type=Path, help="a folder with wheels of this version, built elsewhere"
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault(DATE, source_date(ROOT) or str(int(time.time())))
    os.umask(0o022)
    version = f"{__version__}-{options.revision}"
    options.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tunnelctl-deb-") as made:
        wheels = options.wheels or build_wheels(Path(made, "wheels"))
        tree = Path(made, "tree")
        fill_environment(tree / PREFIX, wheels.resolve())
        fill_system(tree, version)
        write_control(tree, version)
        print(pack(tree, options.into / f"{NAME}_{version}_{_architecture()}.deb"))
    return 0


# --- the environment ------------------------------------------------------------------------


def build_wheels(folder: Path) -> Path:
    """Build tunnelctl for each of PYTHONS that is installed, which compiles the data path, and
    otherwise in pure Python; returns the folder with the wheels."""
    pythons = [path for version in PYTHONS if (path := _usable(f"python{version}"))]
    for python in pythons or [sys.executable]:
        environment = folder.parent / f"build-{Path(python).name}"
        _run(python, "-m", "venv", environment)
        inside = environment / "bin" / "python"
        _run(inside, "-m", "pip", "install", "-q", "--require-hashes", "-r", LOCK / "compile.txt")
        _run(inside, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    if len(pythons) < len(PYTHONS) and not list(folder.glob("*-none-any.whl")):
        pure = {**os.environ, "TUNNELCTL_PURE": "1"}
        _run(inside, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, environ=pure)
    return folder


def _usable(name: str) -> str | None:
    """The path of a Python that can make environments; None if there is none of that name."""
    path = shutil.which(name)
    if path is None:
        return None
    tried = subprocess.run([path, "-c", "import ensurepip, venv"], capture_output=True, check=False)
    return path if tried.returncode == 0 else None


def fill_environment(prefix: Path, wheels: Path) -> None:
    """Make the virtual environment, which has the packages of every Python in PYTHONS."""
    for version in PYTHONS:
        packages = _packages(prefix, version)
        target = ("--target", packages, "--python-version", version, *_platforms())
        install = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile")
        only = ("--only-binary", ":all:", *target)
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as lock:
            lock.write(lock_of(version))
            lock.flush()
            _run(*install, *only, "--require-hashes", "-r", lock.name)
        _run(*install, *only, "--no-index", "--find-links", wheels, f"{NAME}=={__version__}")
        for name in _NOT_INSTALLED:
            shutil.rmtree(packages / name, ignore_errors=True)
        for info in packages.glob("*.dist-info"):
            for name in _RECORDS:
                (info / name).unlink(missing_ok=True)
            (info / "INSTALLER").write_text("dpkg\n")
    share(prefix)
    (prefix / "bin").mkdir()
    (prefix / "bin" / "python3").symlink_to("/usr/bin/python3")
    (prefix / "pyvenv.cfg").write_text(_VENV)
    command = prefix / "bin" / NAME
    command.write_text(_COMMAND.format(python=PREFIX / "bin" / "python3"))
    command.chmod(0o755)


def lock_of(version: str) -> str:
    """The entries of the lock that a Python of this version installs; pip would leave out those of
    another version than the one that it runs on."""
    python = {"python_version": version, "python_full_version": f"{version}.0"}
    lines = []
    for entry in (LOCK / "all.txt").read_text().replace("\\\n", " ").splitlines():
        requirement, *hashes = entry.split(" --hash=")
        if requirement.startswith("#"):
            continue
        wanted = Requirement(requirement)
        if wanted.marker is None or wanted.marker.evaluate(dict(python)):
            wanted.marker = None
            lines.append(" --hash=".join((str(wanted), *hashes)))
    return "\n".join(lines) + "\n"


def _packages(prefix: Path, version: str) -> Path:
    return prefix / "lib" / f"python{version}" / "site-packages"


def _platforms() -> Iterable[str]:
    """The platform tags that run on a Debian of this architecture, for pip."""
    machine = platform.machine()
    tags = [f"manylinux_2_{minor}_{machine}" for minor in range(GLIBC, 16, -1)]
    others = (f"manylinux2014_{machine}", f"linux_{machine}")  # the last one is our own
    return [word for tag in (*tags, *others) for word in ("--platform", tag)]


def share(prefix: Path) -> None:
    """Keep packages that are the same for all of PYTHONS once, in a folder that each one adds to
    its path (site in Python's library reference)."""
    shared = prefix / "lib" / "shared"
    shared.mkdir()
    first, *others = (_packages(prefix, version) for version in PYTHONS)
    for package in sorted(first.iterdir()):
        if all(_same(package, other / package.name) for other in others):
            package.rename(shared / package.name)
            for other in others:
                _remove(other / package.name)
    for packages in (first, *others):
        (packages / "shared.pth").write_text(_SHARED)


def _same(one: Path, other: Path) -> bool:
    if one.is_dir() and other.is_dir():
        names = {path.name for path in one.iterdir()}
        return names == {path.name for path in other.iterdir()} and all(
            _same(one / name, other / name) for name in names
        )
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


# --- what the system finds ------------------------------------------------------------------


def fill_system(tree: Path, version: str) -> None:
    """The command, its man pages and completion, units, the example, and the documents."""
    command = tree / "usr/bin" / NAME
    command.parent.mkdir(parents=True)
    command.symlink_to(f"/{PREFIX}/bin/{NAME}")
    share = tree / "usr/share"
    for page in sorted((ROOT / "man").glob("*.1")):
        _gzip(share / "man/man1" / f"{page.name}.gz", page.read_bytes())
    _write(share / f"bash-completion/completions/{NAME}", script("bash") + "\n")
    _write(share / f"zsh/vendor-completions/_{NAME}", script("zsh") + "\n")
    _write(share / f"fish/vendor_completions.d/{NAME}.fish", script("fish") + "\n")
    for scope in ("system", "user"):
        for path, text in units(scope).items():
            _write(tree / "usr/lib/systemd" / scope / path, text)
    _write(tree / f"etc/{NAME}/example.yaml", (CONTROL / "example.yaml").read_text())
    documents = share / "doc" / NAME
    _write(documents / "copyright", (CONTROL / "copyright").read_text().format(homepage=homepage()))
    _gzip(documents / "changelog.gz", (ROOT / "CHANGELOG.md").read_bytes())
    _gzip(documents / "changelog.Debian.gz", _changelog(version).encode())
    _write(share / "lintian/overrides" / NAME, (CONTROL / "lintian-overrides").read_text())


def units(scope: str) -> dict[str, str]:
    """The units of `tunnelctl service install`, by name, without the mark of that command, since
    dpkg knows whether they are changed."""
    is_system = scope == "system"
    environment = environment_of({}, Path("/"), system=is_system)
    about = Service(
        command=(f"/usr/bin/{NAME}", "daemon"),
        system=is_system,
        # %t is the runtime folder of the manager's user (systemd.unit(5)).
        socket=Path(environment.get("TUNNELCTL_SOCKET", f"%t/{NAME}/control.sock")),
        log=Path("/dev/null"),  # launchd's alone
        account=NAME if is_system else "",
        environment=environment,
    )
    written = files(UnitManager.SYSTEMD, about, {"HOME": "/"})
    return {
        path.name: text.partition("\n")[2].replace("=%%t/", "=%t/")
        for path, text in written.items()
    }


def _changelog(version: str) -> str:
    date = formatdate(int(os.environ[DATE]))
    return (
        f"{NAME} ({version}) stable; urgency=medium\n\n"
        f"  * /usr/share/doc/{NAME}/changelog.gz lists the changes.\n\n"
        f" -- {maintainer()}  {date}\n"
    )


def maintainer() -> str:
    """The maintainer of the package, as Debian writes it: the first author of pyproject.toml."""
    author = _project()["authors"][0]
    return f"{author['name']} <{author['email']}>"


def homepage() -> str:
    """The address of the project."""
    return str(_project()["urls"]["Homepage"])


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _gzip(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content, compresslevel=9, mtime=0))


# --- the package ----------------------------------------------------------------------------


def write_control(tree: Path, version: str) -> None:
    """The control files, with sizes and checksums of what is in the tree."""
    content = sorted(path for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    sums = [
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}"
        f"  {path.relative_to(tree)}\n"
        for path in content
    ]
    folder = tree / "DEBIAN"
    folder.mkdir()
    (folder / "md5sums").write_text("".join(sums))
    (folder / "conffiles").write_text(f"/etc/{NAME}/example.yaml\n")
    values = {
        "version": version,
        "architecture": _architecture(),
        "maintainer": maintainer(),
        "homepage": homepage(),
        "size": str(sum(-(-path.stat().st_size // 1024) for path in content)),
    }
    control = (CONTROL / "control").read_text()
    control = re.sub("^#.*\n", "", control, flags=re.MULTILINE)
    (folder / "control").write_text(control.format(**values))
    for name in ("postinst", "prerm", "postrm"):
        shutil.copyfile(CONTROL / name, folder / name)
        (folder / name).chmod(0o755)
    shutil.copyfile(CONTROL / "triggers", folder / "triggers")


def pack(tree: Path, package: Path) -> Path:
    """Write the package, with the date of the source on every file; returns its path."""
    date = int(os.environ[DATE])
    for path in (tree, *tree.rglob("*")):
        os.utime(path, (date, date), follow_symlinks=False)
        if not path.is_symlink():
            is_program = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if is_program else 0o644)
    _run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", tree, package, quiet=True)
    return package


def _architecture() -> str:
    """Debian's name of this machine's architecture."""
    words = ("dpkg", "--print-architecture")
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _run(*words: object, environ: dict[str, str] | None = None, quiet: bool = False) -> None:
    """Run a command in the project's folder."""
    output = subprocess.DEVNULL if quiet else sys.stderr
    subprocess.run([str(word) for word in words], cwd=ROOT, env=environ, stdout=output, check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
