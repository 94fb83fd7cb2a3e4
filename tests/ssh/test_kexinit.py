"""KEXINITs that are odd, empty, long, or guess: what can be agreed on is, and nothing breaks."""

from __future__ import annotations

import asyncio
import os
import socket

import paramiko
import pytest

from tests.ssh.clients import fails, logged_in
from tests.support.clients import upload
from tests.support.here import here
from tests.support.hostile import Peer, ScriptedServer
from tests.support.services import Received, SinkService, Stream
from tests.support.threads import in_thread
from tests.support.tunnel import tunnel_to
from tests.support.waiting import DEADLINE
from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.algorithms import CIPHERS, KEX_ALGORITHMS
from tunnelctl.spec.host import Host
from tunnelctl.ssh.login import handshake
from tunnelctl.ssh.login.client_transport import ClientTransport
from tunnelctl.ssh.packets.ciphers import MacSealer
from tunnelctl.ssh.packets.kex import METHODS
from tunnelctl.ssh.packets.kexinit import List, Proposal
from tunnelctl.ssh.packets.transport import Offer, SshTransport
from tunnelctl.sshd.server import EmbeddedServer
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message, ProtocolError, string

Changes = dict[List, bytes]
MIB = 1024 * 1024
UNKNOWN = ",".join(f"method-{number}@example.com" for number in range(2000)).encode()
KEX = b"curve25519-sha256"
STRICT_S = b"kex-strict-s-v00@openssh.com"


def kexinit(lists: list[bytes], guesses: bool) -> bytes:
    """A KEXINIT without its number."""
    return os.urandom(16) + b"".join(map(string, lists)) + bytes((guesses,)) + bytes(4)


def changed(message: bytes, changes: Changes, guesses: bool) -> bytes:
    """A KEXINIT, with its number, in which these lists are others."""
    lists = [",".join(names).encode() for names in Proposal.read(message[1:]).lists]
    for which, names in changes.items():
        lists[which] = names
    return message[:1] + kexinit(lists, guesses)


def proposing(changes: Changes, *, guesses: bool = False, guess: bytes = b"") -> type[SshTransport]:
    """A server whose KEXINIT has these lists, with a packet behind it, and which keeps to them."""
    kex = changes.get(List.KEX, b"")
    offer = Offer(
        kex=("curve25519-sha256",) if KEX in kex else KEX_ALGORITHMS,
        ciphers=(changes[List.CIPHERS_TO_SERVER].decode(),)
        if List.CIPHERS_TO_SERVER in changes
        else CIPHERS,
    )

    class Odd(SshTransport):
        def __init__(self, sock: socket.socket) -> None:
            super().__init__(sock, offer)
            self.advertise_strict_kex = STRICT_S in kex

        def _send_message(self, data: paramiko.Message) -> None:
            payload = data.asbytes()
            if payload[0] != Message.KEXINIT:
                super()._send_message(data)  # type: ignore[misc]  # not in paramiko's stubs
                return
            self.local_kex_init = payload = changed(payload, changes, guesses)
            self.packetizer.send_message(paramiko.Message(payload))
            if guess:
                self.packetizer.send_message(paramiko.Message(guess))

    return Odd


def nothing(peer: Peer) -> None:
    """For servers that are only logged in to."""


@pytest.mark.parametrize(
    ("changes", "strict"),
    [
        ({List.KEX: KEX}, False),
        ({List.KEX: KEX + b"," + STRICT_S}, True),
        ({List.KEX: STRICT_S + b"," + KEX}, True),
        # What an OpenSSH of tomorrow may send behind what it sends today.
        ({List.KEX: KEX + b"," + STRICT_S + b",kex-strict-s-v01@openssh.com"}, True),
        ({List.KEX: KEX + b",ext-info-s,ext-info-t," + STRICT_S}, True),
        # The other side's, which say nothing.
        ({List.KEX: b"ext-info-c,kex-strict-c-v00@openssh.com," + KEX}, False),
        ({List.KEX: b",,\xff\xfe," + UNKNOWN + b"," + KEX + b",", List.HOST_KEYS: b""}, None),
        ({List.KEX: KEX, List.LANGUAGES_TO_CLIENT: b"\xff"}, False),
        ({List.KEX: b"x" * 20_000 + b"," + KEX}, False),
        ({List.KEX: b",".join([KEX] * 1000)}, False),
        # GCM needs no MAC, so none need be agreed on.
        ({List.MACS_TO_SERVER: b"", List.MACS_TO_CLIENT: b""}, False),
        ({List.MACS_TO_SERVER: b"umac-64@openssh.com", List.MACS_TO_CLIENT: b"\xff,none"}, False),
    ],
)
def test_odd_lists(changes: Changes, strict: bool | None) -> None:
    with ScriptedServer(nothing, make=proposing(changes)) as server:
        if strict is None:
            failure = fails(Code.INCOMPATIBLE_PEER, server.host_with())
            assert "no common host key algorithm: we offer" in failure.message
            assert failure.message.endswith("the server offers none")
            return
        with logged_in(server.host_with()) as transport:
            assert transport.is_authenticated()
            assert transport.agreed_on_strict_kex is strict


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_cipher_with_a_mac_needs_one_in_common(cipher: str) -> None:
    lists = {
        List.CIPHERS_TO_SERVER: cipher.encode(),
        List.CIPHERS_TO_CLIENT: cipher.encode(),
        List.MACS_TO_SERVER: b"umac-64@openssh.com",
        List.MACS_TO_CLIENT: b"umac-64@openssh.com",
    }
    with ScriptedServer(nothing, make=proposing(lists)) as server:
        if not cipher.endswith("-ctr"):
            with logged_in(server.host_with()) as transport:
                assert transport.mac_name is None
            return
        failure = fails(Code.INCOMPATIBLE_PEER, server.host_with())
        assert failure.message.count("no common MAC: we offer") == 1  # not once a direction


def test_a_server_that_insists_on_compression_is_told_as_one() -> None:
    lists = {List.COMPRESSIONS_TO_SERVER: b"zlib", List.COMPRESSIONS_TO_CLIENT: b"zlib"}
    with ScriptedServer(nothing, make=proposing(lists)) as server:
        failure = fails(Code.INCOMPATIBLE_PEER, server.host_with())
    assert "no common compression: we offer none; the server offers zlib" in failure.message
    assert failure.hint is not None
    assert failure.hint.startswith("allow the compression none on the server")


def test_where_paramiko_lacks_all_that_the_profile_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(METHODS, "mlkem768x25519-sha256")
    with ScriptedServer(nothing) as server:
        host = server.host_with(kex_algorithms=("mlkem768x25519-sha256",))
        failure = fails(Code.INCOMPATIBLE_PEER, host)
    assert "no common key exchange method: we offer none; the server offers" in failure.message
    assert failure.hint is not None
    assert failure.hint.startswith("add kex_algorithms: +curve25519-sha256 to hosts.hostile")


def test_a_wrong_guess_of_a_server_is_passed_over() -> None:
    """RFC 4253 section 7; what follows it is not."""
    guess = bytes((31,)) + b"for a method that was not chosen"
    lists = {List.KEX: KEX + b"," + STRICT_S}
    with (
        ScriptedServer(nothing, make=proposing(lists, guesses=True, guess=guess)) as server,
        logged_in(server.host_with()) as transport,
    ):
        assert transport.kex_name == KEX.decode()
        assert transport.agreed_on_strict_kex


def test_a_right_guess_of_a_server_is_not_passed_over() -> None:
    lists = {List.KEX: KEX_ALGORITHMS[0].encode()}
    with ScriptedServer(nothing, make=proposing(lists, guesses=True)) as server:
        host = server.host_with(host_key_algorithms=("ecdsa-sha2-nistp256",))
        with logged_in(host) as transport:
            assert transport.is_authenticated()


def test_a_guess_that_does_not_say_so_breaks_the_protocol() -> None:
    guess = bytes((31,)) + b"unannounced"
    with ScriptedServer(nothing, make=proposing({List.KEX: KEX}, guess=guess)) as server:
        fails(Code.HANDSHAKE_FAILED, server.host_with())


@pytest.mark.parametrize("first", [KEX_ALGORITHMS[0], "curve25519-sha256"])
async def test_a_client_that_guesses_is_served_at_every_key_exchange(
    monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """By the handshake's thread, and later on by the loop with the parked thread."""
    guesses: list[bool] = []

    class Guessing(ClientTransport):
        def _send_message(self, data: paramiko.Message) -> None:
            payload = data.asbytes()
            if payload[0] != Message.KEXINIT:
                super()._send_message(data)  # type: ignore[misc]  # not in paramiko's stubs
                return
            self.local_kex_init = payload = payload[:-5] + b"\1" + payload[-4:]
            self.packetizer.send_message(paramiko.Message(payload))
            guesses.append(first != KEX_ALGORITHMS[0])
            if guesses[-1]:
                self.packetizer.send_message(paramiko.Message(bytes((30,)) + b"wrong"))

    monkeypatch.setattr(handshake, "ClientTransport", Guessing)
    reactor = Reactor(asyncio.get_running_loop())
    server = EmbeddedServer(reactor)
    await server.start()
    try:
        host = server.client_host(
            Host("demo", "ignored", rekey_limit=MIB, kex_algorithms=(first, *KEX_ALGORITHMS))
        )
        stream = Stream(16 * MIB, seed=1)
        with SinkService() as sink:
            async with tunnel_to(host) as tunnel:
                sent = await in_thread(upload, await tunnel.local(sink.port), stream)
                assert await in_thread(sink.received) == Received(stream.size, sent, "fin")
        assert len(guesses) > 1  # one of them by the loop at least
    finally:
        await server.close()
        reactor.close()


@pytest.mark.parametrize("count", [0, 15, 16, 30, 60, 90])
def test_a_message_cut_short_breaks_the_protocol(count: int) -> None:
    message = kexinit([b"x" * 5] * 10, guesses=False)
    with pytest.raises(ProtocolError):
        Proposal.read(message[:count])
    assert Proposal.read(message + b"more").size == len(message)


def test_the_prime_of_group_18_is_the_one_of_its_formula() -> None:
    """RFC 3526 section 7: 2^8192 - 2^8128 - 1 + 2^64 * { [2^8062 pi] + 4743158 }."""

    def arctangent(inverse: int) -> int:
        term = total = (1 << (8062 + 64)) // inverse
        for odd in range(3, 20_000, 2):
            term //= -(inverse * inverse)
            total += term // odd
        return total

    pi = 4 * (4 * arctangent(5) - arctangent(239)) >> 64  # Machin
    prime = 2**8192 - 2**8128 - 1 + 2**64 * (pi + 4743158)
    assert prime == METHODS["diffie-hellman-group18-sha512"].P  # type: ignore[attr-defined]  # paramiko's


@pytest.mark.parametrize(
    ("last_words", "code", "told"),
    [
        (
            b"\x14" + kexinit([KEX, b"ssh-ed25519", *[b"3des-cbc"] * 2, *[b""] * 6], False),
            Code.INCOMPATIBLE_PEER,
            "no common cipher: we offer ",
        ),
        (
            messages.disconnect(2, "too busy for you"),
            Code.HANDSHAKE_FAILED,
            'while exchanging keys: it said "too busy for you"',
        ),
    ],
    ids=["its lists", "DISCONNECT"],
)
def test_the_last_words_of_a_server_that_left_are_read(
    last_words: bytes, code: Code, told: str
) -> None:
    """It has seen our version line, said this and gone: nothing can be sent to it any more."""
    ours, theirs = socket.socketpair()
    theirs.sendall(b"SSH-2.0-brief\r\n" + MacSealer(None, 8, None).seal(last_words, 0))
    theirs.close()
    with pytest.raises(Failure) as caught:
        handshake.read_host_key(
            Host("server", "127.0.0.1"), ours, here(), clock.monotonic() + DEADLINE
        )
    assert caught.value.code is code
    assert told in caught.value.message
