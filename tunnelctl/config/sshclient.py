"""Asking OpenSSH's client what its configuration says of a name: `ssh -G`.

Owns the command line and what a run of it may take. The names on it were checked by the caller, no
shell is involved, and nothing is connected to; a `Match exec` of the user's own file is run by the
client, as in every `ssh NAME`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from tunnelctl.config.mistakes import printable
from tunnelctl.config.sshreader import Asked, Options, SshConfigError, quoted
from tunnelctl.spec.environment import home

_SECONDS = 10.0
# It has none of these; what is printed of it is OpenSSH's own.
_BASELINE = "baseline"
_NO_FILE = "/dev/null"
_LISTS = (
    "userknownhostsfile",
    "globalknownhostsfile",
)  # several on one line; it cannot be told what has a blank in it
_KEYWORDS = {"hostname": "HostName", "user": "User", "port": "Port", "proxyjump": "ProxyJump"}


def find_client(environ: Mapping[str, str]) -> str | None:
    """The path of `ssh`, where there is one."""
    return shutil.which("ssh", path=environ.get("PATH") or os.defpath)


class Client:
    """The client at `program`, reading `arguments` of `config_arguments`."""

    def __init__(self, program: str, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
        self._program = program
        self._arguments = tuple(arguments)
        self._environ = dict(environ)

    def options(self, asked: Asked) -> Options:
        """All that `ssh -G` prints of a name.

        Raises:
            SshConfigError: with what the client says is wrong.
        """
        given = []
        for key, value in asked.given.items():
            escaped = value.replace("%", "%%") if key == "hostname" else value
            given += ["-o", f"{_KEYWORDS[key]}={escaped}"]
        return self._run((*self._arguments, *given), asked.name)

    def baseline(self) -> Options:
        """What it prints where nothing is configured."""
        return self._run(("-F", _NO_FILE), _BASELINE)

    def _run(self, arguments: Sequence[str], name: str) -> Options:
        command = [self._program, "-G", "-T", *arguments, "--", name]
        try:
            done = subprocess.run(  # noqa: S603 - checked names, and no shell
                command,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise SshConfigError(f"ssh -G {name} did not end within {_SECONDS:g} s") from None
        except OSError as error:
            raise SshConfigError(f"{self._program} cannot be run: {error.strerror}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise SshConfigError(printable(said[0].strip()) if said else f"ssh -G {name} failed")
        return _parsed(done.stdout.decode(errors="surrogateescape"))


def _parsed(output: str) -> Options:
    """Keyword and values of each line; those that are printed once a value add up."""
    options: Options = {}
    for line in output.splitlines():
        keyword, _, value = line.partition(" ")
        values = value.split() if keyword in _LISTS else (value,)
        options[keyword] = (*options.get(keyword, ()), *values)
    return options


@contextmanager
def config_arguments(
    files: Sequence[tuple[str, bool]], environ: Mapping[str, str], *, is_default: bool
) -> Iterator[tuple[str, ...]]:
    """What makes the client read `files`: nothing where they are those that it reads anyhow.

    `is_default`: the files are a user's and the system's. The client finds the former by the
    password database alone; where $HOME differs, a file that includes both is read.
    """
    if not is_default:
        yield ("-F", files[0][0])
    elif str(home(environ)) == _home_of_record():
        yield ()
    else:
        with tempfile.NamedTemporaryFile("w", prefix="tunnelctl-", suffix=".ssh_config") as file:
            file.writelines(f"Include {_quoted(path)}\n" for path, _ in files)
            file.flush()
            yield ("-F", file.name)


def _home_of_record() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _quoted(path: str) -> str:
    """A path that neither glob(7) nor the quotes of ssh_config(5) change."""
    literal = "".join(f"\\{char}" if char in "*?[\\" else char for char in path)
    return quoted(literal)
