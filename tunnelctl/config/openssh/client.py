"""Asks OpenSSH's client for its configuration of a name: `ssh -G`.

Owns whether there is such a client, its command line, and the time it may take. The caller has
checked the names on it, no shell is involved, and nothing is connected to; the client runs a `Match
exec` of the user's own file, as with every `ssh NAME`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain

from tunnelctl.config.openssh.lines import SshConfigError, quoted, split
from tunnelctl.config.openssh.reader import Asked, Options
from tunnelctl.errors import printable, reason
from tunnelctl.net.processes.programs import folder
from tunnelctl.spec.environment import Environment, home

_SECONDS = 10.0
# It has none of these; a usage text is OpenSSH's own.
_BASELINE = "baseline"
_NO_FILE = "/dev/null"
_INPUT = "/dev/stdin"  # needs no temporary file, for which there may be no place
_KEYWORDS = {"hostname": "HostName", "port": "Port", "proxyjump": "ProxyJump"}
# Set before any file. Debian's client has another ServerAliveInterval with BatchMode, which has no
# other effect here; a ControlPath is not used, and shows the value of %C.
_ALWAYS = ("-o", "BatchMode=no", "-o", "ControlPath=%C")
# What it says since OpenSSH 10.6 of names such as CORP\\alice, which it takes from a file.
_REFUSED_USER = "remote username contains invalid characters"


def find_client(environ: Mapping[str, str]) -> str | None:
    """The path of OpenSSH's client, or None if there is none that can be asked.

    A program of that name may be another one, such as Dropbear's or PuTTY's, and OpenSSH's refuses
    a user id without a name.

    Raises:
        SshConfigError: the program does not say what it is.
    """
    program = shutil.which("ssh", path=environ.get("PATH") or os.defpath)
    if program is None or not _has_name():
        return None
    status = os.stat(program)
    return program if _is_openssh(program, status.st_ino, status.st_mtime_ns) else None


def _has_name() -> bool:
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


@cache
def _is_openssh(program: str, _inode: int, _changed: int) -> bool:
    """Whether `program -V` says OpenSSH, on either output. Run once, while the file is
    unchanged."""
    done = _output("ssh -V", [program, "-V"], Environment())
    return b"OpenSSH" in done.stdout + done.stderr


class OpenSSHClient:
    """The client at `program`; `arguments` are those of `config_arguments`, for `files`."""

    def __init__(
        self,
        program: str,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        files: Sequence[tuple[str, bool]] = (),
    ) -> None:
        self._program = program
        self._arguments = tuple(arguments)
        self._files = tuple(files)
        self._input = _including(files) if _INPUT in arguments else b""
        self._environment = Environment(environ)

    def options(self, asked: Asked) -> Options:
        """Everything that `ssh -G` prints for a name.

        Raises:
            SshConfigError: with what the client says is wrong.
        """
        given = {key: _given(key, value) for key, value in asked.given.items()}
        try:
            arguments = (*self._arguments, *chain(*given.values()))
            return self._run(arguments, asked.name, self._input)
        except SshConfigError as error:
            user = given.pop("user", None)
            if user is None or str(error) != _REFUSED_USER:
                raise
        line = f"User {quoted(asked.given['user'].replace('%', '%%'))}"
        arguments = ("-F", _INPUT, *chain(*given.values()))
        return self._run(arguments, asked.name, _including(self._files, line))

    def baseline(self) -> Options:
        """Its output without any configuration."""
        return self._run(("-F", _NO_FILE), _BASELINE)

    def _run(self, arguments: Sequence[str], name: str, text: bytes = b"") -> Options:
        command = [self._program, "-G", "-T", *_ALWAYS, *arguments, "--", name]
        done = _output(f"ssh -G {name}", command, self._environment, text)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise SshConfigError(printable(said[0].strip()) if said else f"ssh -G {name} failed")
        return _parsed(done.stdout.decode(errors="surrogateescape"))


def _output(
    what: str, command: Sequence[str], environment: Environment, text: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """The output of the client with `text` as its input; `what` is its name in messages.

    Raises:
        SshConfigError: it cannot be run, or does not end in time.
    """
    try:
        return subprocess.run(  # noqa: S603 - checked names, and no shell
            command,
            env=environment.to_bytes(),
            cwd=folder(environment),  # where a Match exec with a relative path is found
            input=text,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SshConfigError(f"{what} did not end within {_SECONDS:g} s") from None
    except OSError as error:
        raise SshConfigError(f"{command[0]} cannot be run: {reason(error)}") from None


def _given(key: str, value: str) -> list[str]:
    """The options that set a value before any file does.

    The user name is passed with -l: since OpenSSH 10.1 the tokens in a User are replaced.
    """
    if key == "user":
        return ["-l", value]
    if key == "hostname":
        value = value.replace("%", "%%")
    word = value if split(value) == [value] else quoted(value)
    return ["-o", f"{_KEYWORDS[key]}={word}"]


def _parsed(output: str) -> Options:
    """Keyword and value of each line; keywords that are printed once for each value have
    several."""
    options: Options = {}
    for line in output.split("\n"):
        keyword, _, value = line.partition(" ")
        if keyword:
            options[keyword] = (*options.get(keyword, ()), value)
    return options


def config_arguments(
    files: Sequence[tuple[str, bool]], environ: Mapping[str, str], *, is_default: bool
) -> tuple[str, ...]:
    """The options that make the client read `files`; none if it reads these by default.

    `is_default`: the files are the user's and the system's. The client finds the former through the
    password database only; if $HOME differs, it gets lines that include both as its input.
    """
    if not is_default:
        return ("-F", files[0][0])
    return () if str(home(environ)) == home_of_record() else ("-F", _INPUT)


def _including(files: Sequence[tuple[str, bool]], *before: str) -> bytes:
    """These lines, and those that include `files`."""
    lines = (*before, *(f"Include {_quoted(path)}" for path, _ in files))
    return os.fsencode("".join(f"{line}\n" for line in lines))


def home_of_record() -> str:
    """The home in the password database, the only one that OpenSSH's client uses; "" for none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        return ""


def _quoted(path: str) -> str:
    """A path that is changed neither by glob(7) nor by the quotes of ssh_config(5)."""
    literal = "".join(f"\\{char}" if char in "*?[\\" else char for char in path)
    return quoted(literal)
