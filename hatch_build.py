"""The build hooks of sdist and wheel: dates, the links of the description, the bill of materials,
the compiled data path.

Owns the list of compiled modules and the conditions. They are compiled if a C compiler and the
headers of Python are installed; otherwise, and with TUNNELCTL_PURE=1, the wheel is pure Python.
Must never leave a compiled file in the source tree, because Python prefers it to the edited source,
never compile for an editable installation, and never write anything that differs when the same
source is built again elsewhere. A Python that is too old must be able to build, without the
compiled data path: only then does pip look at `requires-python`, and say which Python is needed.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Container, Iterator, Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

# The modules that every packet or connection passes through. All others wait for people and
# networks.
COMPILED = (
    "tunnelctl/clock.py",
    "tunnelctl/spec/endpoint.py",
    "tunnelctl/wire/*.py",
    "tunnelctl/net/buffers.py",
    "tunnelctl/net/descriptors.py",
    "tunnelctl/net/edges.py",
    "tunnelctl/net/endings.py",
    "tunnelctl/net/gathering.py",
    "tunnelctl/net/reactor.py",
    "tunnelctl/net/unread.py",
    "tunnelctl/ssh/packets/chacha.py",
    "tunnelctl/ssh/packets/ciphers.py",
    "tunnelctl/ssh/packets/handover.py",
    "tunnelctl/ssh/packets/stream.py",
    "tunnelctl/ssh/link/flows.py",
    "tunnelctl/ssh/link/link.py",
    "tunnelctl/ssh/link/record.py",
    "tunnelctl/ssh/link/relay.py",
    "tunnelctl/ssh/link/rekeying.py",
    "tunnelctl/ssh/link/tap.py",
    "tunnelctl/ssh/reach/jump.py",
    "tunnelctl/forward/client_connections.py",
    "tunnelctl/forward/listener.py",
    "tunnelctl/forward/local.py",
    "tunnelctl/forward/channel_requests.py",
    "tunnelctl/forward/waiting.py",
    "tunnelctl/inspect/backlog.py",
    "tunnelctl/inspect/tap.py",
)
# No package of this environment is read, so that the code is the same on every machine. Without
# them, modules that are only imported here have errors that do not matter; the project's checks
# check the types.
MYPY_OPTIONS = (
    "--config-file=",
    "--no-site-packages",
    "--ignore-missing-imports",
    "--follow-imports=silent",
)
NEEDED_PYTHON = (3, 11)
GROUP = "tunnelctl"  # the shared library is GROUP__mypyc
C_OPTIONS = ("-g0",)

LOCK = Path("requirements", "run.txt")
LOCK_WITH_EXTRAS = Path("requirements", "all.txt")
# What tools/fetch_vendored.py wrote: the libraries of the dashboard's page, which npm has.
VENDORED = Path("tunnelctl", "dashboard", "static", "vendor", "packages.json")
_LOCKED = re.compile(r"^([\w.-]+)==([^\s;\\]+)(?! ; sys_platform == 'win32')", re.MULTILINE)
_NAME = re.compile(r"[\w.-]+")
SBOM = "tunnelctl.cdx.json"
DATE = "SOURCE_DATE_EPOCH"  # https://reproducible-builds.org/specs/source-date-epoch/
README = Path("README.md")
# A link or a picture in Markdown: the picture's mark, the text, the target in this repository.
_RELATIVE_LINK = re.compile(r"(!?)\[([^]]*)\]\((?!\w+:|#)([^)\s]+)\)")


class MetadataHook(MetadataHookInterface):
    """Makes the description from README.md. PyPI shows it without the files beside it, so its links
    lead to the repository, at the tag of the version."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the field that pyproject.toml calls dynamic."""
        text = Path(self.root, README).read_text(encoding="utf-8")
        text = absolute_links(text, metadata["urls"]["Source"], f"v{metadata['version']}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


class BuildHook(BuildHookInterface[Any]):
    """Dates both archives, and adds to a wheel that is not editable what only a build can make."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Build requirements in addition to the backend; none for pure Python."""
        if self.target_name != "wheel" or why_pure():
            return []
        return list(self.config["compiler"])

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are collected."""
        if version == "editable":
            return
        root = Path(self.root)
        if date := source_date(root):
            os.environ.setdefault(DATE, date)
        if self.target_name != "wheel":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="tunnelctl-build-"))
        reason = why_pure()
        if reason:
            self.app.display_info(f"tunnelctl: pure Python, {reason}")
        else:
            built = compile_modules(root, self._folder)
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["force_include"].update({str(path): name for name, path in built.items()})
        compiler = "" if reason else installed_version("mypy")
        sbom = bill_of_materials(root, self.metadata.core, self.metadata.version, compiler)
        (self._folder / SBOM).write_text(json.dumps(sbom, indent=2) + "\n", encoding="utf-8")
        build_data["sbom_files"].append(str(self._folder / SBOM))

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The archive is written."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            shutil.rmtree(folder)


# --- the description ------------------------------------------------------------------------


def absolute_links(markdown: str, repository: str, tag: str) -> str:
    """The text with every link to a file replaced by its address at GitHub: a picture's is that of
    the file, any other's that of the page which shows it."""

    def absolute(found: re.Match[str]) -> str:
        mark, text, target = found.groups()
        return f"{mark}[{text}]({repository}/{'raw' if mark else 'blob'}/{tag}/{target})"

    return _RELATIVE_LINK.sub(absolute, markdown)


# --- the same bytes from the same source ----------------------------------------------------


def source_date(root: Path) -> str | None:
    """The time of the source in seconds since 1970, for SOURCE_DATE_EPOCH; None if unknown.

    It is the time of the last commit. An sdist has no history, but its files have that time.
    """
    inside_sdist = root / "PKG-INFO"
    if inside_sdist.exists():
        return str(int(inside_sdist.stat().st_mtime))
    if not (root / ".git").exists():  # git would look in the folders above
        return None
    git = shutil.which("git")
    if git is None:
        return None
    ask = [git, "-C", str(root), "log", "-1", "--format=%ct"]
    asked = subprocess.run(ask, capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


# --- what it consists of --------------------------------------------------------------------


def bill_of_materials(root: Path, core: Any, version: str, compiler: str) -> dict[str, Any]:
    """The components of an installation, as CycloneDX 1.6, for `.dist-info/sboms/` (PEP 770): the
    packages in the versions that releases are tested with, those of the extras as optional ones,
    and the libraries that are in the package.

    `core` is the metadata of the package. `compiler` is the version of mypyc, whose C runtime is
    part of the compiled modules; empty for pure Python.
    """
    packages = locked(root / LOCK_WITH_EXTRAS)
    direct = [match[0] for line in core.dependencies if (match := _NAME.match(line))]
    whole = _component("application", core.name, version)
    components = [*_packages(packages, locked(root / LOCK)), *vendored(root / VENDORED)]
    if compiler:
        runtime = _component("library", "mypy", compiler)
        about = "The C runtime of mypyc, which is compiled into the data path"
        components.append({**runtime, "description": about, "scope": "required"})
    content = json.dumps([whole, components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {
            **_timestamp(),
            "component": {**whole, "licenses": [{"expression": core.license_expression}]},
        },
        "components": components,
        "dependencies": [
            {
                "ref": whole["bom-ref"],
                "dependsOn": [_purl(package, packages[package]) for package in sorted(direct)],
            }
        ],
    }


def _packages(packages: Mapping[str, str], required: Container[str]) -> Iterator[dict[str, Any]]:
    for package, version in sorted(packages.items()):
        scope = "required" if package in required else "optional"
        yield {**_component("library", package, version), "scope": scope}


def locked(lock: Path) -> dict[str, str]:
    """The packages of a lock file that are installed on Linux, with their versions."""
    return dict(_LOCKED.findall(lock.read_text(encoding="utf-8")))


def vendored(listed: Path) -> list[dict[str, Any]]:
    """The components that are files of the package itself."""
    if not listed.exists():
        return []
    return [
        {
            **_component("library", package["name"], package["version"], registry="npm"),
            "licenses": [{"license": {"id": package["license"]}}],
            "scope": "required",
        }
        for package in json.loads(listed.read_text(encoding="utf-8"))
    ]


def _component(kind: str, name: str, version: str, registry: str = "pypi") -> dict[str, str]:
    purl = _purl(name, version, registry)
    return {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _purl(name: str, version: str, registry: str = "pypi") -> str:
    """A package of a registry (https://github.com/package-url/purl-spec)."""
    return f"pkg:{registry}/{name.lower().replace('_', '-')}@{version}"


def _timestamp() -> dict[str, str]:
    date = os.environ.get(DATE)
    if date is None:
        return {}
    return {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(date)))}


# --- the compiled data path -----------------------------------------------------------------


def why_pure() -> str | None:
    """Why nothing is compiled; None if it is."""
    if os.environ.get("TUNNELCTL_PURE", "") not in ("", "0"):
        return "since TUNNELCTL_PURE is set"
    if sys.version_info < NEEDED_PYTHON:
        return "for a Python that is too old"
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    if shutil.which(compiler[0]) is None:
        return f"since there is no C compiler ({compiler[0]})"
    include = sysconfig.get_path("include")
    try_it = [*compiler, "-I", include, "-fsyntax-only", "-x", "c", "-"]
    tried = subprocess.run(try_it, input=b"#include <Python.h>\n", capture_output=True, check=False)
    if tried.returncode != 0:
        return f"since there are no headers of Python for C ({include})"
    return None


def modules(root: Path) -> list[str]:
    """The paths of the compiled modules, relative to `root`."""
    found = [path for pattern in COMPILED for path in sorted(root.glob(pattern))]
    return [str(path.relative_to(root)) for path in found if path.name != "__init__.py"]


def compile_modules(root: Path, folder: Path) -> dict[str, Path]:
    """Compile into `folder`; returns the files by their names in the wheel."""
    from mypyc.build import mypycify
    from setuptools import Distribution
    from setuptools.errors import BaseError, CCompilerError

    # mypyc writes source paths into its code as they were passed: relative ones give the same wheel
    # everywhere.
    os.chdir(root)
    generated, library = folder / "generated", folder / "library"
    extensions = mypycify(
        [*MYPY_OPTIONS, f"--cache-dir={os.devnull}", *modules(root)],
        opt_level="3",
        debug_level="0",
        target_dir=str(generated),
        group_name=GROUP,
    )
    for extension in extensions:
        extension.extra_compile_args += [*C_OPTIONS, f"-ffile-prefix-map={folder}=."]
    if not {"CC", "LDSHARED"} & os.environ.keys():
        os.environ["LDSHARED"] = linker()
    command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(library), str(folder / "objects")
    command.ensure_finalized()
    try:
        command.run()
    except (BaseError, CCompilerError) as error:
        raise RuntimeError(
            "the data path cannot be compiled; with TUNNELCTL_PURE=1 it stays pure Python"
        ) from error
    return {str(path.relative_to(library)): path for path in sorted(library.rglob("*.so"))}


def linker() -> str:
    """The command that links for this Python, without the folder where that Python is installed:
    it would be written into the library."""
    words = shlex.split(sysconfig.get_config_var("LDSHARED") or "cc -shared")
    return shlex.join(word for word in words if not word.startswith("-Wl,-rpath"))
