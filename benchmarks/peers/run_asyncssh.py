"""Forwards with asyncssh until SIGTERM: `python -m benchmarks.peers.run_asyncssh TASK`."""

from __future__ import annotations

import asyncio
import sys

import asyncssh

from benchmarks.peers.python import Task


async def main(task: Task) -> None:
    """Open the forwards, one connection for each host, and keep them."""
    connections = []
    for rules in task.hosts:
        connection = await asyncssh.connect(
            "127.0.0.1",
            task.port,
            username=task.user,
            client_keys=[task.identity],
            known_hosts=task.known_hosts,
            agent_path=None,
            config=None,
        )
        for here, there in rules:
            await connection.forward_local_port("127.0.0.1", here, "127.0.0.1", there)
        connections.append(connection)
    # The default action of SIGTERM ends it.
    await asyncio.gather(*(connection.wait_closed() for connection in connections))


if __name__ == "__main__":
    asyncio.run(main(Task.from_argument(sys.argv[1])))
