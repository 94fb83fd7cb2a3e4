"""Servers that abuse the protocol after the login: bounded memory, and only their own link fails.

Beside each of them, on the same loop, a link to a good server carries bytes that are checked.
"""

from __future__ import annotations

import asyncio
import os
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest

from tests.support.clients import watch
from tests.support.hostile import Peer, ScriptedServer
from tests.support.memory import MIB, bounded_memory
from tests.support.services import EchoService, connect, receive
from tests.support.sshd import OpenSSHServer
from tests.support.threads import in_thread
from tests.support.tunnel import Tunnel, tunnel_to
from tests.support.waiting import BUSY, eventually_async
from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.ssh.link import rekeying
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.packets import stream
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message
from tunnelctl.wire.window import PACKET_MAX, WINDOW

Script = Callable[[Peer], None]
# A peer's faults may cost this much memory and no more; both ends live in this process.
_MEMORY = 64 * MIB
_TIMEOUT = 30.0
_NUMBER = 7  # of the channel at the server's side, see Peer.opened
_NOT_OPEN = 99


@asynccontextmanager
async def beside_a_good_link(sshd: OpenSSHServer) -> AsyncIterator[Reactor]:
    """A loop on which another link works: it must go on while the block runs, and after it."""
    over = threading.Event()
    with EchoService() as echo:
        async with tunnel_to(sshd.host()) as good:
            port = await good.local(echo.port)
            watched = in_thread(watch, port, 1, over)
            try:
                yield good.reactor
            finally:
                over.set()
                total = await watched
            assert total >= 2_000_000
            assert not good.link.closed.done()


async def end_of(link: Link) -> Failure:
    """Why the link ended; waits for it."""
    return await asyncio.wait_for(asyncio.shield(link.closed), _TIMEOUT)


def end_of_client(port: int) -> str:
    """Connect, send a little, and see how it ends."""
    try:
        with connect(port) as connection:
            connection.sendall(b"hello")
            return receive(connection).end
    except (ConnectionResetError, BrokenPipeError):  # one as good as the other before a byte left
        return "reset"


def has_ended(tunnel: Tunnel) -> bool:
    """Whether no client of its forward is left."""
    return tunnel.forward().counters.open == 0


# What ends the link


def garbage(peer: Peer) -> None:
    peer.opened()
    peer.sock.sendall(bytes(range(1, 200)) * 40)


def wrong_length(length: int) -> Script:
    """A packet whose length field says this, under a cipher that encrypts it too."""

    def script(peer: Peer) -> None:
        peer.opened()
        packet = bytearray(peer.seal(bytes((Message.IGNORE,)) + messages.string("x" * 100)))
        right = len(packet) - 4 - 16  # without the field and the tag
        for place, changed in enumerate(struct.pack(">I", right ^ length)):
            packet[place] ^= changed
        peer.sock.sendall(packet)

    return script


def wrong_tag(peer: Peer) -> None:
    peer.opened()
    packet = bytearray(peer.seal(bytes((Message.IGNORE,)) + messages.string("x" * 100)))
    packet[-1] ^= 1
    peer.sock.sendall(packet)


def replayed(peer: Peer) -> None:
    peer.opened()
    packet = peer.seal(bytes((Message.IGNORE,)) + messages.string("x"))
    peer.sock.sendall(packet + packet)


def says(*payloads: bytes) -> Script:
    """Confirm the client's open, which has number 0, and send these."""

    def script(peer: Peer) -> None:
        assert peer.opened() == 0
        peer.send(*payloads)

    return script


def answers(*payloads: bytes) -> Script:
    """Answer the client's open, which has number 0, with these."""

    def script(peer: Peer) -> None:
        assert peer.asked_to_open() == 0
        peer.send(*payloads)

    return script


def overruns(peer: Peer) -> None:
    number = peer.opened()
    data = messages.channel_data(number, bytes(PACKET_MAX))
    while True:
        peer.send(data)


def confirmation(number: int, packet_max: int = PACKET_MAX) -> bytes:
    return messages.channel_open_confirmation(number, _NUMBER, WINDOW, packet_max)


def number(kind: Message, channel: int) -> bytes:
    return bytes((kind,)) + messages.u32(channel)


def kexinit(kex: str = "curve25519-sha256@libssh.org") -> bytes:
    """A KEXINIT that agrees with anything that we offer."""
    lists = (
        kex,
        "ecdsa-sha2-nistp256",
        *("aes128-gcm@openssh.com",) * 2,
        *("hmac-sha2-256",) * 2,
        *("none",) * 2,
        *("",) * 2,
    )
    names = b"".join(messages.string(name) for name in lists)
    return bytes((Message.KEXINIT,)) + os.urandom(16) + names + b"\0" + bytes(4)


Abuses = dict[str, tuple[Script, str]]

FRAMING: Abuses = {
    "garbage": (garbage, "packet"),
    "4 GiB": (wrong_length(0xFFFF_FFF0), "impossible length"),
    "4 GiB, not aligned": (wrong_length(0xFFFF_FFFF), "impossible length"),
    "length 0": (wrong_length(0), "impossible length"),
    "a wrong tag": (wrong_tag, "tag is wrong"),
    "a packet twice": (replayed, "packet"),
    "a message cut short": (says(b"\x60\0"), "shorter"),
    "a disconnect cut short": (says(b"\x01\0"), "shorter"),
    "a string longer than its message": (
        says(bytes((Message.GLOBAL_REQUEST,)) + b"\xff\xff\xff\xff"),
        "shorter",
    ),
}
# Of these the client's own stream has ended before the abuse.
ENDED_BEFORE = {"data after EOF", "extended data after EOF", "data after CLOSE", "CLOSE twice"}
NO_CHANNEL: Abuses = {
    "data": (says(messages.channel_data(_NOT_OPEN, b"x")), "not open"),
    "EOF": (says(messages.channel_eof(_NOT_OPEN)), "not open"),
    "CLOSE": (says(messages.channel_close(_NOT_OPEN)), "not open"),
    "window": (says(messages.channel_window_adjust(_NOT_OPEN, 1)), "not open"),
    "confirmation": (says(confirmation(_NOT_OPEN)), "not open"),
    "refusal": (says(messages.channel_open_failure(_NOT_OPEN, 1, "no")), "not open"),
    "data after CLOSE": (
        says(messages.channel_close(0), messages.channel_data(0, b"x")),
        "not open",
    ),
    "CLOSE twice": (says(messages.channel_close(0), messages.channel_close(0)), "not open"),
    "data before the confirmation": (answers(messages.channel_data(0, b"x")), "before confirming"),
    "CLOSE before the confirmation": (answers(messages.channel_close(0)), "before confirming"),
}
CHANNELS: Abuses = {
    "data after EOF": (
        says(messages.channel_eof(0), messages.channel_data(0, b"x")),
        "after its end",
    ),
    "extended data after EOF": (
        says(
            messages.channel_eof(0),
            number(Message.CHANNEL_EXTENDED_DATA, 0) + messages.u32(1) + messages.string("x"),
        ),
        "after its end",
    ),
    "more than the window": (overruns, "window"),
    "a window of 2^32": (says(messages.channel_window_adjust(0, 0xFFFF_FFFF)), "window"),
    "confirmed twice": (says(confirmation(0)), "twice"),
    "confirmed and refused": (says(messages.channel_open_failure(0, 1, "no")), "refused after"),
    "refused and confirmed": (
        answers(messages.channel_open_failure(0, 1, "no"), confirmation(0)),
        "not open",
    ),
    "refused twice": (answers(*[messages.channel_open_failure(0, 1, "no")] * 2), "not open"),
    "maximum packet 0": (answers(confirmation(0, packet_max=0)), "maximum packet size 0"),
    "an open of maximum packet 0": (says(messages.channel_open("x", 1, 1, 0, b"")), "packet size"),
}
REPLIES: Abuses = {
    "to nothing": (says(bytes((Message.REQUEST_SUCCESS,))), "not made"),
    "a refusal of nothing": (says(bytes((Message.REQUEST_FAILURE,))), "not made"),
    "of a channel to nothing": (says(number(Message.CHANNEL_SUCCESS, 0)), "not made"),
    "a disconnect in mid-open": (
        answers(messages.disconnect(2, "go \x1b[31maway")),
        "go ?[31maway",
    ),
    "the end in mid-open": (answers(), "closed the connection"),
}


@pytest.mark.parametrize(
    ("abuses", "cipher"),
    [
        (FRAMING, "aes128-gcm@openssh.com"),
        (FRAMING, "chacha20-poly1305@openssh.com"),
        (NO_CHANNEL, "aes128-gcm@openssh.com"),
        (CHANNELS, "aes128-gcm@openssh.com"),
        (REPLIES, "aes128-gcm@openssh.com"),
    ],
    ids=["framing", "framing with chacha", "no such channel", "channels", "replies"],
)
async def test_an_abuse_ends_its_own_link_and_is_named(
    sshd: OpenSSHServer, abuses: Abuses, cipher: str
) -> None:
    async with beside_a_good_link(sshd) as reactor:
        for abuse, (script, words) in abuses.items():
            with ScriptedServer(script) as server, bounded_memory(_MEMORY):
                host = server.host_with(ciphers=(cipher,))
                async with tunnel_to(host, reactor=reactor) as tunnel:
                    client = in_thread(end_of_client, await tunnel.local(9))
                    failure = await end_of(tunnel.link)
                    # Where the far side ended its stream before, the client sees that, if it reads
                    # before the abuse, which may come in the same packet, resets it.
                    ends = {"fin", "reset"} if abuse in ENDED_BEFORE else {"reset"}
                    assert await client in ends, abuse
                    await eventually_async(partial(has_ended, tunnel), abuse)
            assert failure.code is Code.SESSION_LOST, abuse
            assert failure.retryable
            assert f"hostile (127.0.0.1:{server.port})" in failure.message
            assert words in failure.message, abuse


async def test_a_broken_key_exchange_ends_its_own_link(sshd: OpenSSHServer) -> None:
    abuses = {
        "NEWKEYS out of the blue": says(bytes((Message.NEWKEYS,)), b"\x5f" * 40),
        "half of an exchange": says(b"\x1f" + bytes(40)),
        "nothing in common": says(kexinit(kex="rot13")),
        "NEWKEYS instead of a reply": says(kexinit(), bytes((Message.NEWKEYS,))),
        "data instead of a reply": says(kexinit(), b"\x1f" + bytes(200)),
    }
    async with beside_a_good_link(sshd) as reactor:
        for abuse, script in abuses.items():
            with ScriptedServer(script) as server, bounded_memory(_MEMORY):
                async with tunnel_to(server.host_with(), reactor=reactor) as tunnel:
                    client = in_thread(end_of_client, await tunnel.local(9))
                    failure = await end_of(tunnel.link)
                    assert await client == "reset", abuse
            assert failure.code in (Code.HANDSHAKE_FAILED, Code.SESSION_LOST), abuse
            assert f"hostile (127.0.0.1:{server.port})" in failure.message, abuse


# What goes silent


def stays(*payloads: bytes) -> Script:
    """Confirm the client's open, send these, and say nothing more."""

    def script(peer: Peer) -> None:
        peer.opened()
        peer.send(*payloads)
        while peer.sock.recv(65_536):
            pass

    return script


@pytest.mark.parametrize("in_key_exchange", [False, True])
async def test_a_server_that_goes_silent_is_left_in_time(
    sshd: OpenSSHServer, in_key_exchange: bool
) -> None:
    script = stays(*[kexinit()] * in_key_exchange)
    async with beside_a_good_link(sshd) as reactor:
        with ScriptedServer(script) as server:
            host = server.host_with(server_alive_interval=0.5, server_alive_count_max=2)
            async with tunnel_to(host, reactor=reactor) as tunnel:
                client = in_thread(end_of_client, await tunnel.local(9))
                began = clock.monotonic()
                failure = await end_of(tunnel.link)
                assert clock.monotonic() - began < 0.5 * 3 + BUSY
                assert await client == "reset"
    assert failure.code is Code.PEER_SILENT
    assert f"hostile (127.0.0.1:{server.port})" in failure.message


async def test_a_key_exchange_that_never_ends_is_left_in_time(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lively(peer: Peer) -> None:
        peer.opened()
        peer.send(kexinit())
        tick = threading.Event()
        while not tick.wait(0.05):
            peer.send(bytes((Message.IGNORE,)) + messages.string(""))

    monkeypatch.setattr(rekeying, "_SECONDS_MAX", 1.0)
    async with beside_a_good_link(sshd) as reactor:
        with ScriptedServer(lively) as server:
            host = server.host_with(server_alive_interval=0.5)
            async with tunnel_to(host, reactor=reactor) as tunnel:
                client = in_thread(end_of_client, await tunnel.local(9))
                failure = await end_of(tunnel.link)
                assert await client == "reset"
    assert failure.code is Code.PEER_SILENT
    assert "key exchange" in failure.message


# What asks and never listens


def floods(payload: bytes, *before: bytes) -> Script:
    """Send the same message without end, and read nothing."""

    def script(peer: Peer) -> None:
        peer.opened()
        peer.send(*before)
        while True:
            peer.send(*[payload] * 500)

    return script


_OPEN_OF_A_SESSION = messages.channel_open("session", 1, WINDOW, PACKET_MAX, b"")
_REQUEST = messages.global_request("anything", True)
FLOODS: dict[str, Script] = {
    "requests": floods(_REQUEST),
    "unknown messages": floods(b"\xc1"),
    "opens": floods(_OPEN_OF_A_SESSION),
    "channel requests": floods(
        number(Message.CHANNEL_REQUEST, 0) + messages.string("anything") + b"\1"
    ),
    "requests while keys are exchanged": floods(_REQUEST, kexinit()),
}


@pytest.mark.parametrize("flood", FLOODS)
async def test_a_server_that_asks_and_never_listens_is_left(
    sshd: OpenSSHServer, flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the product keeps takes the script too long to ask for.
    monkeypatch.setattr(stream, "_BACKLOG_MAX", MIB // 4)
    async with beside_a_good_link(sshd) as reactor:
        with ScriptedServer(FLOODS[flood]) as server, bounded_memory(_MEMORY):
            server.takes_little()
            async with tunnel_to(server.host_with(), reactor=reactor) as tunnel:
                client = in_thread(end_of_client, await tunnel.local(9))
                failure = await end_of(tunnel.link)
                assert await client == "reset"
    assert failure.code is Code.SESSION_LOST
    assert f"hostile (127.0.0.1:{server.port})" in failure.message


@pytest.mark.parametrize("number", [22, 39, 42, 49])
async def test_a_message_that_no_key_exchange_has_is_named(
    sshd: OpenSSHServer, number: int
) -> None:
    async with beside_a_good_link(sshd) as reactor:
        with ScriptedServer(says(bytes((number,)))) as server:
            async with tunnel_to(server.host_with(), reactor=reactor) as tunnel:
                client = in_thread(end_of_client, await tunnel.local(9))
                failure = await end_of(tunnel.link)
                assert await client == "reset"
    assert f"message {number} has no place in a key exchange" in failure.message
