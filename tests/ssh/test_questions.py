"""What a login asks: passphrases, passwords, codes and unknown host keys."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.ssh.clients import REFERENCE, SECRET, Person, assert_hidden, fails, logged_in, secret
from tests.ssh.questioner import Questioner, Round, Rules
from tests.support.keys import write_key
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import BUSY
from tunnelctl import clock
from tunnelctl.errors import Code
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.questions import Question, QuestionKind

CODE, PASSWORD = QuestionKind.CODE, QuestionKind.PASSWORD
PASSPHRASE, HOST_KEY = QuestionKind.PASSPHRASE, QuestionKind.HOST_KEY

ASKS_PASSWORD = Round((("Password: ", False),), (SECRET,))
ASKS_CODE = Round((("Verification code: ", False),), ("123456",))


pytestmark = pytest.mark.usefixtures("own_world")


def questions(*rounds: Round, steps: tuple[str, ...] = ("keyboard-interactive",)) -> Rules:
    return Rules(steps=steps, rounds=rounds, password=SECRET)


# keyboard-interactive


def test_a_password_and_a_code_are_asked_for() -> None:
    person = Person(SECRET, "123456")
    with (
        Questioner(questions(ASKS_PASSWORD, ASKS_CODE)) as server,
        logged_in(server.host(), ask=person) as transport,
    ):
        assert transport.is_authenticated()
    assert person.kinds == [PASSWORD, CODE]
    assert [question.prompt for question in person.questions] == [
        "Password: ",
        "Verification code: ",
    ]
    assert {question.host for question in person.questions} == {"questioner"}


def test_several_prompts_at_once_and_what_goes_with_them() -> None:
    asked = Round(
        (("Colour? ", True), ("Number? ", False)), ("red", "7"), "The bank", "Two\x1b[31m\nlines"
    )
    person = Person("red", "7")
    with (
        Questioner(questions(asked)) as server,
        logged_in(server.host(), ask=person) as transport,
    ):
        assert transport.is_authenticated()
    first, second = person.questions
    assert first.prompt == "The bank\nTwo\\x1b[31m\nlines\nColour? "
    assert (first.echo, second.echo) == (True, False)
    assert second.prompt == "Number? "


def test_a_round_without_prompts_is_answered_by_itself() -> None:
    said = Round((), (), "", "Push sent")
    with (
        Questioner(questions(said, ASKS_CODE)) as server,
        logged_in(server.host(), ask=Person("123456")) as transport,
    ):
        assert transport.is_authenticated()
    assert server.rules.answered == [[], ["123456"]]


def test_the_profile_answers_for_the_password_alone() -> None:
    person = Person("123456")
    with (
        Questioner(questions(ASKS_PASSWORD, ASKS_CODE)) as server,
        logged_in(server.host(password=REFERENCE), secret, person) as transport,
    ):
        assert transport.is_authenticated()
    assert person.kinds == [CODE]


def test_the_password_of_the_profile_needs_nobody() -> None:
    with (
        Questioner(questions(ASKS_PASSWORD)) as server,
        logged_in(server.host(password=REFERENCE), secret) as transport,
    ):
        assert transport.is_authenticated()


@pytest.mark.parametrize(
    "asked",
    [
        ASKS_CODE,
        Round((("Password (you see it): ", True),), ("x",)),
        Round((("Password: ", False), ("Code: ", False)), ("x", "y")),
    ],
)
def test_nothing_else_is_answered_with_the_password(asked: Round) -> None:
    with Questioner(questions(asked)) as server:
        # `no_secret` fails the test when the password is asked for.
        failure = fails(Code.AUTH_FAILED, server.host(password=REFERENCE))
    assert "tried keyboard-interactive" in failure.message
    assert server.rules.answered == []


def test_a_wrong_code_may_be_given_again_and_the_password_with_it() -> None:
    person = Person("000000", "123456")
    with (
        Questioner(questions(ASKS_PASSWORD, ASKS_CODE)) as server,
        logged_in(server.host(password=REFERENCE), secret, person) as transport,
    ):
        assert transport.is_authenticated()
    assert server.rules.answered == [[SECRET], ["000000"], [SECRET], ["123456"]]


def test_three_wrong_codes_are_enough() -> None:
    person = Person("1", "2", "3")
    with Questioner(questions(ASKS_CODE)) as server:
        failure = fails(Code.AUTH_FAILED, server.host(), ask=person)
    assert failure.message.count("tried") == 1
    assert "keyboard-interactive" in failure.message
    for code in "123":
        assert code not in failure.hint


def test_a_code_that_nobody_gives_needs_input() -> None:
    with Questioner(questions(ASKS_PASSWORD, ASKS_CODE)) as server:
        person = Person(*[None] * 20)
        for _ in range(20):
            failure = fails(Code.NEEDS_INPUT, server.host(password=REFERENCE), secret, ask=person)
    assert "Verification code" in failure.message
    assert failure.hint == "tunnelctl answer PROFILE/HOST"
    assert not failure.retryable
    assert_hidden(failure)


def test_the_password_is_tried_where_a_question_has_no_answer() -> None:
    rules = questions(ASKS_CODE, steps=("keyboard-interactive,password",))
    with (
        Questioner(rules) as server,
        logged_in(server.host(password=REFERENCE), secret, Person(None)) as transport,
    ):
        assert transport.is_authenticated()


def test_a_server_that_asks_on_and_on_is_left() -> None:
    endless = tuple(Round((), ()) for _ in range(40))
    with Questioner(questions(*endless)) as server:
        failure = fails(Code.HANDSHAKE_FAILED, server.host(), ask=Person())
    assert "asks without end" in failure.message


def test_a_key_and_then_a_code(sshd: OpenSSHServer) -> None:
    rules = questions(ASKS_CODE, steps=("publickey", "keyboard-interactive"))
    rules.check_auth_publickey = _Once(rules)  # type: ignore[method-assign]  # see there
    person = Person("123456")
    with (
        Questioner(rules) as server,
        logged_in(server.host(identity_file=(str(sshd.identity),)), ask=person) as transport,
    ):
        assert transport.is_authenticated()
    assert rules.passed == ["publickey"]


def test_what_was_taken_is_said_when_more_is_wanted(sshd: OpenSSHServer) -> None:
    rules = questions(ASKS_CODE, steps=("publickey", "keyboard-interactive"))
    rules.check_auth_publickey = _Once(rules)  # type: ignore[method-assign]  # see there
    with Questioner(rules) as server:
        failure = fails(Code.AUTH_FAILED, server.host(identity_file=(str(sshd.identity),)))
    assert f"it accepted {sshd.identity} (ssh-ed25519 SHA256:" in failure.message
    assert "requires keyboard-interactive too" in failure.message


class _Once:
    """paramiko's server asks the rules both when a key is asked about and when it is used."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._asked = 0

    def __call__(self, username: str, key: object) -> int:
        self._asked += 1
        return 0 if self._asked == 1 else self._rules._step("publickey", True)


# Passwords


def test_a_password_is_asked_for_and_may_be_wrong_twice() -> None:
    person = Person("wrong", "wrong too", SECRET)
    with (
        Questioner(Rules(password=SECRET)) as server,
        logged_in(server.host(), ask=person) as transport,
    ):
        assert transport.is_authenticated()
    assert person.kinds == [PASSWORD] * 3
    assert person.questions[0].prompt == "somebody@127.0.0.1's password: "
    assert not person.questions[0].echo


def test_a_wrong_password_of_the_profile_is_asked_for() -> None:
    with (
        Questioner(Rules(password="another")) as server,
        logged_in(server.host(password=REFERENCE), secret, Person("another")) as transport,
    ):
        assert transport.is_authenticated()


def test_a_password_that_nobody_gives_needs_input() -> None:
    with Questioner(Rules()) as server:
        failure = fails(Code.NEEDS_INPUT, server.host(), ask=Person(None))
    assert "somebody@127.0.0.1's password" in failure.message


# Passphrases


def encrypted(sshd: OpenSSHServer, directory: Path) -> Path:
    key = directory / "encrypted"
    sshd.authorized_keys.write_text(write_key(key, passphrase=SECRET) + "\n")
    return key


def test_a_passphrase_is_asked_for_once_the_server_wants_the_key(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    key = encrypted(sshd, tmp_path)
    stranger = tmp_path / "stranger"
    write_key(stranger, passphrase=SECRET)
    person = Person("wrong", SECRET)
    host = sshd.host(identity_file=(str(stranger), str(key)))
    with logged_in(host, ask=person) as transport:
        assert transport.is_authenticated()
    assert person.kinds == [PASSPHRASE, PASSPHRASE]
    assert person.questions[0].prompt == f"Enter passphrase for key '{key}': "


def test_three_wrong_passphrases_are_enough(sshd: OpenSSHServer, tmp_path: Path) -> None:
    host = sshd.host(identity_file=(str(encrypted(sshd, tmp_path)),))
    failure = fails(Code.KEY_UNREADABLE, host, ask=Person("1", "2", "3"))
    assert "does not open" in failure.message


def test_a_passphrase_that_nobody_gives_needs_input(sshd: OpenSSHServer, tmp_path: Path) -> None:
    key = encrypted(sshd, tmp_path)
    failure = fails(Code.NEEDS_INPUT, sshd.host(identity_file=(str(key),)), ask=Person(None))
    assert str(key) in failure.message


def test_an_encrypted_key_that_nobody_opens_leaves_the_others(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    key = encrypted(sshd, tmp_path)
    with sshd.authorized_keys.open("a") as file:
        file.write(sshd.identity.with_name("client_key.pub").read_text())
    host = sshd.host(identity_file=(str(key), str(sshd.identity)))
    with logged_in(host, ask=Person(None)) as transport:
        assert transport.is_authenticated()


# Host keys


def test_an_unknown_host_key_is_recorded_after_a_yes(sshd: OpenSSHServer, tmp_path: Path) -> None:
    file = tmp_path / "known"
    host = sshd.host(user_known_hosts_file=(str(file),))
    person = Person("yes")
    with logged_in(host, ask=person) as transport:
        shown = fingerprint(transport.host_key_blob)  # type: ignore[attr-defined]  # the client's
    assert person.kinds == [HOST_KEY]
    assert shown in person.questions[0].prompt
    assert person.questions[0].echo
    assert file.read_text() == sshd.known_hosts.read_text()
    file.unlink()
    with logged_in(host, ask=Person(f" {shown} ")) as transport:
        assert transport.is_authenticated()


@pytest.mark.parametrize("answer", ["no", "", "y", "SHA256:" + "A" * 43, None])
def test_anything_but_a_yes_records_nothing(
    sshd: OpenSSHServer, tmp_path: Path, answer: str | None
) -> None:
    file = tmp_path / "known"
    host = sshd.host(user_known_hosts_file=(str(file),))
    failure = fails(Code.HOST_KEY_UNKNOWN, host, ask=Person(answer))
    assert "tunnelctl trust" in failure.hint
    assert not file.exists()
    assert "authenticating user" not in sshd.log


def test_a_changed_host_key_is_no_question(sshd: OpenSSHServer) -> None:
    sshd.rotate_host_key()
    fails(Code.HOST_KEY_CHANGED, sshd.host(), ask=Person())


# Time


def test_a_person_may_take_longer_than_the_network(sshd: OpenSSHServer, tmp_path: Path) -> None:
    """Every deadline that is over while a person thinks is put off by as much."""
    thinking = threading.Event()

    def slow(question: Question) -> str:
        thinking.wait(2.0)
        return "yes" if question.kind is HOST_KEY else SECRET

    host = sshd.host(
        identity_file=(str(encrypted(sshd, tmp_path)),),
        user_known_hosts_file=(str(tmp_path / "known"),),
    )
    with logged_in(host, ask=slow, seconds=3.0) as transport:
        assert transport.is_authenticated()


def test_a_server_that_stalls_after_the_answer_has_no_more_time_than_it_had(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    def answers(question: Question) -> str:
        sshd.pause()
        threading.Event().wait(0.5)
        return SECRET

    host = sshd.host(identity_file=(str(encrypted(sshd, tmp_path)),))
    began = clock.monotonic()
    failure = fails(Code.TIMED_OUT, host, seconds=2.0, ask=answers)
    assert 2.0 < clock.monotonic() - began < 2.5 + BUSY
    assert failure.retryable


def test_a_server_that_left_meanwhile_is_no_refusal(sshd: OpenSSHServer, tmp_path: Path) -> None:
    def answers(question: Question) -> str:
        sshd.kill_sessions()
        return SECRET

    host = sshd.host(identity_file=(str(encrypted(sshd, tmp_path)),))
    assert fails(Code.HANDSHAKE_FAILED, host, ask=answers).retryable


# Secrets


def test_no_frame_of_a_failure_holds_a_secret() -> None:
    class Leaves(Rules):
        """Goes away when it is told a password."""

        def check_auth_password(self, username: str, password: str) -> int:
            raise EOFError

    with Questioner(Leaves()) as server:
        failure = fails(Code.HANDSHAKE_FAILED, server.host(password=REFERENCE), secret)
    assert failure.__context__ is None
    trace = failure.__traceback__
    while trace is not None:
        if "/tunnelctl/" in trace.tb_frame.f_code.co_filename:
            assert SECRET not in repr(list(trace.tb_frame.f_locals.values()))
        trace = trace.tb_next
