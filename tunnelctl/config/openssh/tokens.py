"""ssh_config(5) TOKENS, environment variables and `~` in paths of ssh_config.

Owns the value of each (OpenSSH's ssh.c and percent_dollar_expand in misc.c). Reads only the names
of this machine and its users.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
from collections.abc import Mapping

from tunnelctl.config.openssh.lines import TOKEN
from tunnelctl.config.openssh.reader import Asked, Options
from tunnelctl.spec.environment import expand_user


class Tokens:
    """The values of the tokens for one name and its settings.

    `home` is the value of `~` and `%d`. `variables` has the names of those that were replaced.
    """

    def __init__(
        self, asked: Asked, options: Options, environ: Mapping[str, str], home: str
    ) -> None:
        self.variables: set[str] = set()
        self._asked = asked
        self._options = options
        self._environ = environ
        self._home = home

    def path(self, written: str) -> str:
        """A path as OpenSSH expands it: first `~`, then tokens and variables.

        Raises:
            ValueError: an unknown token or user, or a variable that is not set.
        """
        return TOKEN.sub(self.value, self.tilde(written))

    def tilde(self, written: str) -> str:
        """`~` and `~NAME` only.

        Raises:
            ValueError: there is no user of that name.
        """
        return expand_user(written, {"HOME": self._home})

    def value(self, token: re.Match[str]) -> str:
        """The value of a match of TOKEN.

        Raises:
            ValueError: as `path` does.
        """
        if token[2] is not None:
            self.variables.add(token[2])
            if token[2] not in self._environ:
                raise ValueError(f"variable {token[2]} of ssh_config is not set")
            return self._environ[token[2]]
        value = self._values().get(token[1])
        if value is None:
            raise ValueError(f"{token[0]} in ssh_config is not a token")
        return value

    def _values(self) -> dict[str, str]:
        local, name = socket.gethostname(), self._asked.name
        user = self._asked.local_user
        host = self._options.get("hostname", (name.lower(),))[0]
        port = self._options.get("port", ("22",))[0]
        login = self._options.get("user", (user,))[0]
        jump = self._jump()
        # The client's value takes precedence: before OpenSSH 9.6 the jump host was not part of it.
        made = hashlib.sha1(
            f"{local}{host}{port}{login}{jump}".encode(errors="surrogateescape"),
            usedforsecurity=False,
        )
        return {
            "%": "%",
            "C": self._options.get("controlpath", (made.hexdigest(),))[0],
            "d": self._home,
            "h": host,
            "i": str(os.getuid()),
            "j": jump,
            "k": self._options.get("hostkeyalias", (name,))[0].lower(),
            "L": local.partition(".")[0],
            "l": local,
            "n": name,
            "p": port,
            "r": login,
            "u": user,
        }

    def _jump(self) -> str:
        """The host of the last hop before the name itself."""
        hops = self._options.get("proxyjump", ("none",))[0]
        last = hops.rpartition(",")[2].removeprefix("ssh://").rpartition("@")[2]
        if last.lower() == "none":
            return ""
        return last[1:].partition("]")[0] if last.startswith("[") else last.partition(":")[0]
