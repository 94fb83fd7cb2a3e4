"""The files in which bash, zsh and fish look for a user's completion scripts.

Owns the scripts, their places, and the line for zsh. Reads the files that exist; must never write.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from click.shell_completion import get_completion_class

from tunnelctl.cli.main import tunnelctl
from tunnelctl.home.paths import xdg_dir
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import home

SHELLS = ("bash", "zsh", "fish")
_PROGRAM = "tunnelctl"
_VARIABLE = "_TUNNELCTL_COMPLETE"  # click's, for a program of that name
_MODE = 0o644


@dataclass(frozen=True, slots=True)
class Change:
    """A file, its text afterwards, and whether that differs from now. `added` is the part that is
    ours if the file is the user's own."""

    path: Path
    text: str
    is_needed: bool
    mode: int = _MODE
    added: str = ""


def script(shell: str) -> str:
    """The completion script of one of SHELLS. It finds `tunnelctl` in the PATH when it runs."""
    kind = get_completion_class(shell)
    assert kind is not None
    with contextlib.redirect_stderr(io.StringIO()):  # of this machine's bash, which need not run it
        return kind(tunnelctl, {}, _PROGRAM, _VARIABLE).source()


def changes(shell: str, environ: Mapping[str, str]) -> Iterator[Change]:
    """The changes in the home of this environment after which the shell finds the script.

    Raises:
        OSError: an existing file cannot be read.
    """
    path = _place(shell, environ)
    text = script(shell) + "\n"
    yield Change(path, text, is_needed=_text(path) != text)
    if shell == "zsh" and shutil.which("zsh", path=environ.get("PATH")):
        yield _with_folder_of_functions(path.parent, environ)


def _place(shell: str, environ: Mapping[str, str]) -> Path:
    """The file that the shell loads at the first TAB."""
    data = xdg_dir(environ, "XDG_DATA_HOME", ".local/share")
    if shell == "bash":
        # The package bash-completion looks there.
        named = environ.get("BASH_COMPLETION_USER_DIR", "").partition(":")[0]
        folder = Path(named) if named.startswith("/") else data / "bash-completion"
        return folder / "completions" / _PROGRAM
    if shell == "zsh":
        return data / "zsh" / "site-functions" / f"_{_PROGRAM}"
    return xdg_dir(environ, "XDG_CONFIG_HOME", ".config") / f"fish/completions/{_PROGRAM}.fish"


def _with_folder_of_functions(folder: Path, environ: Mapping[str, str]) -> Change:
    """A line that adds the folder to those of zsh, which has none in the home.

    .zshenv is read before /etc/zsh/zshrc and ~/.zshrc, and one of these runs compinit, which reads
    the folders once.
    """
    path = Path(environ.get("ZDOTDIR") or home(environ)) / ".zshenv"
    now = _text(path) or ""
    line = f"fpath=({_quoted(folder)} $fpath)  # tunnelctl completion install\n"
    if line in now:
        return Change(path, now, is_needed=False)
    separator = "" if now.endswith("\n") or not now else "\n"
    mode = path.stat().st_mode & 0o777 if path.exists() else _MODE
    return Change(path, f"{now}{separator}{line}", is_needed=True, mode=mode, added=line)


def _quoted(folder: Path) -> str:
    return "'" + str(folder).replace("'", "'\\''") + "'"


def _text(path: Path) -> str | None:
    """The text of a file; None if there is none."""
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return None
