"""Jump hosts: chains of real servers, hops that are shared, and whose fault a failure is."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from tests.ssh.clients import REFERENCE, SECRET, no_secret
from tests.ssh.reach import logins, reach, servers
from tests.support.clients import download, upload
from tests.support.here import here
from tests.support.keys import write_key
from tests.support.services import SinkService, SourceService, Stream
from tests.support.sshd import OpenSSHServer
from tests.support.tunnel import tunnel_to
from tests.support.waiting import BUSY, eventually_async
from tunnelctl import clock
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import SecretRef
from tunnelctl.ssh.connect import connect, fetch_host_key
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.turns import AT_ONE_ADDRESS
from tunnelctl.supervisor.logins.handshakes import AT_WORK, Handshakes

BULK = 120_000_000  # bytes
# So that a silent hop is noticed within three seconds.
IMPATIENT = {"server_alive_interval": 1.0, "server_alive_count_max": 2}


class Chain:
    """Three servers: `gateway` in front of `middle` in front of `inner`."""

    def __init__(self, gateway: OpenSSHServer, middle: OpenSSHServer, inner: OpenSSHServer) -> None:
        self.gateway = gateway
        self.middle = middle
        self.inner = inner

    def host(self, **changes: Any) -> Host:
        """The innermost host, through the two others; `changes` are made to all three."""
        gateway = self.gateway.host(name="gateway", **changes)
        middle = self.middle.host(name="middle", **changes)
        return self.inner.host(name="inner", proxy_jump=(gateway, middle), **changes)

    def near(self, **changes: Any) -> Host:
        """The middle host, through the gateway alone."""
        return self.middle.host(
            name="middle", **{"proxy_jump": (self.gateway.host(name="gateway"),), **changes}
        )


@pytest.fixture
def chain(no_leaks: None, tmp_path: Path) -> Iterator[Chain]:
    with servers(tmp_path, "gateway", "middle", "inner") as made:
        yield Chain(*made)


# What goes through


async def test_bulk_through_a_chain_of_three(chain: Chain) -> None:
    stream = Stream(BULK, seed=7)
    with SourceService(stream) as source, SinkService() as sink:
        async with tunnel_to(chain.host()) as tunnel:
            down = asyncio.to_thread(download, await tunnel.local(source.port))
            up = asyncio.to_thread(upload, await tunnel.local(sink.port), stream)
            got, sent = await asyncio.gather(down, up)
            assert (got.size, got.sha256, got.end) == (BULK, stream.sha256, "fin")
            assert sink.received().sha256 == sent == stream.sha256
            assert tunnel.link.info.address == f"127.0.0.1:{chain.inner.port}"


async def test_each_hop_is_dialled_by_the_one_before_it(chain: Chain) -> None:
    async with reach() as r:
        await r.link(chain.host())
        assert [logins(s) for s in (chain.gateway, chain.middle, chain.inner)] == [1, 1, 1]
        assert len(chain.gateway.sessions) > 0
    every = (chain.gateway, chain.middle, chain.inner)
    await eventually_async(lambda: not any(s.sessions for s in every), "every session has ended")


async def test_the_first_hop_has_a_way_of_its_own(chain: Chain) -> None:
    gateway = chain.gateway.host(name="gateway")
    middle = chain.middle.host(name="middle", proxy_jump=(gateway,))
    async with reach() as r:
        await r.link(chain.inner.host(name="inner", proxy_jump=(middle,)))
        assert logins(chain.gateway) == logins(chain.middle) == 1


# Hops are shared


async def test_two_hosts_behind_the_same_hop_share_one_connection(chain: Chain) -> None:
    gateway = (chain.gateway.host(name="gateway"),)
    async with reach() as r:
        middle, inner = await asyncio.gather(
            r.link(chain.middle.host(name="middle", proxy_jump=gateway)),
            r.link(chain.inner.host(name="inner", proxy_jump=gateway)),
        )
        assert logins(chain.gateway) == 1
        middle.close()
        await middle.wait_thread()
        await _answers(inner)
        inner.close()
        await eventually_async(lambda: not chain.gateway.sessions, "the hop is left by the last")
        await r.link(chain.inner.host(name="inner", proxy_jump=gateway))
        assert logins(chain.gateway) == 2


async def test_a_longer_chain_shares_the_hops_of_a_shorter_one(chain: Chain) -> None:
    async with reach() as r:
        await r.link(chain.host())
        await r.link(chain.near())
        # sshd writes its log by another process than the one that answers.
        await eventually_async(lambda: logins(chain.middle) == 2, "both logins are in the log")
        assert logins(chain.gateway) == 1


async def test_who_gives_up_leaves_the_hop_to_those_who_wait(chain: Chain) -> None:
    chain.gateway.pause()
    async with reach() as r:
        first = asyncio.create_task(r.link(chain.near()))
        second = asyncio.create_task(r.link(chain.near()))
        await asyncio.wait((first, second), timeout=0.3)
        first.cancel()
        await asyncio.wait((first,))
        chain.gateway.resume()
        await second
        assert logins(chain.gateway) == 1


async def test_nobody_waits_in_vain_for_another_ones_secret(chain: Chain, tmp_path: Path) -> None:
    """A login that fails for want of a secret is tried again with the secrets of whoever waits."""
    key = tmp_path / "locked"
    with chain.gateway.authorized_keys.open("a") as file:
        file.write(write_key(key, passphrase=SECRET) + "\n")
    gateway = chain.gateway.host(name="gateway", identity_file=(str(key),), passphrase=REFERENCE)
    host = chain.near(proxy_jump=(gateway,))
    asked, go_on = threading.Event(), threading.Event()

    def poor(reference: SecretRef) -> str:
        asked.set()
        assert go_on.wait(10)
        raise Failure(Code.SECRET_UNAVAILABLE, "nobody told me")

    async with reach() as r:
        first = asyncio.create_task(r.fails(Code.SECRET_UNAVAILABLE, host, poor))
        await asyncio.to_thread(asked.wait)
        second = asyncio.create_task(r.link(host, lambda _: SECRET))
        await asyncio.wait((second,), timeout=0.1)
        go_on.set()
        assert (await first).message.startswith("hop gateway (127.0.0.1:")
        await second


async def _answers(link: Link) -> None:
    """The peer is there: it answers a request."""
    async with asyncio.timeout(10):
        await link.ask("keepalive@openssh.com", b"", lambda _: None)


# Whose fault it is


async def test_a_silent_hop_in_the_middle_takes_down_what_is_above(chain: Chain) -> None:
    async with reach() as r:
        link = await r.link(chain.host(**IMPATIENT))
        chain.middle.pause()
        failure = await link.closed
        assert failure.code is Code.PEER_SILENT
        assert failure.message.startswith(f"hop middle (127.0.0.1:{chain.middle.port})")
        await link.wait_thread()
        await eventually_async(lambda: not chain.gateway.sessions, "the whole chain is down")
        chain.middle.resume()


async def test_of_several_silent_hops_the_nearest_is_named(chain: Chain) -> None:
    async with reach() as r:
        link = await r.link(chain.host(**IMPATIENT))
        chain.gateway.pause()
        failure = await link.closed
        assert failure.message.startswith(f"hop gateway (127.0.0.1:{chain.gateway.port})")
        chain.gateway.resume()


async def test_a_silent_host_behind_living_hops_is_to_blame_itself(chain: Chain) -> None:
    async with reach() as r:
        link = await r.link(chain.host(**IMPATIENT))
        chain.inner.pause()
        failure = await link.closed
        assert failure.code is Code.PEER_SILENT
        assert failure.message.startswith("inner (")
        chain.inner.resume()


@pytest.mark.parametrize("name", ["gateway", "middle"])
async def test_a_hop_that_dies_is_named(chain: Chain, name: str) -> None:
    async with reach() as r:
        link = await r.link(chain.host())
        server: OpenSSHServer = getattr(chain, name)
        server.kill()
        failure = await link.closed
        assert failure.code is Code.SESSION_LOST
        assert failure.message.startswith(f"hop {name} (127.0.0.1:{server.port})")
        await link.wait_thread()
        refused = await r.fails(Code.CONNECTION_REFUSED, chain.host())
        if name == "gateway":
            assert refused.message.startswith(f"hop gateway (127.0.0.1:{server.port}): ")
        else:  # which is what the gateway says of it
            assert refused.message.startswith("hop gateway (")
            assert f"cannot connect to middle (127.0.0.1:{server.port})" in refused.message
        assert refused.retryable


async def test_a_hop_with_another_key_is_not_entered(chain: Chain) -> None:
    async with reach() as r:
        link = await r.link(chain.host())
        chain.middle.rotate_host_key()
        assert (await link.closed).message.startswith("hop middle (")
        before = chain.middle.log
        failure = await r.fails(Code.HOST_KEY_CHANGED, chain.host())
        assert failure.message.startswith(f"hop middle (127.0.0.1:{chain.middle.port}): ")
        assert not failure.retryable
        assert "Accepted" not in chain.middle.log.removeprefix(before)
        assert logins(chain.inner) == 1
        await eventually_async(lambda: not chain.gateway.sessions, "the whole chain is down")


async def test_a_hop_that_does_not_know_us(chain: Chain) -> None:
    chain.middle.authorized_keys.write_text("")
    async with reach() as r:
        failure = await r.fails(Code.AUTH_FAILED, chain.host())
    who = f"{chain.middle.user}@127.0.0.1:{chain.middle.port}"
    assert failure.message.startswith(f"hop middle ({who}): ")


async def test_the_command_that_lets_a_host_know_the_key_goes_the_same_way(
    chain: Chain, tmp_path: Path
) -> None:
    stranger = tmp_path / "stranger"
    write_key(stranger)
    host = dataclasses.replace(chain.host(), identity_file=(str(stranger),))
    async with reach() as r:
        failure = await r.fails(Code.AUTH_FAILED, host)
    user, gateway, middle = chain.gateway.user, chain.gateway.port, chain.middle.port
    assert failure.hint.endswith(
        f"ssh-copy-id -i {stranger} -p {chain.inner.port} "
        f"-o ProxyJump={user}@127.0.0.1:{gateway},{user}@127.0.0.1:{middle} {user}@127.0.0.1"
    )


async def test_a_hop_that_may_not_forward(chain: Chain) -> None:
    chain.middle.reconfigure("AllowTcpForwarding no")
    async with reach() as r:
        failure = await r.fails(Code.FORWARD_DENIED, chain.host())
    assert failure.message.startswith(f"hop middle (127.0.0.1:{chain.middle.port}): ")
    assert f"inner (127.0.0.1:{chain.inner.port})" in failure.message
    assert "AllowTcpForwarding" in failure.hint


async def test_a_name_that_the_hop_does_not_know(chain: Chain) -> None:
    async with reach() as r:
        host = chain.near(hostname="nowhere.invalid")
        failure = await r.fails(Code.NAME_NOT_FOUND, host)
    assert failure.message.startswith(f"hop gateway (127.0.0.1:{chain.gateway.port}): ")
    assert "nowhere.invalid" in failure.message


@pytest.mark.parametrize("name", ["gateway", "middle", "inner"])
async def test_each_handshake_has_its_own_deadline(chain: Chain, name: str) -> None:
    server: OpenSSHServer = getattr(chain, name)
    server.pause()
    began = clock.monotonic()
    async with reach() as r:
        failure = await r.fails(Code.TIMED_OUT, chain.host(connect_timeout=1.5))
    assert clock.monotonic() - began < 3 * 1.5 + BUSY
    who = "inner" if name == "inner" else f"hop {name}"
    assert failure.message.startswith(f"{who} (127.0.0.1:{server.port}): no answer within 1.5 s")
    server.resume()


async def test_a_hop_that_is_lost_in_the_middle_of_a_login_is_no_refusal(chain: Chain) -> None:
    chain.middle.reconfigure("PasswordAuthentication yes", "AuthenticationMethods password")

    def pull_the_plug(reference: SecretRef) -> str:
        chain.gateway.kill_sessions()
        return SECRET

    async with reach() as r:
        host = chain.near(password=REFERENCE, identity_file=())
        failure = await r.fails(Code.SESSION_LOST, host, pull_the_plug)
    assert failure.message.startswith(f"hop gateway (127.0.0.1:{chain.gateway.port})")
    assert failure.retryable


# Turns, and keys to trust


async def test_hops_and_those_behind_them_have_turns_of_their_own(chain: Chain) -> None:
    """More hosts at once than there are turns, each with a hop that needs one too."""
    async with reach() as r:
        queue = Handshakes(r.reactor, connect)
        gateways = [
            chain.gateway.host(name="gateway", connect_timeout=30.0 + number)
            for number in range(AT_WORK + AT_ONE_ADDRESS)
        ]
        hosts = [chain.near(proxy_jump=(gateway,)) for gateway in gateways]
        async with asyncio.timeout(50):
            links = await asyncio.gather(
                *(
                    queue.connect(host, here(), no_secret, lambda _: None, lambda *_: nullcontext())
                    for host in hosts
                )
            )
        assert logins(chain.gateway) == logins(chain.middle) == len(hosts)
        for link in links:
            link.close()
        await asyncio.gather(*(link.wait_thread() for link in links))


async def test_the_key_of_a_host_behind_hops_can_be_fetched(chain: Chain) -> None:
    kind, blob = await fetch_host_key(chain.host(), here(), no_secret)
    assert f"{kind} " in chain.inner.host_keys[0]
    strange = dataclasses.replace(chain.host(), user_known_hosts_file=("/nonexistent",))
    async with reach() as r:
        assert fingerprint(blob) in (await r.fails(Code.HOST_KEY_UNKNOWN, strange)).message
    assert "Accepted" not in chain.inner.log


async def test_the_hops_on_the_way_to_a_key_must_be_known(chain: Chain) -> None:
    gateway = chain.gateway.host(name="gateway", user_known_hosts_file=("/nonexistent",))
    with pytest.raises(Failure) as caught:
        await fetch_host_key(chain.near(proxy_jump=(gateway,)), here(), no_secret)
    assert caught.value.code is Code.HOST_KEY_UNKNOWN
    assert caught.value.message.startswith("hop gateway (")
