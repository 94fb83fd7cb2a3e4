"""One profile: the content of a YAML file, checked and frozen."""

from __future__ import annotations

from collections.abc import Callable

from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.host import Host

# Returns a host of a profile, by name, with the current values of ssh_config; the rest is as it was
# read. Blocking: the programs of `Match exec` run, in the environment. Raises Failure if ssh_config
# has a mistake.
HostAnew = Callable[[str, Environment], Host]


@dataclass(frozen=True, slots=True)
class Hooks:
    """Programs, as words, that run when the profile comes up, goes down or fails permanently."""

    on_up: tuple[str, ...] = ()
    on_down: tuple[str, ...] = ()
    on_failed: tuple[str, ...] = ()


NO_HOOKS = Hooks()


@dataclass(frozen=True, slots=True)
class Profile:
    """Hosts and forwards in the order of the file. `source` is the path of that file."""

    name: str
    source: str
    hosts: tuple[Host, ...]
    forwards: tuple[Forward, ...]
    description: str = ""
    hooks: Hooks = NO_HOOKS

    def host(self, name: str) -> Host:
        """The host of that name.

        Raises:
            KeyError: the profile has no host of that name.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def forwards_via(self, host_name: str) -> tuple[Forward, ...]:
        """The forwards that one host carries."""
        return tuple(f for f in self.forwards if f.via == host_name)
