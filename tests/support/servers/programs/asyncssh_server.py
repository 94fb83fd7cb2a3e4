"""asyncssh's server on 127.0.0.1, with every forward it has.

python asyncssh_server.py PORT HOST_KEY AUTHORIZED_KEYS USER PASSWORD
"""

from __future__ import annotations

import asyncio
import sys

import asyncssh

port, host_key, authorized_keys, user, password = sys.argv[1:]


class Server(asyncssh.SSHServer):  # type: ignore[misc]  # asyncssh need not be installed
    """Takes the password, and allows whatever is asked for."""

    def password_auth_supported(self) -> bool:
        """Yes."""
        return True

    def validate_password(self, username: str, given: str) -> bool:
        """Whether it is right."""
        return (username, given) == (user, password)

    def connection_requested(self, host: str, port: int, origin: str, origin_port: int) -> bool:
        """direct-tcpip."""
        return True

    def server_requested(self, host: str, port: int) -> bool:
        """tcpip-forward."""
        return True

    def unix_connection_requested(self, path: str) -> bool:
        """direct-streamlocal."""
        return True

    def unix_server_requested(self, path: str) -> bool:
        """streamlocal-forward."""
        return True


async def serve() -> None:
    """Until killed."""
    await asyncssh.listen(
        "127.0.0.1",
        int(port),
        server_factory=Server,
        server_host_keys=[host_key],
        authorized_client_keys=authorized_keys,
    )
    await asyncio.Event().wait()


asyncio.run(serve())
