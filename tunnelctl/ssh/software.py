"""The software of a peer by its version line (RFC 4253 section 4.2), and its properties.

Owns which server's options a hint may name. Must never rely on the name where the property can be
tested: forks keep the name of the original.
"""

from __future__ import annotations

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.sentences import excerpt


@dataclass(frozen=True, slots=True)
class Software:
    """A peer's software; `name` is the version line without "SSH-2.0-"."""

    name: str

    @property
    def is_openssh(self) -> bool:
        """Whether sshd_config(5) applies there."""
        return self.name.startswith("OpenSSH")

    @property
    def is_dropbear(self) -> bool:
        """Whether the options of dropbear(8) apply there."""
        return self.name.startswith("dropbear")

    @property
    def is_tunnelctl(self) -> bool:
        """Whether it is an embedded server, or the client of one."""
        return self.name.startswith("tunnelctl")

    @property
    def bears_refusals(self) -> bool:
        """Whether it is known to keep the connection after a refused open; some servers that
        forward nothing disconnect."""
        return self.is_openssh or self.is_dropbear or self.is_tunnelctl

    @property
    def revives_listeners(self) -> bool:
        """Whether a listener that it refused to cancel still passes its clients on. Dropbear's
        does; Erlang's accepts them and sends nothing."""
        return self.is_dropbear

    @property
    def widens(self) -> str:
        """The option that makes its listeners reachable from other machines; empty if unknown."""
        if self.is_openssh:
            return "GatewayPorts clientspecified in sshd_config there"
        return "the option -a of dropbear there" if self.is_dropbear else ""

    @property
    def misses_clients(self) -> str:
        """The option that makes it notice lost clients sooner; empty if unknown."""
        if self.is_openssh:
            return "ClientAliveInterval in sshd_config there"
        return "the option -K of dropbear there" if self.is_dropbear else ""

    @property
    def misses_clients_soon(self) -> str:
        """The same, with values for a fleet, whose machines wait for the ports of one that died."""
        if self.is_openssh:
            return (
                "ClientAliveInterval 5 and ClientAliveCountMax 2 in sshd_config there make it 15 "
                "seconds at most"
            )
        return "the option -K 5 of dropbear there makes it soon" if self.is_dropbear else ""

    def decides(self, openssh: str, dropbear: str) -> str:
        """A hint about the option that allows forwards there: of sshd_config for OpenSSH, or of
        dropbear."""
        if self.is_openssh:
            return f"sshd_config there decides ({openssh})"
        if self.is_dropbear:
            return f"dropbear's options there decide ({dropbear})"
        return f"the configuration of the server there decides ({excerpt(self.name)})"
