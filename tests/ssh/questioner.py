"""An SSH server whose login rules a test chooses: what a real sshd would need an account for."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import paramiko
from paramiko.common import AUTH_FAILED, AUTH_PARTIALLY_SUCCESSFUL, AUTH_SUCCESSFUL
from paramiko.server import InteractiveQuery

from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.certificates import fingerprint


@dataclass(frozen=True)
class Round:
    """What is asked at once: each prompt with whether the answer may be seen."""

    prompts: tuple[tuple[str, bool], ...]
    right: tuple[str, ...]
    name: str = ""
    instruction: str = ""


@dataclass
class Rules(paramiko.ServerInterface):
    """What the server takes. `steps`: the methods that are wanted one after the other, or those
    (with a comma in between) of which one is.

    `rounds`: what keyboard-interactive asks, each time with the answers that are right.
    """

    steps: tuple[str, ...] = ("password",)
    password: str = "hunter2"
    rounds: tuple[Round, ...] = ()
    takes_keys: bool = True
    answered: list[list[str]] = field(default_factory=list)
    round: int = 0
    passed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def get_allowed_auths(self, username: str) -> str:
        return self.steps[len(self.passed)] if len(self.passed) < len(self.steps) else ""

    def check_auth_none(self, username: str) -> int:
        return AUTH_FAILED if self.steps else AUTH_SUCCESSFUL

    def check_auth_password(self, username: str, password: str) -> int:
        return self._step("password", password == self.password)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return self._step("publickey", self.takes_keys)

    def check_auth_interactive(self, username: str, submethods: str) -> int | InteractiveQuery:
        self.round = 0
        if "keyboard-interactive" not in self.get_allowed_auths(""):
            return AUTH_FAILED
        return self._query()

    def check_auth_interactive_response(self, responses: list[str]) -> int | InteractiveQuery:
        self.answered.append(responses)
        if tuple(responses) != self.rounds[self.round].right:
            return self._step("keyboard-interactive", False)
        self.round += 1
        if self.round == len(self.rounds):
            return self._step("keyboard-interactive", True)
        return self._query()

    def _query(self) -> InteractiveQuery:
        asked = self.rounds[self.round]
        return InteractiveQuery(asked.name, asked.instruction, *asked.prompts)

    def _step(self, method: str, right: bool) -> int:
        if not right or method not in self.get_allowed_auths("").split(","):
            self.refused.append(method)
            return AUTH_FAILED
        if len(self.passed) + 1 == len(self.steps):
            return AUTH_SUCCESSFUL
        # A key is asked about before it is used; only the last question of a step counts.
        self.passed.append(method)
        return AUTH_PARTIALLY_SUCCESSFUL


class Questioner:
    """Serves one connection at a time on 127.0.0.1, by `rules`."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self._key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)

    def host(self, **changes: object) -> Host:
        """How to reach it, its key pinned."""
        words: dict[str, object] = {
            "name": "questioner",
            "hostname": "127.0.0.1",
            "port": self._listener.getsockname()[1],
            "user": "somebody",
            "identity_agent": "none",
            "host_key": (fingerprint(self._key.asbytes()),),
            **changes,
        }
        return Host(**words)  # type: ignore[arg-type]  # the caller's words are a Host's

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self._key)
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(server=self.rules)
            transport.join()
            connection.close()
