"""The order in which the endpoints of etcd are asked, and asked again."""

from __future__ import annotations

import asyncio

import pytest

from tunnelctl.errors import Code, Failure
from tunnelctl.fleet import sentences
from tunnelctl.fleet.etcd import Etcd, Member
from tunnelctl.fleet.file import StoreSettings

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


async def test_every_reason_is_told_when_the_time_is_over() -> None:
    etcd, asked = _store(HANGS, FAILS), Asked(refusals=99)
    with pytest.raises(Failure) as caught:
        await etcd.anywhere(asked, 0.5)
    assert caught.value.code is Code.STORE_LOST
    for words in ("did not answer within", "no leader"):
        assert words in caught.value.message
    await etcd.close()
