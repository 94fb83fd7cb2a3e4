"""The build hook of the wheel: it compiles the data path with mypyc, from the same source.

Owns the list of compiled modules and the conditions. They are compiled if a C compiler and the
headers of Python are installed; otherwise, and with TUNNELCTL_PURE=1, the wheel is pure Python.
Must never leave a compiled file in the source tree, because Python prefers it to the edited source,
and never compile for an editable installation.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

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
    "tunnelctl/ssh/link/relay.py",
    "tunnelctl/ssh/link/rekeying.py",
    "tunnelctl/ssh/reach/jump.py",
    "tunnelctl/forward/connections.py",
    "tunnelctl/forward/listener.py",
    "tunnelctl/forward/local.py",
    "tunnelctl/forward/requests.py",
    "tunnelctl/forward/waiting.py",
)
# Only the compiled modules are read, and no package of this environment, so that the code is the
# same on every machine. The project's checks check the types.
MYPY_OPTIONS = ("--config-file=", "--no-site-packages", "--ignore-missing-imports")
GROUP = "tunnelctl"  # the shared library is GROUP__mypyc
C_OPTIONS = ("-g0",)


class DataPath(BuildHookInterface[Any]):
    """Adds the compiled modules to a wheel that is not editable."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Build requirements in addition to the backend; none for pure Python."""
        return [] if why_pure() else list(self.config["compiler"])

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before the files are collected."""
        if self.target_name != "wheel" or version == "editable":
            return
        reason = why_pure()
        if reason:
            self.app.display_info(f"tunnelctl: pure Python, {reason}")
            return
        self._folder = tempfile.mkdtemp(prefix="tunnelctl-build-")
        root = Path(self.root)
        built = compile_modules(root, Path(self._folder))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"].update({str(path): name for name, path in built.items()})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel is written."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            shutil.rmtree(folder)


def why_pure() -> str | None:
    """Why nothing is compiled; None if it is."""
    if os.environ.get("TUNNELCTL_PURE", "") not in ("", "0"):
        return "since TUNNELCTL_PURE is set"
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
    command = Distribution({"ext_modules": extensions}).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(library), str(folder / "objects")
    command.ensure_finalized()
    command.run()
    return {str(path.relative_to(library)): path for path in library.rglob("*.so")}
