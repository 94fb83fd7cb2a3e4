"""The limits of the store: the oldest give way, are counted, and grow no more."""

from __future__ import annotations

import tracemalloc
from itertools import count

import pytest

from tests.inspect.corpus import GET
from tests.inspect.talks import CLIENT, SERVER, inspected, shown
from tunnelctl.inspect.bodies import BODY_MAX
from tunnelctl.inspect.store import RequestStore, StoredExchange
from tunnelctl.state.documents.exchange import HttpExchange, HttpMessage

_numbers = count(1)


def entry(forward: str = "dev/web") -> StoredExchange:
    message = HttpMessage("HTTP/1.1", (("Host", "h"),))
    exchange = HttpExchange(next(_numbers), "", "GET", "/", message, "", "")
    return StoredExchange(forward, exchange)


def kept(store: RequestStore, forward: str = "dev/web") -> list[int]:
    return [one.exchange.id for one in store.last(forward)]


def test_the_oldest_give_way_to_the_newest_of_any_forward() -> None:
    store = RequestStore(exchanges_max=3)
    entries = [entry("dev/a"), entry("dev/b"), entry("dev/a"), entry("dev/b")]
    for one in entries:
        store.add(one)
    numbers = [one.exchange.id for one in entries]
    assert (kept(store, "dev/a"), kept(store, "dev/b")) == ([numbers[2]], [numbers[1], numbers[3]])
    assert (store.dropped("dev/a"), store.dropped("dev/b")) == (1, 0)
    assert store.get("dev/a", numbers[0]) is None
    assert store.get("dev/b", numbers[2]) is None
    assert store.get("dev/a", numbers[2]) is entries[2].exchange


def test_growing_drops_the_oldest_and_what_was_dropped_does_not_count() -> None:
    store = RequestStore(bytes_max=100_000)
    first, second = entry(), entry()
    first.exchange.request.body += b"still being sent"
    store.add(first)
    store.add(second)
    store.grew(second, 97_000)
    assert kept(store) == [second.exchange.id]
    assert not first.is_kept
    assert not first.exchange.request.body
    store.grew(first, 1_000_000)
    assert kept(store) == [second.exchange.id]


def test_what_changed_is_told_in_order() -> None:
    store = RequestStore()
    first, second = entry(), entry()
    store.add(first)
    seen = store.version
    store.add(second)
    assert store.since("dev/web", seen) == [second]
    store.changed(first)
    assert store.since("dev/web", seen) == [first, second]
    assert store.since("dev/web", store.version) == []


def test_a_forward_that_is_not_inspected_any_more_is_forgotten() -> None:
    store = RequestStore(exchanges_max=1)
    for forward in ("dev/a", "dev/a", "dev/b"):
        store.add(entry(forward))
    store.forget("dev/b")
    store.add(entry("dev/a"))
    assert (len(kept(store, "dev/a")), kept(store, "dev/b")) == (1, [])
    assert store.dropped("dev/b") == 0


@pytest.mark.parametrize("body", [b"", b"x" * BODY_MAX])
async def test_the_size_of_an_exchange_is_not_underestimated(body: bytes) -> None:
    headers = b"".join(b"X-%d: %d\r\n" % (number, number) for number in range(10))
    request = GET.replace(b"\r\n\r\n", b"\r\n" + headers + b"\r\n")
    response = b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n" % (headers, len(body)) + body
    talk = [(CLIENT, request), (SERVER, response)] * 100
    async with inspected() as inspection:
        await shown(inspection, talk)  # what is made only once
        tracemalloc.start()
        try:
            await shown(inspection, talk)
            grown, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        counted = sum(one.size for one in inspection.store.last("dev/web")[100:])
        assert grown <= counted <= 2 * grown
