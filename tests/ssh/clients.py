"""Dial and handshake as the product does them, for tests of single steps."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host, SecretRef, SecretSource
from tunnelctl.ssh.dial import dial
from tunnelctl.ssh.handshake import Stage, handshake
from tunnelctl.ssh.transport import SshTransport

SECONDS = 15.0
SECRET = "correct horse battery staple"
REFERENCE = SecretRef(SecretSource.ENV, ("A_SECRET",))


def secret(reference: SecretRef) -> str:
    assert reference == REFERENCE
    return SECRET


def assert_hidden(failure: Failure) -> None:
    """The secret is in nothing that could be printed of a failure."""
    told = "".join(traceback.format_exception(failure, chain=True))
    for text in (str(failure), repr(failure), told, str(failure.as_dict())):
        assert SECRET not in text


def no_secret(reference: SecretRef) -> str:
    """For logins that must not ask for one."""
    raise AssertionError(f"{reference} was resolved")


def ignore(stage: Stage) -> None:
    """For tests that do not look at the stages."""


def log_in(
    host: Host,
    resolve_secret: Callable[[SecretRef], str] = no_secret,
    on_stage: Callable[[Stage], None] = ignore,
    seconds: float = SECONDS,
) -> SshTransport:
    """Connect and log in; the caller closes the transport."""
    deadline = clock.monotonic() + seconds
    sock = asyncio.run(dial(host, deadline))
    return handshake(host, sock, resolve_secret, on_stage, deadline)


@contextmanager
def logged_in(
    host: Host, resolve_secret: Callable[[SecretRef], str] = no_secret
) -> Iterator[SshTransport]:
    """A login for the length of a block."""
    transport = log_in(host, resolve_secret)
    try:
        yield transport
    finally:
        transport.close()


def fails(
    code: Code,
    host: Host,
    resolve_secret: Callable[[SecretRef], str] = no_secret,
    on_stage: Callable[[Stage], None] = ignore,
    seconds: float = SECONDS,
) -> Failure:
    """How logging in fails, which must be with `code`."""
    with pytest.raises(Failure) as caught:
        log_in(host, resolve_secret, on_stage, seconds).close()
    assert caught.value.code is code, caught.value
    return caught.value
