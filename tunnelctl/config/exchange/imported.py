"""What an import brings: a profile in the making, and what could not be carried over.

Owns that nothing is lost silently: whatever a source says is in the profile or in the notes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tunnelctl.config.profile.adhoc import forward_map, forward_name, unused
from tunnelctl.config.profile.canonical import yaml_text
from tunnelctl.config.profile.listeners import Listeners
from tunnelctl.config.values.endpoints import permit as read_permit
from tunnelctl.config.values.forward_specs import ForwardSpec
from tunnelctl.errors import printable
from tunnelctl.spec.forward import Side

ANY_TARGET = "any"  # of PermitRemoteOpen
# The same as `permit`, where a network of all addresses leaves out this machine and its link.
_ANY_PERMIT = (
    *("0.0.0.0/0:*", "::/0:*", "localhost:*", "127.0.0.0/8:*", "::1:*"),
    *("169.254.0.0/16:*", "fe80::/10:*"),
)
_NO_TARGET = "none"


@dataclass
class Imported:
    """Hosts and forwards by name, as the values of a file; `notes` are one sentence each."""

    defaults: dict[str, Any] = field(default_factory=dict)
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)
    forwards: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _listeners: Listeners = field(default_factory=Listeners)

    def note(self, text: str) -> None:
        """Something that the profile does not have, and why; said once."""
        if text not in self.notes:
            self.notes.append(printable(text))

    def host(self, name: str, keys: dict[str, Any]) -> str:
        """Have a host with these keys; the name that it got.

        One name with other settings than before gets another name, and then says by itself where
        it is.
        """
        if self.hosts.setdefault(name, keys) == keys:
            return name
        alone = {"hostname": name, **keys}
        for other, theirs in self.hosts.items():
            if theirs == alone:
                return other
        other = unused(name, self.hosts)
        self.hosts[other] = alone
        if keys.get("ssh_config") is not False:
            self.note(
                f"{other}: what ssh_config says of {name} is not looked up for it, "
                "as it has settings of its own"
            )
        return other

    def forward(
        self,
        spec: ForwardSpec,
        via: str,
        *,
        name: str | None = None,
        permit: Sequence[str] = (),
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Have a forward through the host `via`, unless the profile could not have it."""
        written = f"{spec.option} {spec}"
        if spec.key == "remote_dynamic" and not permit:
            self.note(
                f"{written} through {via}: its clients would reach any address from here; "
                "say what they may with --permit HOST:PORT"
            )
            return
        machine = None if spec.side is Side.HERE else via
        name = unused(name or forward_name(spec), self.forwards)
        other = self._listeners.claim(machine, spec.listen, name)
        if other is not None:
            self.note(f"{written}: {other[0]} listens there already")
            return
        self.forwards[name] = {**forward_map(spec, via, permit), **(more or {})}

    def permitted(self, written: str) -> list[str]:
        """PermitRemoteOpen of ssh_config(5) as `permit`; what it has no words for is a note."""
        if written.lower() == ANY_TARGET:
            return list(_ANY_PERMIT)
        permits = []
        for word in written.split():
            if word.lower() == _NO_TARGET:
                continue
            try:
                read_permit(word)
            except ValueError as error:
                self.note(f"PermitRemoteOpen {error}")
            else:
                permits.append(word)
        return permits

    def yaml(self, description: str, *, ascii_only: bool = False) -> str:
        """The profile's file; what is not in it stands above it as comments. `ascii_only`: its
        values are, the comments need not be."""
        document: dict[str, Any] = {"version": 1, "description": printable(description)}
        if self.defaults:
            document["defaults"] = self.defaults
        document |= {"hosts": self.hosts, "forwards": self.forwards}
        comments = ["# Not carried over:", *(f"#   {note}" for note in self.notes)]
        head = "\n".join(comments) + "\n" if self.notes else ""
        return head + yaml_text(document, ascii_only=ascii_only)
