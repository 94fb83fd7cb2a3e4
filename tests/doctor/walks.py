"""Profiles made on the spot, walked in this process, and their steps by name."""

from __future__ import annotations

import dataclasses
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.support.here import here
from tests.support.tunnel import rule
from tunnelctl.doctor.report import Report, Result, Step
from tunnelctl.doctor.walk import examine
from tunnelctl.errors import Code
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.silence import OnSilence, unheard
from tunnelctl.state.documents.snapshot import Status


def walk(
    host: Host,
    *forwards: Forward,
    status: Status | None = None,
    on_silence: OnSilence = unheard,
    **environ: str,
) -> Report:
    """The report on a profile `dev` with one host and these forwards."""
    profile = Profile("dev", "dev.yaml", (host,), forwards)
    return examine(profile, here(**environ), status, on_silence)


def local(target: int | Endpoint | None, port: int = 0, **changes: Any) -> Forward:
    """A forward `local` whose clients come here."""
    return rule(Side.HERE, port, target, name="local", **changes)


def remote(target: int | Endpoint | None, port: int = 0, **changes: Any) -> Forward:
    """A forward `remote` whose clients come to the server."""
    return rule(Side.THERE, port, target, name="remote", **changes)


def step(report: Report, name: str, subject: str = "server") -> Step:
    """The one step of that name."""
    (found,) = [each for each in report.steps if (each.step, each.subject) == (name, subject)]
    return found


def failure(report: Report, name: str, subject: str, code: Code) -> Step:
    """The step, which must have failed with `code`, and as the first of all."""
    found = step(report, name, subject)
    assert (found.result, found.code) == (Result.FAILED, code), found
    first = next(each for each in report.steps if each.result is Result.FAILED)
    assert first == found, first
    return found


def all_ok(report: Report) -> None:
    """Not a step but says ok."""
    assert {each.result for each in report.steps} == {Result.OK}, report.steps
    assert report.exit_code == 0


def results(report: Report, subject: str = "server") -> dict[str, str]:
    """The result of each step of a subject."""
    return {each.step: str(each.result) for each in report.steps if each.subject == subject}


def to_six(port: int) -> Endpoint:
    """A port of the other loopback."""
    return Endpoint("::1", port)


@contextmanager
def dropping() -> Iterator[int]:
    """A port of 127.0.0.1 at which a connection is neither taken nor refused."""
    with ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def named(host: Host, name: str, **changes: Any) -> Host:
    """The host under another name."""
    return dataclasses.replace(host, name=name, **changes)
