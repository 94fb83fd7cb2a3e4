"""Passwords, several methods in turn, and none at all."""

from __future__ import annotations

from tests.ssh.clients import REFERENCE, SECRET, assert_hidden, fails, logged_in, secret
from tests.ssh.questioner import Questioner, Rules
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.secret import SecretRef


def test_a_password_is_sent_and_forgotten() -> None:
    with (
        Questioner(Rules(password=SECRET)) as server,
        logged_in(server.host(password=REFERENCE), secret) as transport,
    ):
        assert transport.is_authenticated()
        assert transport.auth_handler is not None
        assert SECRET not in repr(vars(transport.auth_handler))
        assert SECRET not in repr(vars(transport))


def test_a_wrong_password_is_refused_and_never_shown() -> None:
    with Questioner(Rules(password="another one")) as server:
        for _ in range(20):
            failure = fails(Code.AUTH_FAILED, server.host(password=REFERENCE), secret)
    assert "tried the password" in failure.message
    assert len(server.rules.refused) == 20  # once each
    assert_hidden(failure)


def test_a_password_that_is_wanted_and_not_given() -> None:
    with Questioner(Rules()) as server:
        failure = fails(Code.AUTH_FAILED, server.host())
    assert "accepts password" in failure.message
    assert "password: {env: NAME}" in failure.hint


def test_a_server_that_asks_nothing_is_fine() -> None:
    with Questioner(Rules(steps=())) as server, logged_in(server.host()) as transport:
        assert transport.is_authenticated()


def test_a_server_that_wants_a_key_and_a_password(sshd: OpenSSHServer) -> None:
    rules = _KeyThenPassword(steps=("publickey", "password"), password=SECRET)
    with Questioner(rules) as server:
        host = server.host(identity_file=(str(sshd.identity),), password=REFERENCE)
        with logged_in(host, secret) as transport:
            assert transport.is_authenticated()


def test_keys_are_left_out_where_they_are_not_preferred(sshd: OpenSSHServer) -> None:
    rules = Rules(steps=("publickey,password",), password=SECRET, takes_keys=False)
    with Questioner(rules) as server:
        host = server.host(
            identity_file=(str(sshd.identity), "/nonexistent/key"),
            password=REFERENCE,
            preferred_authentications=("password", "keyboard-interactive"),
        )
        with logged_in(host, secret) as transport:
            assert transport.is_authenticated()
    assert rules.refused == []  # a server that counts tries was asked about no key


def test_the_order_is_the_preferred_one() -> None:
    with Questioner(Rules(steps=("publickey,password",), password="another one")) as server:
        host = server.host(password=REFERENCE, preferred_authentications=("password", "publickey"))
        failure = fails(Code.AUTH_FAILED, host, secret)
        assert "tried the password" in failure.message
        host = server.host(preferred_authentications=("keyboard-interactive",))
        failure = fails(Code.AUTH_FAILED, host)
    assert "no key to try" not in failure.message
    assert "preferred_authentications: publickey" in failure.hint


class _KeyThenPassword(Rules):
    """paramiko's server asks the rules both when a key is asked about and when it is used."""

    asked = 0

    def check_auth_publickey(self, username: str, key: object) -> int:
        self.asked += 1
        return 0 if self.asked == 1 else self._step("publickey", True)


def test_a_secret_that_cannot_be_had_is_its_own_failure() -> None:
    def gone(reference: SecretRef) -> str:
        raise Failure(Code.SECRET_UNAVAILABLE, f"{reference} is not set")

    with Questioner(Rules()) as server:
        fails(Code.SECRET_UNAVAILABLE, server.host(password=REFERENCE), gone)
