"""A secret is fetched from where it is kept, or said why not, and never shown."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.login_sessions import ASKS, LOCKED, LoginSessions
from tests.support.silent_files import dead_disk, readers
from tests.support.waiting import eventually
from tunnelctl.daemon.log.destinations import OneLine
from tunnelctl.errors import Code, Failure
from tunnelctl.home import secrets
from tunnelctl.home.redaction import SECRETS
from tunnelctl.home.secrets import resolve_secret
from tunnelctl.net import files
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.secret import SecretRef, SecretSource


def refusal(ref: SecretRef, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(Failure) as caught:
        resolve_secret(ref, Environment(environ))
    assert caught.value.code is Code.SECRET_UNAVAILABLE
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


def command(*words: str) -> SecretRef:
    return SecretRef(SecretSource.COMMAND, words)


def python(program: str) -> SecretRef:
    return command(sys.executable, "-c", program)


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("hunter2\n")
    path.chmod(0o600)
    return path


def in_file(path: Path) -> SecretRef:
    return SecretRef(SecretSource.FILE, (str(path),))


def test_from_the_environment() -> None:
    ref = SecretRef(SecretSource.ENV, ("PW",))
    assert resolve_secret(ref, Environment({"PW": "hunter2"})) == "hunter2"
    assert "cannot get the secret {env: PW}: the variable is not set" in refusal(ref)
    assert "it is empty" in refusal(ref, {"PW": ""})


def test_from_a_file_of_our_own(secret_file: Path) -> None:
    assert resolve_secret(in_file(secret_file), Environment()) == "hunter2"
    secret_file.chmod(0o400)
    assert resolve_secret(in_file(secret_file), Environment()) == "hunter2"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_use_is_refused(secret_file: Path, mode: int) -> None:
    secret_file.chmod(mode)
    assert f"chmod 600 {secret_file}" in refusal(in_file(secret_file))


def test_a_link_is_what_it_leads_to(secret_file: Path, tmp_path: Path) -> None:
    """As Kubernetes mounts each secret: a link through `..data` to a dated folder."""
    dated = tmp_path / "..2024_01_01"
    dated.mkdir()
    secret_file = secret_file.rename(dated / "secret")
    (tmp_path / "..data").symlink_to(dated.name)
    link = tmp_path / "link"
    link.symlink_to("..data/secret")
    assert resolve_secret(in_file(link), Environment()) == "hunter2"
    secret_file.chmod(0o644)
    assert f"chmod 600 {link}" in refusal(in_file(link))
    secret_file.unlink()
    os.mkfifo(secret_file, 0o600)
    assert "not a regular file" in refusal(in_file(link))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize(
    ("mode", "said"), [(0o440, "hunter2"), (0o444, "hunter2"), (0o464, "can change")]
)
def test_a_file_that_root_gave_to_a_user(secret_file: Path, mode: int, said: str) -> None:
    """Kubernetes' fsGroup and swarm: root's, and readable for who is meant."""
    os.chown(secret_file, 0, 4711)
    secret_file.chmod(mode)
    program = (
        "import os, sys\n"
        "from tunnelctl.home.secrets import resolve_secret\n"
        "from tunnelctl.spec.secret import SecretRef, SecretSource\n"
        "os.chdir(sys.argv[1]); os.setgid(4711); os.setuid(4711)\n"
        "ref = SecretRef(SecretSource.FILE, ('secret',))\n"
        "try: print(resolve_secret(ref, {}))\n"
        "except Exception as error: print(error)"
    )
    secret_file.parent.chmod(0o711)
    done = subprocess.run(
        [sys.executable, "-c", program, str(secret_file.parent)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said in done.stdout


def test_files_that_hold_no_secret(secret_file: Path, tmp_path: Path) -> None:
    assert "No such file" in refusal(in_file(tmp_path / "nope"))
    assert "not a regular file" in refusal(in_file(tmp_path))
    secret_file.write_text("hunter2" * 1000)
    assert "longer than 4096 bytes" in refusal(in_file(secret_file))
    secret_file.write_bytes(b"hunter2\xff")
    assert "not UTF-8" in refusal(in_file(secret_file))
    secret_file.write_text("\n")
    assert "it is empty" in refusal(in_file(secret_file))


def test_a_file_on_a_disk_that_is_away_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_SECONDS", 0.2)
    path = tmp_path / "disk" / "secret"
    with dead_disk(tmp_path / "disk"):
        for _ in range(3):
            assert f"cannot open {path}: it does not answer" in refusal(in_file(path))
        assert readers(path) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(secret_file: Path) -> None:
    os.chown(secret_file, 4711, -1)
    assert "belongs to another user" in refusal(in_file(secret_file))


def test_from_a_credential_of_systemd(secret_file: Path, tmp_path: Path) -> None:
    ref = SecretRef(SecretSource.CREDENTIAL, ("secret",))
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert resolve_secret(ref, Environment(environ)) == "hunter2"
    assert "LoadCredential" in refusal(ref)


def test_from_a_command_without_a_shell() -> None:
    assert (
        resolve_secret(command("printf", "%s\\n", "$HOME hunter2"), Environment())
        == "$HOME hunter2"
    )


def test_a_command_runs_in_the_environment_of_whoever_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_DAEMON", "x")
    ref = python("import os; print(sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd())")
    asked = Environment({"HOME": "/home/me", "PW": "hunter2", "PWD": str(tmp_path)})
    assert resolve_secret(ref, asked) == f"['HOME', 'PW', 'PWD'] {tmp_path}"


def test_a_command_is_found_by_their_path(tmp_path: Path) -> None:
    tool = tmp_path / "vault"
    tool.write_text("#!/bin/sh\necho hunter2\n")
    tool.chmod(0o700)
    assert resolve_secret(command("vault"), Environment({"PATH": str(tmp_path)})) == "hunter2"
    assert "No such file" in refusal(command("vault"), {"PATH": "/usr/bin"})


def test_commands_that_give_no_secret() -> None:
    assert "cannot be started: No such file" in refusal(command("/no/such/command"))
    assert "exited with 3" in refusal(python("print('hunt' + 'er2'); raise SystemExit(3)"))
    assert "it is empty" in refusal(command("true"))
    assert "longer than 4096 bytes" in refusal(command("yes"))


def test_a_command_that_does_not_end_is_ended_with_its_children(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(secrets, "_COMMAND_SECONDS", 2.0)
    note = tmp_path / "pid"
    script = 'sleep 600 & echo $! > "$0.part"; mv "$0.part" "$0"; wait'
    ref = command("sh", "-c", script, str(note))
    assert "did not end within 2 s" in refusal(ref)
    child = int(note.read_text())
    eventually(lambda: not _runs(child), "the child of the command is gone", 5.0)


def _runs(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be reaped by process 1."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def session(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """The variables of a login session whose keyring has this secret of mail/imap/me."""
    sessions = LoginSessions(tmp_path, "mail/imap/me")

    def with_secret(kept: str) -> dict[str, str]:
        return {**sessions.variables(kept), "HOME": str(tmp_path), "PWD": str(tmp_path)}

    return with_secret


def in_keyring(entry: str) -> SecretRef:
    return SecretRef(SecretSource.KEYRING, (entry,))


def test_from_the_keyring_of_whose_session_it_is(session: Callable[[str], dict[str, str]]) -> None:
    for kept in ("hunter2", "another"):
        assert resolve_secret(in_keyring("mail/imap/me"), Environment(session(kept))) == kept
    said = refusal(in_keyring("mail/you and me"), session("hunter2"))
    assert "{keyring: mail/you and me}: the keyring of this login session" in said
    assert "keyring set mail 'you and me'" in said


def test_no_module_of_the_current_folder_is_asked(
    session: Callable[[str], dict[str, str]], tmp_path: Path
) -> None:
    (tmp_path / "keyring.py").write_text("raise SystemExit")
    environment = Environment({**session("hunter2"), "PYTHONPATH": str(tmp_path)})
    assert resolve_secret(in_keyring("mail/imap/me"), environment) == "hunter2"


def test_a_keyring_that_refuses(session: Callable[[str], dict[str, str]]) -> None:
    assert "the keyring refused: KeyringLocked" in refusal(in_keyring("mail/me"), session(LOCKED))
    lost = {**session("hunter2"), "DBUS_SESSION_BUS_ADDRESS": "/nowhere"}
    assert "the keyring refused: FileNotFoundError" in refusal(in_keyring("mail/me"), lost)


def test_a_keyring_that_waits_for_somebody(
    session: Callable[[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "_KEYRING_SECONDS", 0.1)
    said = refusal(in_keyring("mail/me"), session(ASKS))
    assert "no answer from the keyring within 0.1 s (unlock it" in said


def test_without_the_package_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "find_spec", lambda _: None)
    command = f"{shlex.quote(sys.executable)} -m pip install 'tunnelctl[keyring]'"
    assert command in refusal(in_keyring("mail/me"))


def test_a_secret_that_was_resolved_is_not_logged() -> None:
    with SECRETS.login():
        resolve_secret(
            SecretRef(SecretSource.ENV, ("PW",)), Environment({"PW": "squeamish ossifrage"})
        )
        record = logging.makeLogRecord({"msg": "it said %s", "args": ("squeamish ossifrage",)})
        try:
            raise ValueError("squeamish ossifrage")
        except ValueError:
            record.exc_info = sys.exc_info()
        line = OneLine().format(record)
    assert line.count("[secret]") == 3  # the message, the source line, the exception
    assert "ossifrage" not in line
