"""The targets of the tunnels, in two processes: `python -m benchmarks.targets bulk|echo`.

Prints the port that it listens on, and ends with its standard input. `bulk` receives or sends
blocks as fast as it can, with a thread for each connection; `echo` returns everything, with one
epoll for all. Must never be slower than what is measured: the `direct` column of the report shows
its limit.
"""

from __future__ import annotations

import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from benchmarks.processes import allow_open_files
from benchmarks.traffic import prepare, receive_blocks, receive_exactly, send_blocks

UPLOAD, DOWNLOAD = b"u", b"d"
REQUEST = struct.Struct("!cd")  # the direction, and the seconds of a download
ANSWER = struct.Struct("!Q")  # the number of bytes of an upload

_BACKLOG = 1024
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class TargetPorts:
    """The ports of both."""

    bulk: int
    echo: int


class Targets:
    """Both as child processes; a context manager."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> TargetPorts:
        return TargetPorts(self._start("bulk"), self._start("echo"))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.communicate()

    def _start(self, kind: str) -> int:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.targets", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        assert process.stdout is not None
        return int(process.stdout.readline())


def serve_bulk(listener: socket.socket) -> None:
    """Receive or send blocks, as each connection requests."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=_serve_bulk, args=(connection,), daemon=True).start()


def _serve_bulk(connection: socket.socket) -> None:
    with connection:
        prepare(connection)
        try:
            direction, seconds = REQUEST.unpack(receive_exactly(connection, REQUEST.size))
            if direction == DOWNLOAD:
                send_blocks(connection, seconds)
            else:
                connection.sendall(ANSWER.pack(receive_blocks(connection)))
        except OSError:
            pass  # the tunnel was cut; the other end reports it


def serve_echo(listener: socket.socket) -> None:
    """Return everything; only for small messages, which never fill a socket's buffer."""
    listener.setblocking(False)
    connections: dict[int, socket.socket] = {}
    with select.epoll() as poll:
        poll.register(listener, select.EPOLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == listener.fileno():
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    connections[connection.fileno()] = connection
                    poll.register(connection, select.EPOLLIN)
                elif not _echo(connections[descriptor]):
                    connections.pop(descriptor).close()


def _echo(connection: socket.socket) -> bool:
    """Whether more follows."""
    try:
        data = connection.recv(_CHUNK)
        connection.send(data)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return bool(data)


_KINDS: dict[str, Callable[[socket.socket], None]] = {"bulk": serve_bulk, "echo": serve_echo}


def main(kind: str) -> None:
    """Serve until standard input ends."""
    allow_open_files()
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener:
        # Accepted connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=_KINDS[kind], args=(listener,), daemon=True).start()
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
