"""Forwards with sshtunnel until SIGTERM: `python -m benchmarks.peers.run_sshtunnel TASK`."""

from __future__ import annotations

import signal
import sys

import sshtunnel

from benchmarks.peers.python import Task


def main(task: Task) -> None:
    """Open the forwards, one forwarder for each host, and keep them."""
    # It cannot be given a known_hosts file; the server is ours, on loopback.
    forwarders = [
        sshtunnel.SSHTunnelForwarder(
            ("127.0.0.1", task.port),
            ssh_username=task.user,
            ssh_pkey=task.identity,
            ssh_config_file=None,
            allow_agent=False,
            host_pkey_directories=[],
            local_bind_addresses=[("127.0.0.1", here) for here, _ in rules],
            remote_bind_addresses=[("127.0.0.1", there) for _, there in rules],
        )
        for rules in task.hosts
    ]
    for forwarder in forwarders:
        forwarder.start()
    # Its threads are daemons: the default action of SIGTERM ends them all.
    signal.pause()


if __name__ == "__main__":
    main(Task.from_argument(sys.argv[1]))
