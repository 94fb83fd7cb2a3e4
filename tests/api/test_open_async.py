"""`tunnelctl.open_async` in a running event loop, whichever it is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

import tunnelctl
from tests.support.clients import ask
from tests.support.ports import is_listening
from tests.support.silent import mute_listener
from tests.support.waiting import eventually, eventually_async
from tests.support.world import tunnel_text

_GET = b"GET / HTTP/1.0\r\n\r\n"

uvloop.new_event_loop().close()  # libuv keeps a pipe of the first one for the whole process

Run = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a program's main coroutine as the program would."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else None

    def runner(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=factory) as running:
            running.run(main)

    return runner


def test_it_serves_the_loop_and_ends_with_the_block(hello: Path, run: Run) -> None:
    async def main() -> None:
        async with tunnelctl.open_async(file=hello) as tunnels:
            port = tunnels["hello"].port
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(_GET)
            assert (await reader.read()).endswith(b"Hello, World!\n")
            writer.close()
            await writer.wait_closed()
            # A blocking client in the loop's own thread, as in many a program.
            assert ask(port, _GET).endswith(b"Hello, World!\n")
        assert not is_listening(port)

    run(main())


def test_several_at_once(hello: Path, run: Run) -> None:
    async def one() -> int:
        async with tunnelctl.open_async(file=hello) as tunnels:
            return tunnels["hello"].port

    async def main() -> None:
        assert len(set(await asyncio.gather(one(), one(), one()))) == 3

    run(main())


def test_a_failure_and_an_error_in_the_block_come_out(hello: Path, run: Run) -> None:
    async def main() -> None:
        with pytest.raises(tunnelctl.Failure, match="there is no file"):
            async with tunnelctl.open_async(file=hello.with_name("nowhere.yaml")):
                pass
        with pytest.raises(ZeroDivisionError):
            async with tunnelctl.open_async(file=hello):
                _ = 1 / 0

    run(main())


def test_it_is_cancelled_while_it_opens(tmp_path: Path, run: Run) -> None:
    def is_opening() -> bool:
        return any(thread.name == "tunnelctl: silent" for thread in threading.enumerate())

    async def main(file: Path) -> None:
        async def opening() -> None:
            async with tunnelctl.open_async(file=file):
                raise AssertionError("nobody answered")

        task = asyncio.create_task(opening())
        await eventually_async(is_opening, "it is opening")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert not is_opening()

    with mute_listener() as (address, port):
        file = tmp_path / "silent.yaml"
        host = f"{{hostname: {address}, port: {port}, user: me}}"
        file.write_text(tunnel_text(host, db="local: 0, to: 5432"))
        run(main(file))
    eventually(lambda: not is_opening(), "it is closed")
