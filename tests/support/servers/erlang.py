"""Erlang/OTP's ssh: the server of RabbitMQ's, Elixir's and many telecom products' shells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from tests.support.servers.base import PROGRAMS, Server, debian_version, missing_program, program


class ErlangServer(Server):
    """With `tcpip_tunnel_in` and `tcpip_tunnel_out`, which are off by default."""

    name: ClassVar[str] = "Erlang"
    source: ClassVar[str] = "erlang-ssh (Debian)"

    @classmethod
    def missing(cls) -> str | None:
        """See Server."""
        if debian_version("erlang-ssh") == "?":
            return "Erlang's ssh is not installed (Debian: apt-get install erlang-ssh)"
        return missing_program("escript", "erlang-base")

    @classmethod
    def version(cls) -> str:
        """See Server."""
        return debian_version("erlang-ssh")

    def command(self) -> Sequence[str]:
        """See Server."""
        script = str(PROGRAMS / "erlang_server.escript")
        keys = [str(self.directory), str(self.authorized_keys.parent)]
        return [program("escript"), script, str(self.port), *keys, self.user, self.password]
