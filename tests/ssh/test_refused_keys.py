"""A key or password that was refused, and a server that takes another: when that is a question."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh.clients import REFERENCE, SECRET, Person, fails, secret
from tests.ssh.questioner import Questioner, Round, Rules
from tests.support.keys import write_key
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code
from tunnelctl.ssh.questions import QuestionKind

pytestmark = pytest.mark.usefixtures("own_world")


@pytest.fixture
def asks(tmp_path: Path) -> Iterator[OpenSSHServer]:
    """A server that takes passwords as well, as most do."""
    server = OpenSSHServer(tmp_path / "asks", config=("PasswordAuthentication yes",))
    server.start()
    yield server
    server.stop()


def test_a_named_key_that_is_refused_is_no_question(asks: OpenSSHServer, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    write_key(wrong)
    person = Person(None)
    failure = fails(Code.AUTH_FAILED, asks.host(identity_file=(str(wrong),)), ask=person)
    assert f"{wrong} (ssh-ed25519 SHA256:" in failure.message
    assert QuestionKind.PASSWORD in person.kinds


def test_a_named_key_that_cannot_be_used_is_no_question(
    asks: OpenSSHServer, tmp_path: Path
) -> None:
    """`ssh` warns of it, and is refused in the end; that a password would do, too, is no help."""
    open_to_all, other = tmp_path / "open", tmp_path / "other"
    shutil.copy(asks.identity, open_to_all)
    open_to_all.chmod(0o640)
    write_key(other)
    ssh = subprocess.run(
        ["ssh", "-F", "none", "-p", str(asks.port), "-i", open_to_all, "-o", "IdentityAgent=none",
         "-o", f"UserKnownHostsFile={asks.known_hosts}", "-o", "BatchMode=yes", "-l", asks.user,
         "127.0.0.1", "true"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "UNPROTECTED PRIVATE KEY FILE" in ssh.stderr
    assert "Permission denied" in ssh.stderr
    host = asks.host(identity_file=(str(open_to_all),), identities_only=False)
    failure = fails(Code.KEY_UNREADABLE, host, ask=Person(None))
    assert str(open_to_all) in failure.message
    assert failure.hint == f"chmod 600 {open_to_all}"
    host = asks.host(identity_file=(str(other), str(open_to_all)))
    failure = fails(Code.AUTH_FAILED, host, ask=Person(None))
    assert f"the private key {open_to_all} are too open" in failure.message


def test_a_key_of_a_token_is_said_to_come_from_an_agent(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    write_key(tmp_path / "wrong")
    host = sshd.host(
        identity_file=(str(tmp_path / "wrong"),), pkcs11_provider="/usr/lib/opensc-pkcs11.so"
    )
    assert "ssh-add -s /usr/lib/opensc-pkcs11.so" in fails(Code.AUTH_FAILED, host).hint


def test_a_default_key_that_is_refused_leaves_the_question(
    asks: OpenSSHServer, tmp_path: Path
) -> None:
    (tmp_path / ".ssh").mkdir()
    default = tmp_path / ".ssh" / "id_ed25519"
    write_key(default)
    failure = fails(Code.NEEDS_INPUT, asks.host(identity_file=()), ask=Person(None))
    assert f"tried {default} (ssh-ed25519 SHA256:" in failure.message


def test_a_login_that_a_person_began_is_for_a_person(asks: OpenSSHServer, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    write_key(wrong)
    host = asks.host(identity_file=(str(wrong),))
    failure = fails(Code.NEEDS_INPUT, host, ask=Person("wrong", None))
    assert str(wrong) in failure.message


@pytest.mark.parametrize(
    ("steps", "tried"),
    [("password", "the password"), ("keyboard-interactive", "keyboard-interactive")],
)
def test_a_password_of_the_profile_that_is_refused_is_no_question(steps: str, tried: str) -> None:
    rules = Rules(steps=(steps,), rounds=(Round((("Password: ", False),), ("right",)),))
    with Questioner(rules) as server:
        host = server.host(password=REFERENCE)
        failure = fails(Code.AUTH_FAILED, host, secret, ask=Person(None))
    assert f"tried {tried}" in failure.message
    assert failure.hint == f"correct the password of hosts.{host.name}: {REFERENCE} in the profile"
    assert SECRET not in str(failure)


def test_a_code_after_the_password_of_the_profile_is_a_question() -> None:
    rounds = (Round((("Password: ", False),), (SECRET,)), Round((("Code: ", False),), ("1",)))
    with Questioner(Rules(steps=("keyboard-interactive",), rounds=rounds)) as server:
        host = server.host(password=REFERENCE)
        assert "Code" in fails(Code.NEEDS_INPUT, host, secret, ask=Person(None)).message
