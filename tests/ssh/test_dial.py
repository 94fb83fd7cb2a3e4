"""Connecting: every address in turn, in time, with nothing left behind."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.support.ports import free_port
from tests.support.silent import full_listener
from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import AddressFamily, Host
from tunnelctl.ssh.failures import dial_failure
from tunnelctl.ssh.reach.dial import HEAD_START, dial


def at(hostname: str, port: int, *, interval: float = 15.0) -> Host:
    return Host(name="bastion", hostname=hostname, port=port, server_alive_interval=interval)


def in_seconds(seconds: float) -> float:
    return clock.monotonic() + seconds


@pytest.fixture
def listener(no_leaks: None) -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def black_hole(no_leaks: None) -> Iterator[tuple[str, int]]:
    with full_listener("127.0.0.2") as address:
        yield address


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Give the name `several` these addresses, in this order."""
    real = socket.getaddrinfo

    def answer(host: str, port: int, *args: object, **options: int) -> list[object]:
        if host != "several":
            return list(real(host, port, type=options["type"], flags=options["flags"]))
        if options["flags"]:
            raise socket.gaierror(socket.EAI_NONAME, "not an address")
        found = [
            real(*to, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST) for to in addresses
        ]
        return [entry for entries in found for entry in entries]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


async def test_the_socket_is_ready_for_the_loop(listener: socket.socket) -> None:
    host = at("127.0.0.1", listener.getsockname()[1], interval=2.0)
    with await dial(host, in_seconds(5)) as sock:
        assert sock.getblocking() is False
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        # 2 s, and 3 missed answers on top of the first question
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 8000


async def test_without_keepalive_the_kernel_sets_no_limit(listener: socket.socket) -> None:
    host = at("127.0.0.1", listener.getsockname()[1], interval=0.0)
    with await dial(host, in_seconds(5)) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0


async def test_a_refusal_names_host_and_address() -> None:
    port = free_port()
    for _ in range(20):
        with pytest.raises(Failure) as caught:
            await dial(at("localhost", port), in_seconds(5))
        assert caught.value.code is Code.CONNECTION_REFUSED
    assert f"bastion (localhost:{port})" in caught.value.message
    assert f"127.0.0.1:{port}" in caught.value.message
    assert str(port) in caught.value.hint
    assert caught.value.retryable


async def test_an_unknown_name_may_be_known_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **options: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for _ in range(20):
        with pytest.raises(Failure) as caught:
            await dial(at("nowhere.example", 22), in_seconds(5))
        assert caught.value.code is Code.NAME_NOT_FOUND
    assert "nowhere.example" in caught.value.message
    assert caught.value.retryable


async def test_an_address_of_another_family_is_no_spelling() -> None:
    host = replace(at("127.0.0.1", 22), address_family=AddressFamily.INET6)
    with pytest.raises(Failure, match="has no inet6 address") as caught:
        await dial(host, in_seconds(5))
    assert "address_family" in caught.value.hint


async def test_what_cannot_be_a_name_is_not_tried_again() -> None:
    with pytest.raises(Failure) as caught:
        await dial(at("a" * 64 + ".example", 22), in_seconds(5))
    assert caught.value.code is Code.NAME_NOT_FOUND
    assert not caught.value.retryable


async def test_a_silent_address_costs_a_quarter_of_a_second(
    monkeypatch: pytest.MonkeyPatch, black_hole: tuple[str, int], listener: socket.socket
) -> None:
    resolve_to(monkeypatch, black_hole, listener.getsockname())
    began = clock.monotonic()
    with await dial(at("several", 22), in_seconds(10)) as sock:
        assert sock.getpeername() == listener.getsockname()
    assert clock.monotonic() - began >= HEAD_START


async def test_one_family_alone_is_tried(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    port = listener.getsockname()[1]
    ipv4 = replace(at("localhost", port), address_family=AddressFamily.INET)
    with await dial(ipv4, in_seconds(5)) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)
    with pytest.raises(Failure) as caught:
        await dial(replace(ipv4, address_family=AddressFamily.INET6), in_seconds(5))
    assert "127.0.0.1" not in caught.value.message


async def test_a_connection_leaves_from_the_address_that_was_named(
    listener: socket.socket,
) -> None:
    port = listener.getsockname()[1]
    from_there = replace(at("localhost", port), bind_address="127.0.0.9")
    with await dial(from_there, in_seconds(5)) as sock:
        assert sock.getsockname()[0] == "127.0.0.9"
        assert sock.getblocking() is False


@pytest.mark.parametrize("strange", ["203.0.113.7", "name.invalid"])
async def test_an_address_that_is_not_ours_is_named(listener: socket.socket, strange: str) -> None:
    host = replace(at("127.0.0.1", listener.getsockname()[1]), bind_address=strange)
    for _ in range(20):
        with pytest.raises(Failure) as caught:
            await dial(host, in_seconds(5))
        assert caught.value.code is Code.UNREACHABLE
        assert f"bind_address {strange} is not an address of this machine" in caught.value.message
        assert caught.value.retryable  # that of a VPN comes and goes


async def test_a_refused_address_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    monkeypatch.setattr("tunnelctl.ssh.reach.dial.HEAD_START", 60.0)
    resolve_to(monkeypatch, ("127.0.0.2", free_port()), listener.getsockname())
    with await dial(at("several", 22), in_seconds(10)) as sock:
        assert sock.getpeername() == listener.getsockname()


async def test_families_take_turns(
    monkeypatch: pytest.MonkeyPatch, listener: socket.socket
) -> None:
    with ExitStack() as stack:
        try:
            silent = stack.enter_context(full_listener("::1"))
        except OSError:
            pytest.skip("this machine has no IPv6")
        monkeypatch.setattr("tunnelctl.ssh.reach.dial.HEAD_START", 2.0)
        resolve_to(monkeypatch, silent, silent, silent, listener.getsockname())
        # Tried last, it would be reached after three times the head start, when time is up.
        with await dial(at("several", 22), in_seconds(5.5)) as sock:
            assert sock.getpeername() == listener.getsockname()


async def test_of_several_reasons_the_telling_one_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    port = free_port()
    # 255.255.255.255 cannot be connected to at all.
    resolve_to(monkeypatch, ("255.255.255.255", port), ("127.0.0.1", port))
    with pytest.raises(Failure) as caught:
        await dial(at("several", port), in_seconds(5))
    assert caught.value.code is Code.CONNECTION_REFUSED
    assert "255.255.255.255" not in caught.value.message


async def test_what_cannot_be_reached_says_why() -> None:
    with pytest.raises(Failure) as caught:
        await dial(at("255.255.255.255", 22), in_seconds(5))
    assert caught.value.code is Code.UNREACHABLE
    assert "255.255.255.255:22" in caught.value.message
    assert caught.value.retryable


async def test_the_deadline_holds_for_all_addresses_together(
    monkeypatch: pytest.MonkeyPatch, black_hole: tuple[str, int]
) -> None:
    resolve_to(monkeypatch, black_hole, black_hole)
    began = clock.monotonic()
    with pytest.raises(Failure) as caught:
        await dial(at("several", 22), in_seconds(0.6))
    assert 0.5 < clock.monotonic() - began < 0.6 + 5.0
    assert caught.value.code is Code.TIMED_OUT
    assert f"127.0.0.2:{black_hole[1]}" in caught.value.message


async def test_a_resolver_that_hangs_hangs_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    real = socket.getaddrinfo

    def hang(host: str, port: int, **options: int) -> object:
        if options["flags"]:
            return real(host, port, type=options["type"], flags=options["flags"])
        answers.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        with pytest.raises(Failure) as caught:
            await dial(at("slow.example", 22), in_seconds(0.2))
    finally:
        answers.set()
    assert caught.value.code is Code.TIMED_OUT
    assert "looking up slow.example" in caught.value.message


async def test_cancelling_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch, black_hole: tuple[str, int]
) -> None:
    resolve_to(monkeypatch, black_hole, black_hole)
    for _ in range(20):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HEAD_START / 5):
                await dial(at("several", 22), in_seconds(30))


async def test_a_socket_joined_to_itself_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        own = sock.getsockname()
        monkeypatch.setattr(socket, "socket", lambda *_: sock)
        with pytest.raises(Failure) as caught:
            await dial(at(*own), in_seconds(5))
    assert caught.value.code is Code.CONNECTION_REFUSED


def test_every_firewall_word_of_connect_is_known() -> None:
    """connect(2) lists them; each must lead to an answer that is tried again."""
    host = at("10.0.0.7", 22)
    for number in (errno.EACCES, errno.EPERM, errno.ENETUNREACH, errno.EADDRNOTAVAIL):
        failure = dial_failure(host, [("10.0.0.7:22", OSError(number, "no"))])
        assert failure.code is Code.UNREACHABLE
        assert failure.retryable
