"""A key or password that was refused, an agent that is no help, and a server that takes another:
when that is a question, and what is said to be missing."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ssh.clients import REFERENCE, SECRET, Person, fails, log_in, secret
from tests.ssh.questioner import Questioner, Round, Rules
from tests.support.agent import PASSPHRASE, RunningAgent
from tests.support.certificates import Authority
from tests.support.keys import write_key
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys import agent as agent_module
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


# An agent


def with_agent(server: OpenSSHServer, agent: Path, **changes: Any) -> Host:
    """As most people have it: no file is named, and the agent's keys are tried."""
    more = {"identity_file": (), "identities_only": False, "identity_agent": str(agent)}
    return server.host(**{**more, **changes})


@pytest.mark.parametrize("named_by", ["SSH_AUTH_SOCK", "identity_agent"])
def test_an_agent_that_is_not_there_is_what_is_missing(
    asks: OpenSSHServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named_by: str
) -> None:
    gone = tmp_path / "gone"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(gone))
    agent = "SSH_AUTH_SOCK" if named_by == "SSH_AUTH_SOCK" else str(gone)
    person = Person(None)
    host = with_agent(asks, gone, identity_agent=agent)
    failure = fails(Code.AGENT_UNAVAILABLE, host, ask=person)
    assert f"no ssh-agent at {gone}: No such file or directory" in failure.message
    assert "start the agent" in failure.hint
    assert "tunnelctl answer" in failure.hint
    assert (failure.retryable, failure.spaced, failure.exit_code) == (True, True, 77)
    assert person.kinds == [QuestionKind.PASSWORD]  # whoever is there is asked, as ssh does


def test_an_agent_that_does_not_answer_is_what_is_missing(
    asks: OpenSSHServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_module, "PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        host = with_agent(asks, tmp_path / "silent")
        failure = fails(Code.AGENT_UNAVAILABLE, host, ask=Person(None))
    assert f"the ssh-agent at {tmp_path / 'silent'} did not answer" in failure.message


@pytest.mark.parametrize("is_locked", [True, False], ids=["locked", "empty"])
def test_an_agent_that_lists_no_keys_is_what_is_missing(
    asks: OpenSSHServer, agent: RunningAgent, *, is_locked: bool
) -> None:
    """One that is locked says what an empty one says."""
    if is_locked:
        agent.add(asks.identity)
        agent.lock()
    failure = fails(Code.AGENT_UNAVAILABLE, with_agent(asks, agent.path), ask=Person(None))
    assert f"the ssh-agent at {agent.path} has no keys, or is locked" in failure.message
    assert "ssh-add -X" in failure.hint
    assert "tunnelctl answer" in failure.hint


def test_an_agent_whose_keys_are_refused_leaves_the_question(
    asks: OpenSSHServer, agent: RunningAgent, tmp_path: Path
) -> None:
    write_key(tmp_path / "other")
    agent.add(tmp_path / "other")
    failure = fails(Code.NEEDS_INPUT, with_agent(asks, agent.path), ask=Person(None))
    assert "password" in failure.message


def test_an_agent_that_may_not_offer_its_keys_leaves_the_question(
    asks: OpenSSHServer, tmp_path: Path
) -> None:
    """It could not have helped, and is told of all the same."""
    host = with_agent(asks, tmp_path / "gone", identities_only=True)
    failure = fails(Code.NEEDS_INPUT, host, ask=Person(None))
    assert f"no ssh-agent at {tmp_path / 'gone'}" in failure.message


def test_a_passphrase_that_is_missing_tells_of_the_agent_too(
    asks: OpenSSHServer, tmp_path: Path
) -> None:
    asks.authorized_keys.write_text(write_key(asks.identity, passphrase=PASSPHRASE) + "\n")
    host = asks.host(identity_agent=str(tmp_path / "gone"))
    failure = fails(Code.NEEDS_INPUT, host, ask=Person(None, None))
    assert f"Enter passphrase for key '{asks.identity}'" in failure.message
    assert f"no ssh-agent at {tmp_path / 'gone'}" in failure.message


def test_a_person_who_answers_in_place_of_the_agent_is_told_of_it(tmp_path: Path) -> None:
    warnings: list[Failure] = []
    with Questioner(Rules(steps=("publickey,password",), password=SECRET)) as server:
        host = server.host(identity_file=(), identity_agent=str(tmp_path / "gone"))
        person = Person(SECRET)
        log_in(host, ask=person, warn=lambda _, failure: warnings.append(failure)).close()
    (warning,) = warnings
    assert person.kinds == [QuestionKind.PASSWORD]
    assert f"no ssh-agent at {tmp_path / 'gone'}" in warning.message
    assert "logged in without it" in warning.message


# A certificate


@pytest.mark.parametrize("plain_too", [True, False])
def test_a_certificate_that_is_refused_is_not_to_be_copied(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path, *, plain_too: bool
) -> None:
    key = tmp_path / "key"
    write_key(key)
    certificate = Authority(tmp_path / "ca").sign(key, principals=sshd.user, host=False)
    host = sshd.host(identity_file=(str(key),))
    if not plain_too:
        agent.add(key)
        certificate = certificate.rename(tmp_path / "apart-cert.pub")
        host = sshd.host(
            identity_file=("none",),
            certificate_file=(str(certificate),),
            identity_agent=str(agent.path),
        )
    hint = fails(Code.AUTH_FAILED, host).hint
    assert f"does not accept the certificate {certificate}" in hint
    for word in ("TrustedUserCAKeys", f"{sshd.user} among its principals", "valid"):
        assert word in hint
    assert f"ssh-keygen -L -f {certificate}" in hint
    assert ("ssh-copy-id" in hint) is plain_too
    assert f"ssh-copy-id -i {certificate}" not in hint
    if plain_too:
        assert f"ssh-copy-id -i {key} " in hint


def test_a_certificate_of_the_agent_that_is_refused(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    write_key(key)
    Authority(tmp_path / "ca").sign(key, principals=sshd.user, host=False)
    agent.add(key)
    hint = fails(Code.AUTH_FAILED, with_agent(sshd, agent.path)).hint
    assert "does not accept the certificate" in hint
    assert hint.endswith("ssh-add -L | ssh-keygen -L -f -")
