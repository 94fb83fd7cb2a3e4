"""The order in which the endpoints of etcd are asked, and asked again."""

from __future__ import annotations

import asyncio
import json
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
from tunnelctl.spec.secret import SecretRef, SecretSource

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
    assert asked.urls[:2] == [HANGS, FAILS]
    assert asked.urls.count(FAILS) == 2
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
        return await _granted(request)

    async def fast(request: web.Request) -> web.Response:
        late.set()
        return web.json_response({"header": {"raft_term": "2"}, "ID": "2", "TTL": "8"})

    async def never(request: web.Request) -> web.Response:
        future: asyncio.Future[web.Response] = asyncio.get_running_loop().create_future()
        return await future

    async def confirm(request: web.Request) -> web.Response:
        await confirmed.wait()
        return await _confirmed(request)

    async with _member(slow, never) as first, _member(fast, confirm) as second:
        etcd = _store(first, second)
        lease = Lease(etcd, Keys("web"), 8.0)
        await lease.renew()
        assert lease.id == 2
        await etcd.close()


async def test_a_login_goes_on_when_a_request_is_given_up() -> None:
    """etcd computes it for longer than a request may take on a busy machine; a login for each
    attempt would make it take longer still."""
    logins, is_done = 0, asyncio.Event()

    async def log_in(request: web.Request) -> web.Response:
        nonlocal logins
        logins += 1
        await is_done.wait()
        return web.json_response({"token": "one"})

    async with _member(_granted, _confirmed, log_in) as url:
        etcd = _with_user(url, lambda: "secret")
        lease = Lease(etcd, Keys("web"), 4.0)
        with pytest.raises(Failure, match="did not answer"):
            await lease.renew()
        is_done.set()
        await lease.renew()
        assert logins == 1
        await etcd.close()


async def test_a_password_that_was_refused_is_not_tried_again_and_again() -> None:
    passwords, logins = ["wrong"], 0

    async def log_in(request: web.Request) -> web.Response:
        nonlocal logins
        logins += 1
        if (json.loads(await request.read()))["password"] == "right":
            return web.json_response({"token": "one"})
        words = {"code": 3, "message": "etcdserver: authentication failed, invalid user ID"}
        return web.json_response(words, status=400)

    async with _member(_granted, _confirmed, log_in) as url:
        etcd = _with_user(url, lambda: passwords[-1])
        lease = Lease(etcd, Keys("web"), 8.0)
        for _ in range(3):
            with pytest.raises(Failure, match="refused user tunnels or its password"):
                await lease.renew()
        assert logins == 1
        passwords.append("right")
        await lease.renew()
        await etcd.close()


def _with_user(url: str, password: Callable[[], str]) -> Etcd:
    reference = SecretRef(SecretSource.ENV, ("PASSWORD",))
    settings = StoreSettings((url,), user="tunnels", password=reference)
    return Etcd(settings, lambda _: password(), "/tunnelctl/web/")


async def _granted(request: web.Request) -> web.Response:
    return web.json_response({"header": {"raft_term": "2"}, "ID": "1", "TTL": "8"})


async def _confirmed(request: web.Request) -> web.Response:
    header = {"raft_term": "2", "revision": "5"}
    return web.json_response({"header": header, "responses": [{"response_range": {}}]})


Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def _member(
    grant: Handler, transaction: Handler, log_in: Handler | None = None
) -> AsyncIterator[str]:
    """A member of a store with these answers; its URL."""
    application = web.Application()
    if log_in is not None:
        application.router.add_post("/v3/auth/authenticate", log_in)
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
