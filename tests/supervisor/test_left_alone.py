"""Targets that bar who connects without logging in: not probed unless the profile says so."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.supervisor.scene import client, remote, scene
from tests.supervisor.test_probes import OFTEN, TCP, to, until_health
from tests.support.here import here
from tests.support.mariadb import Bastion, MariaDB, is_barred
from tests.support.ports import free_port
from tests.support.services import EchoService, Service
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code
from tunnelctl.forward import probing
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.spec.forward import OnUnhealthy, Probe, ProbeType
from tunnelctl.state import health
from tunnelctl.state.documents.snapshot import Health, HostState
from tunnelctl.state.documents.status_events import EventKind
from tunnelctl.supervisor.forwards import probes

UNASKED = Probe(ProbeType.TCP, unasked=True, interval=OFTEN)
HANDSHAKE = b"\x4a\x00\x00\x00\x0a8.0.36\x00\x0b\x00\x00\x00" + 60 * b"x"
BLOCKED = b"Host '10.0.0.7' is blocked because of many connection errors"


def error(number: int, text: bytes) -> bytes:
    """MySQL's error packet, as it comes before a login."""
    body = b"\xff" + number.to_bytes(2, "little") + text
    return len(body).to_bytes(3, "little") + b"\x00" + body


WELL = {
    "MySQL": HANDSHAKE,
    "X Protocol": bytes.fromhex("05 00 00 00 0b 08 05 1a 00"),
    "SSH": b"SSH-2.0-OpenSSH_9.9\r\n",
    "VNC": b"RFB 003.008\n",
}
TURNED_AWAY = {
    "barred": error(1129, BLOCKED),
    "not allowed": error(1130, b"Host '10.0.0.7' is not allowed to connect to this MySQL server"),
    "full": error(1040, b"Too many connections"),
}


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nobody asked for is asked as often as can be; the rest is as ever."""
    monkeypatch.setattr(health, "_UNASKED_FIRST", OFTEN)
    monkeypatch.setattr(health, "_RARELY", OFTEN)
    monkeypatch.setattr(probes, "LOOK", OFTEN)


class Greeter(Service):
    """Greets every client, answers what it says with an echo, and waits for its end."""

    def __init__(self, greeting: bytes) -> None:
        self._greeting = greeting
        super().__init__(self._greet)

    def _greet(self, connection: socket.socket) -> None:
        connection.sendall(self._greeting)
        while data := connection.recv(4096):
            connection.sendall(data)


@pytest.fixture
def mail() -> Iterator[Greeter]:
    """A service that greets, and takes nothing amiss: it shows that time passes."""
    with Greeter(b"220 mail.example.com ESMTP\r\n") as service:
        yield service


def rule(side: str, port: int, name: str = "db", **changes: Any) -> Any:
    """A forward to 127.0.0.1:`port`, of the server or of this machine."""
    fields = {"probe": UNASKED, **changes}
    return (
        to(port, name, **fields) if side == "local" else remote(name, free_port(), port, **fields)
    )


async def time_passes(mail: Greeter) -> None:
    """Wait until a target that is probed was asked ten times more."""
    before = mail.accepted
    await eventually_async(lambda: mail.accepted >= before + 10, "the other target is asked")


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize("greeting", WELL.values(), ids=WELL.keys())
async def test_by_its_greeting_it_is_known_and_never_asked_again(
    side: str, greeting: bytes, mail: Greeter
) -> None:
    with Greeter(greeting) as service:
        async with scene() as s:
            await s.up(s.profile(rule(side, service.port), rule(side, mail.port, "mail")))
            await until_health(s, "db", Health.HEALTHY)
            await time_passes(mail)
            assert service.accepted == 1
            await s.server.kill()  # nor over another link
            await s.until_host(HostState.BACKOFF)
            await s.server.start()
            await s.until_told("server", "up", times=2)
            await until_health(s, "mail", Health.HEALTHY)
            await time_passes(mail)
            assert service.accepted == 1
            status = s.forward("db")
            assert status.health is Health.UNKNOWN
            assert "not probed" in (status.health_reason or "")
            assert s.forward("mail").health_reason is None
            told = [e.message for e in s.events if e.kind is EventKind.HEALTH and e.name == "db"]
            assert len(told) == 1
            assert "without a login" in told[0]


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize("greeting", TURNED_AWAY.values(), ids=TURNED_AWAY.keys())
async def test_one_that_turns_clients_away_is_unhealthy_and_says_why(
    side: str, greeting: bytes, mail: Greeter
) -> None:
    with Greeter(greeting) as service:
        async with scene() as s:
            await s.up(s.profile(rule(side, service.port), rule(side, mail.port, "mail")))
            status = await until_health(s, "db", Health.UNHEALTHY)
            await time_passes(mail)
            assert service.accepted == 1
            assert status.last_error is not None
            assert status.last_error.code == Code.TARGET_REFUSED
            assert greeting[7:].decode() in status.last_error.message
            assert ("flush-hosts" in status.last_error.hint) is (BLOCKED in greeting)


def somewhere(port: int) -> Endpoint:
    """That port of a loopback address that no other test of this run has."""
    number = next(_numbers)
    return Endpoint(f"127.{number >> 16 & 63 | 64}.{number >> 8 & 255}.{number & 255 or 1}", port)


_numbers = itertools.count((os.getpid() * 256) + 1)


@pytest.mark.parametrize("side", ["local", "remote"])
@pytest.mark.parametrize("port", [3306, 33060, 5901])
async def test_by_its_port_it_is_never_asked_and_clients_tell_how_it_is(
    side: str, port: int, mail: Greeter
) -> None:
    target = somewhere(port)
    async with scene() as s:
        db = replace(rule(side, 1), target=target)
        with EchoService(port, target.host) as service:
            await s.up(s.profile(db, rule(side, mail.port, "mail")))
            await time_passes(mail)
            assert service.accepted == 0
            status = s.forward("db")
            assert status.health is Health.UNKNOWN
            assert "not probed: " in (status.health_reason or "")
            async with client(s.port("db")) as one:
                assert await one.echo(b"hello") == b"hello"
                status = await until_health(s, "db", Health.HEALTHY)
                assert status.health_reason is None
            assert service.accepted == 1
        async with client(s.port("db")) as one:
            await one.is_reset()
        status = await until_health(s, "db", Health.UNHEALTHY)
        assert status.last_error is not None
        assert status.last_error.code == Code.TARGET_REFUSED


async def test_what_clients_told_long_ago_says_nothing_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "_OLD", 0.2)
    with Greeter(HANDSHAKE) as service:
        async with scene() as s:
            await s.up(s.profile(rule("local", service.port)))
            await s.until_told("db", "healthy")
            await until_health(s, "db", Health.UNKNOWN)
            assert service.accepted == 1


async def test_a_client_that_is_turned_away_makes_nobody_healthy(mail: Greeter) -> None:
    with Greeter(TURNED_AWAY["barred"]) as service:
        async with scene() as s:
            await s.up(s.profile(rule("local", service.port), rule("local", mail.port, "mail")))
            await until_health(s, "db", Health.UNHEALTHY)
            async with client(s.port("db")):
                await eventually_async(lambda: s.forward("db").bytes_in > 0, "it heard the error")
                await time_passes(mail)
                assert s.forward("db").health is Health.UNHEALTHY


@pytest.mark.parametrize("greeting", WELL.values(), ids=WELL.keys())
async def test_a_probe_that_the_profile_has_is_obeyed(greeting: bytes, mail: Greeter) -> None:
    with Greeter(greeting) as service:
        async with scene() as s:
            written = rule("local", service.port, probe=TCP)
            await s.up(s.profile(written, rule("local", mail.port, "mail")))
            await eventually_async(lambda: service.accepted >= 3, "it is asked again and again")
            await s.supervisor.up(
                s.profile(replace(written, probe=UNASKED), rule("local", mail.port, "mail")), here()
            )
            await time_passes(mail)
            asked = service.accepted
            await time_passes(mail)
            assert service.accepted == asked


async def test_a_greeting_that_comes_in_pieces_is_read_whole(mail: Greeter) -> None:
    def greet(connection: socket.socket) -> None:
        for byte in HANDSHAKE[:12]:
            connection.sendall(bytes([byte]))
        connection.sendall(HANDSHAKE[12:])
        connection.recv(1)

    with Service(greet) as service:
        async with scene() as s:
            await s.up(s.profile(rule("local", service.port), rule("local", mail.port, "mail")))
            await time_passes(mail)
            assert service.accepted == 1


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_a_target_that_says_nothing_is_healthy_and_asked_again(
    side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "_GREETING", 0.05)
    with EchoService() as service:
        async with scene() as s:
            # A probe's time to answer does not go on while its greeting is waited for.
            await s.up(s.profile(rule(side, service.port, probe=replace(UNASKED, fall=1))))
            await until_health(s, "db", Health.HEALTHY)
            await eventually_async(lambda: service.accepted >= 4, "it is asked again")
            told = [e.state for e in s.events if e.kind is EventKind.HEALTH]
            assert told == ["healthy"]


async def test_an_unhealthy_target_that_is_not_asked_may_reconnect() -> None:
    with Greeter(TURNED_AWAY["full"]) as service:
        async with scene() as s:
            await s.up(s.profile(rule("local", service.port, on_unhealthy=OnUnhealthy.RECONNECT)))
            await s.until_told("server", "backoff")
            assert service.accepted == 1


async def test_a_real_mariadb_does_not_bar_the_bastion(mail: Greeter) -> None:
    with MariaDB(max_connect_errors=3) as server, Bastion(server.port) as bastion:
        async with scene() as s:
            await s.up(s.profile(rule("local", bastion.port), rule("local", mail.port, "mail")))
            await until_health(s, "db", Health.HEALTHY)
            await time_passes(mail)
            greeting = await s.greeting("db")
            assert not is_barred(greeting), greeting
            assert b"MariaDB" in greeting
            # It would have been barred: here is a probe that somebody wrote.
            await s.supervisor.up(s.profile(rule("local", bastion.port, probe=TCP)), here())
            await eventually_async(lambda: bastion.accepted >= 8, "it is asked again and again")
            assert is_barred(await s.greeting("db"))
