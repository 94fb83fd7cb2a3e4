"""What sshd_config allows, as doctor finds it: every combination of the words that decide."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.doctor.walks import step
from tests.support.here import here
from tests.support.ports import free_port
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.tunnel import rule
from tunnelctl.doctor.report import Result, Step
from tunnelctl.doctor.walk import examine
from tunnelctl.errors import Code
from tunnelctl.spec.forward import Forward, Side
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile

ALLOW_TCP_FORWARDING = ("yes", "no", "local", "remote")
DISABLE_FORWARDING = ("no", "yes")
GATEWAY_PORTS = ("no", "yes", "clientspecified")
PERMITS = ("any", "none", "this", "another")


@dataclass(frozen=True)
class Policy:
    """One combination, at a port of a server; forwards from `listen` and to `target`."""

    allow: str
    disable: str
    gateway: str
    permits: str
    target: int
    port: int
    listen: int

    @property
    def name(self) -> str:
        return f"{self.allow}-{self.disable}-{self.gateway}-{self.permits}"

    def block(self) -> Iterator[str]:
        """It as sshd_config(5) has it."""
        permit_open, permit_listen = {
            "any": ("any", "any"),
            "none": ("none", "none"),
            "this": (f"127.0.0.1:{self.target}", f"127.0.0.1:{self.listen}"),
            "another": ("127.0.0.1:1", "127.0.0.1:1"),
        }[self.permits]
        yield f"Match LocalPort {self.port}"
        yield f"AllowTcpForwarding {self.allow}"
        yield f"DisableForwarding {self.disable}"
        yield f"GatewayPorts {self.gateway}"
        yield f"PermitOpen {permit_open}"
        yield f"PermitListen {permit_listen}"

    def forwards(self) -> tuple[Forward, Forward]:
        """A forward each way."""
        there = rule(Side.HERE, 0, self.target, name=f"L-{self.name}", via=self.name)
        back = rule(Side.THERE, self.listen, self.target, name=f"R-{self.name}", via=self.name)
        return there, back

    def host(self, server: OpenSSHServer) -> Host:
        """The server at this policy's port; its key is known under its first one."""
        return server.host(name=self.name, port=self.port, host_key_alias=server.pattern)

    def check(self, local: Step, remote: Step) -> None:
        """sshd_config(5) says what is to be expected."""
        open_to_us = self.disable == "no" and self.permits in ("any", "this")
        if open_to_us and self.allow in ("yes", "local"):
            assert local.result is Result.OK, (self, local)
        else:
            assert local.code is Code.FORWARD_DENIED, (self, local)
        if not (open_to_us and self.allow in ("yes", "remote")):
            assert remote.code is Code.FORWARD_DENIED, (self, remote)
        elif self.gateway == "yes":
            assert remote.result is Result.WARNING, (self, remote)
            assert "listens on all addresses" in remote.message
        else:
            assert remote.result is Result.OK, (self, remote)


def policies(allow: str, disable: str, target: int) -> list[Policy]:
    """Those of one server, which has no room for more ports than 16."""
    return [
        Policy(allow, disable, gateway, permits, target, free_port(), free_port())
        for gateway, permits in itertools.product(GATEWAY_PORTS, PERMITS)
    ]


def config(found: Sequence[Policy]) -> list[str]:
    """The ports and what holds at each."""
    return [
        *(f"Port {policy.port}" for policy in found),
        *(line for policy in found for line in policy.block()),
    ]


def test_every_policy_of_a_server_is_found_out(tmp_path: Path) -> None:
    hosts: list[Host] = []
    found: list[Policy] = []
    with ExitStack() as stack:
        echo = stack.enter_context(EchoService())
        for allow, disable in itertools.product(ALLOW_TCP_FORWARDING, DISABLE_FORWARDING):
            mine = policies(allow, disable, echo.port)
            server = OpenSSHServer(tmp_path / f"{allow}-{disable}", config=config(mine))
            stack.callback(server.stop)
            server.start()
            hosts += [policy.host(server) for policy in mine]
            found += mine
        forwards = tuple(forward for policy in found for forward in policy.forwards())
        report = examine(Profile("dev", "dev.yaml", tuple(hosts), forwards), here(), None)
    assert len(found) == 96
    for policy in found:
        local = step(report, "permission", f"L-{policy.name}")
        policy.check(local, step(report, "permission", f"R-{policy.name}"))
