"""Secrets are gone before anything is kept: the whole memory of a process is searched for them."""

from __future__ import annotations

import errno
import mmap
import subprocess
import sys
from collections.abc import Iterator
from io import FileIO

import pytest

from tunnelctl.state.documents.exchange import BLACKED_OUT

# Puts together each secret in one place, which it overwrites; then it waits to be searched.
_PROGRAM = """
import asyncio, sys
from tests.inspect.talks import CLIENT, SERVER, inspected, shown

SECRETS = [(b"open-", b"sesame-%d" % number) for number in range(6)]
KEPT = bytearray().join(SECRETS[0]) if sys.argv[2] == "keep" else b""
REQUEST = bytearray().join([
    b"GET /x HTTP/1.1\\r\\nHost: h\\r\\nAuthorization: Bearer ", *SECRETS[0],
    b"\\r\\ncookie:\\ta=", *SECRETS[1], b"\\r\\n b=", *SECRETS[2],
    b"\\r\\nProxy-Authorization: ", *SECRETS[3], b"\\r\\n\\r\\n",
])
RESPONSE = bytearray().join([
    b"HTTP/1.1 200 OK\\r\\nSet-Cookie: id=", *SECRETS[4],
    b"\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n2\\r\\nok\\r\\n0",
    b"\\r\\nSet-Cookie: t=", *SECRETS[5],
    b"\\r\\n\\r\\n",
])
BROKEN = bytearray().join([b"GET /y HTTP/1.1\\r\\nCookie: ", *SECRETS[1]])


async def main(size):
    async with inspected() as inspection:
        seen = await shown(inspection, [(CLIENT, REQUEST), (SERVER, RESPONSE)], size)
        await shown(inspection, [(CLIENT, BROKEN)], size)
        for message in (REQUEST, RESPONSE, BROKEN):
            message[:] = bytes(len(message))
        print(seen[0].as_json(), flush=True)
        sys.stdin.read()


asyncio.run(main(int(sys.argv[1]) or None))
"""


def memory_of(pid: int) -> bytes:
    """Everything that a process has in memory; skips the test if that cannot be read."""
    try:
        return _read_memory(pid)
    except PermissionError:
        pytest.skip("this system does not let a user read the memory of a process")


def _read_memory(pid: int) -> bytes:
    parts: list[bytes] = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            place, access = line.split()[:2]
            start, end = (int(number, 16) for number in place.split("-"))
            if access.startswith("r") and "[v" not in line:
                parts += _pages(memory, start, end)
    return b"\n".join(parts)


def _pages(memory: FileIO, start: int, end: int) -> Iterator[bytes]:
    """A mapping, without its pages that nothing can read: the guards of stacks (madvise(2),
    MADV_GUARD_INSTALL)."""
    while start < end:
        memory.seek(start)
        try:
            part = memory.read(end - start)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            part = bytes(mmap.PAGESIZE)
        yield part
        start += len(part)


def search(size: int, keep: str) -> tuple[str, list[int]]:
    """What the program showed, and how often each secret is in its memory."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, str(size), keep],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        shown = process.stdout.readline()
        try:
            memory = memory_of(process.pid)
        finally:
            process.stdin.close()
        return shown, [memory.count(b"open-sesame-%d" % number) for number in range(6)]


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
@pytest.mark.parametrize("size", [0, 1, 9])
def test_no_secret_is_anywhere_in_the_memory(size: int) -> None:
    shown, counts = search(size, "")
    assert shown.count(BLACKED_OUT) == 4
    assert counts == [0] * 6


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read from /proc")
def test_the_search_finds_what_is_there() -> None:
    assert search(0, "keep")[1] == [1, 0, 0, 0, 0, 0]
