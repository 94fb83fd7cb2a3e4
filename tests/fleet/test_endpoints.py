"""The order in which the endpoints of etcd are asked, and asked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tunnelctl.errors import Code, Failure
from tunnelctl.fleet import sentences
from tunnelctl.fleet.etcd import Etcd, Member, NoLease
from tunnelctl.fleet.file import StoreSettings
from tunnelctl.fleet.lease import Lease
from tunnelctl.fleet.records import Keys

HANGS, FAILS, ANSWERS = "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"


class Asked:
    """Work that one endpoint never does, one refuses so many times, and others do at once."""

    def __init__(self, refusals: int = 0) -> None:
        self.urls: list[str] = []
        self._refusals = refusals

    async def __call__(self, member: Member) -> str:
        self.urls.append(member.url)
        if member.url == HANGS:
            await asyncio.get_running_loop().create_future()
        if member.url == FAILS and self.urls.count(FAILS) <= self._refusals:
            raise sentences.no_quorum(member.url, "no leader")
        return member.url


def _store(*urls: str) -> Etcd:
    return Etcd(StoreSettings(urls), lambda reference: "", "/tunnelctl/web/")


async def test_the_next_one_is_asked_while_one_hangs_and_comes_first_then() -> None:
    etcd, asked = _store(HANGS, ANSWERS), Asked()
    assert await etcd.anywhere(asked, 2.0) == ANSWERS
    assert await etcd.anywhere(asked, 60.0) == ANSWERS
    assert asked.urls == [HANGS, ANSWERS, ANSWERS]
    await etcd.close()


async def test_one_that_failed_is_asked_again_while_another_hangs() -> None:
    """A leader was stopped: the others answer once they have elected another."""
    etcd, asked = _store(HANGS, FAILS), Asked(refusals=1)
    assert await etcd.anywhere(asked, 2.0) == FAILS
    assert asked.urls == [HANGS, FAILS, HANGS, FAILS]
    await etcd.close()


async def test_a_member_that_hangs_is_asked_again() -> None:
    """It had passed the first request on to a leader that is gone."""
    asked: list[str] = []

    async def once(member: Member) -> str:
        asked.append(member.url)
        if len(asked) == 1:
            await asyncio.get_running_loop().create_future()
        return member.url

    etcd = _store(ANSWERS)
    assert await etcd.anywhere(once, 2.0) == ANSWERS
    assert asked == [ANSWERS, ANSWERS]
    await etcd.close()


async def test_an_error_that_is_no_fault_of_the_store_ends_it_at_once() -> None:
    async def ended(member: Member) -> str:
        raise NoLease

    etcd = _store(HANGS, ANSWERS)
    with pytest.raises(NoLease):
        await etcd.anywhere(ended, 60.0)
    await etcd.close()


async def test_the_lease_that_counts_is_the_one_that_was_confirmed() -> None:
    """Two members are asked for a lease, and the slower one answers last before the first of them
    is confirmed. Its lease began earlier than what the other one proves."""
    late, confirmed = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await late.wait()
        confirmed.set()
        return web.json_response({"header": {"raft_term": "2"}, "ID": "1", "TTL": "8"})

    async def fast(request: web.Request) -> web.Response:
        late.set()
        return web.json_response({"header": {"raft_term": "2"}, "ID": "2", "TTL": "8"})

    async def never(request: web.Request) -> web.Response:
        future: asyncio.Future[web.Response] = asyncio.get_running_loop().create_future()
        return await future

    async def confirm(request: web.Request) -> web.Response:
        await confirmed.wait()
        header = {"raft_term": "2", "revision": "5"}
        return web.json_response({"header": header, "responses": [{"response_range": {}}]})

    async with _member(slow, never) as first, _member(fast, confirm) as second:
        etcd = _store(first, second)
        lease = Lease(etcd, Keys("web"), 8.0)
        await lease.renew()
        assert lease.id == 2
        await etcd.close()


Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def _member(grant: Handler, transaction: Handler) -> AsyncIterator[str]:
    """A member of a store with these answers; its URL."""
    application = web.Application()
    application.router.add_post("/v3/lease/grant", grant)
    application.router.add_post("/v3/kv/txn", transaction)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def test_every_reason_is_told_when_the_time_is_over() -> None:
    etcd, asked = _store(HANGS, FAILS), Asked(refusals=99)
    with pytest.raises(Failure) as caught:
        await etcd.anywhere(asked, 0.5)
    assert caught.value.code is Code.STORE_LOST
    for words in ("did not answer within", "no leader"):
        assert words in caught.value.message
    await etcd.close()
