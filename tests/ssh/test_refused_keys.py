"""A key that was refused, and a server that takes a password too: when that is a question."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh.clients import Person, fails
from tests.support.keys import write_key
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code
from tunnelctl.ssh.questions import QuestionKind


@pytest.fixture(autouse=True)
def own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


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
