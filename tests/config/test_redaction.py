"""A secret in use is not to be seen in a text, and is not kept longer than its login."""

from __future__ import annotations

from tunnelctl.home.redaction import SecretsInUse


def test_every_secret_in_use_is_replaced_however_it_is_written() -> None:
    secrets = SecretsInUse()
    secrets.add("hunter2")
    secrets.add("hunter2 and more")
    secrets.add("it's\n\\")
    assert secrets.redact("x hunter2 and more, hunter2") == "x [secret], [secret]"
    assert secrets.redact(f"raised {ValueError(chr(39) + 'hunter2')!r}") == (
        'raised ValueError("\'[secret]")'
    )
    assert secrets.redact(repr(("it's\n\\",))) == '("[secret]",)'


def test_what_is_short_would_be_found_in_every_line() -> None:
    secrets = SecretsInUse()
    secrets.add("abc")
    secrets.add("")
    assert secrets.redact("abcabc") == "abcabc"


def test_a_secret_is_forgotten_with_the_last_login_that_may_know_it() -> None:
    secrets = SecretsInUse()
    with secrets.login():
        secrets.add("first secret")
        with secrets.login():
            secrets.add("second secret")
        # The outer login was under way when both became known.
        assert secrets.redact("first secret, second secret") == "[secret], [secret]"
    assert secrets.redact("first secret, second secret") == "first secret, second secret"


def test_a_login_does_not_keep_the_secrets_of_those_before_it() -> None:
    secrets = SecretsInUse()
    first = secrets.login()
    first.__enter__()
    secrets.add("first secret")
    second = secrets.login()
    second.__enter__()
    secrets.add("second secret")
    first.__exit__(None, None, None)
    assert secrets.redact("first secret, second secret") == "first secret, [secret]"
    second.__exit__(None, None, None)
    assert secrets.redact("second secret") == "second secret"
