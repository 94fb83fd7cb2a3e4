"""A single probe of the target of a forward.

For a local forward, the target is probed over the link, in a channel of its own: not through the
listener, and not counted. For a remote forward the target is connected to, as for its clients. Owns
what is sent and what counts as success. Must never outlive its timeout, nor leave a channel, a
socket or a process behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket

from tunnelctl.errors import Failure, reason
from tunnelctl.forward import sentences
from tunnelctl.forward.channel_requests import direct, open_failure, target_failure
from tunnelctl.forward.target import connect_target
from tunnelctl.net.processes.child import Child, ending
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec import barring
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.forward import Forward, ProbeType, Side
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.software import Software
from tunnelctl.wire.channel import Channel, ChannelHandler

_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([0-9]{3})\b")
_LONGEST_LINE = 4096  # bytes
# Seconds to wait for a greeting of the target. A MySQL server that resolves our name before it
# greets takes longer once, and then knows the name.
_GREETING = 1.0
_NOBODY = (LOOPBACK, 0)  # the originator in the server's log


@dataclass(frozen=True, slots=True)
class ProbedForward:
    """The forward as a probe command sees it: the address to connect to. It runs in
    `environment`."""

    profile: str
    address: Endpoint
    environment: Environment


async def ask(rule: Forward, link: Link, place: ProbedForward) -> bytes:
    """Return when the target answers as `rule.probe` requires.

    For the default probe, returns the greeting of the target if it comes soon (see
    `tunnelctl.spec.barring`); else nothing.

    Raises:
        Failure: it does not, within the probe's timeout: target-refused, target-unreachable,
            forward-denied where the server forbids it, or config-invalid for a command that
            cannot be started.
    """
    try:
        async with asyncio.timeout(rule.probe.timeout) as limit:
            if rule.probe.type is ProbeType.COMMAND:
                await _command(rule, place)
                return b""
            if rule.side is Side.HERE:
                return await _through(rule, link, limit)
            return await _dialled(rule, limit)
    except TimeoutError:
        if not limit.expired():
            raise
        raise _silent(rule) from None


def _request(rule: Forward) -> bytes:
    """The bytes to send; none if accepting the connection is enough."""
    if rule.probe.type is not ProbeType.HTTP:
        return b""
    assert rule.target is not None
    host = "localhost" if rule.target.is_unix else str(rule.target)
    head = f"GET {rule.probe.path} HTTP/1.1\r\nHost: {host}\r\n"
    return f"{head}User-Agent: tunnelctl\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode()


def _check(rule: Forward, answer: bytes) -> None:
    """Whether the first line of an HTTP answer has the expected status."""
    assert rule.target is not None
    found = _STATUS_LINE.match(answer)
    if found is None:
        raise sentences.probe_not_http(rule, answered=bool(answer))
    if int(found[1]) != rule.probe.status:
        raise sentences.probe_wrong_status(rule, int(found[1]))


def _silent(rule: Forward) -> Failure:
    if rule.probe.type is ProbeType.COMMAND:
        return sentences.probe_command_timed_out(rule)
    return sentences.probe_timed_out(rule, rule.via if rule.side is Side.HERE else "")


# Over the link.


async def _through(rule: Forward, link: Link, limit: asyncio.Timeout) -> bytes:
    assert rule.target is not None
    question = _Question(rule, rule.target, link.info.software, _request(rule))
    kind, data = direct(rule.target, _NOBODY)
    question.channel = link.connection.open_channel(kind, data, question)
    try:
        answer = await question.answer
        if rule.probe.unasked:
            limit.reschedule(None)  # it answered in time
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GREETING):
                    await question.greeted.wait()
            return question.heard
    finally:
        question.channel.close()
    if rule.probe.type is ProbeType.HTTP:
        _check(rule, answer)
    return b""


class _Question(ChannelHandler):
    """The handler of a channel that sends something and waits for one line, or for nothing."""

    def __init__(self, rule: Forward, target: Endpoint, server: Software, request: bytes) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.channel: Channel | None = None
        self.heard = b""
        self.greeted = asyncio.Event()  # it sent enough, or will send no more
        self._rule = rule
        self._target = target
        self._server = server
        self._unsent = request

    def opened(self) -> None:
        if self._unsent:
            self.window_opened()
        else:
            self._done()

    def open_failed(self, reason: int, description: str) -> None:
        if not self.answer.done():
            failure = open_failure(self._rule, self._target, self._server, reason, description)
            self.answer.set_exception(failure)

    def data(self, data: memoryview) -> None:
        assert self.channel is not None
        self.heard = (self.heard + data)[:_LONGEST_LINE]
        self.channel.consumed(len(data))
        if len(self.heard) >= barring.ENOUGH:
            self.greeted.set()
        if b"\n" in self.heard or len(self.heard) == _LONGEST_LINE:
            self._done()

    def eof(self) -> None:
        self.greeted.set()
        self._done()

    def closed(self) -> None:
        self.eof()

    def window_opened(self) -> None:
        if self.channel is not None and self._unsent:
            self._unsent = self._unsent[self.channel.send_data(self._unsent) :]

    def _done(self) -> None:
        if not self.answer.done():
            self.answer.set_result(self.heard)


# On this side.


async def _dialled(rule: Forward, limit: asyncio.Timeout) -> bytes:
    assert rule.target is not None
    loop = asyncio.get_running_loop()
    heard = b""
    try:
        sock = await connect_target(loop, rule.target)
        with sock:
            if rule.probe.unasked:
                limit.reschedule(None)  # it answered in time
                return await _greeting(sock)
            if request := _request(rule):
                await loop.sock_sendall(sock, request)
                while b"\n" not in heard and len(heard) <= _LONGEST_LINE:
                    data = await loop.sock_recv(sock, _LONGEST_LINE)
                    if not data:
                        break
                    heard += data
    except OSError as error:
        raise target_failure(rule, rule.target, error) from None
    if rule.probe.type is ProbeType.HTTP:
        _check(rule, heard)
    return b""


async def _greeting(sock: socket.socket) -> bytes:
    """The greeting of a target; a reset after it accepted does not matter."""
    loop = asyncio.get_running_loop()
    heard = b""
    with contextlib.suppress(OSError):  # TimeoutError is one
        async with asyncio.timeout(_GREETING):
            while len(heard) < barring.ENOUGH:
                data = await loop.sock_recv(sock, _LONGEST_LINE)
                if not data:
                    break
                heard += data
    return heard


# By a program.


async def _command(rule: Forward, place: ProbedForward) -> None:
    words = rule.probe.command
    name = f"the probe of {rule.name}"
    environment = Environment({**place.environment, **_variables(rule, place)})
    try:
        child = await Child.start(words, environment, name)
    except (OSError, ValueError) as error:
        raise sentences.probe_command_not_started(rule, words[0], reason(error)) from None
    try:
        status = await child.wait()
    except asyncio.CancelledError:
        child.signal(signal.SIGKILL)
        await child.wait()
        raise
    if status:
        how, said = ending(status), child.last_line()
        raise sentences.probe_command_failed(rule, how, said, place.address)


def _variables(rule: Forward, place: ProbedForward) -> dict[str, str]:
    variables = {
        "TUNNELCTL_PROFILE": place.profile,
        "TUNNELCTL_FORWARD": rule.name,
        "TUNNELCTL_ADDRESS": str(place.address),
    }
    if not place.address.is_unix:
        variables["TUNNELCTL_HOST"] = place.address.host
        variables["TUNNELCTL_PORT"] = str(place.address.port)
    return variables
