"""The result of an import: a profile, and notes about what could not be converted.

Owns that nothing is lost silently: everything in a source is in the profile or in the notes.
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
# The same as `permit`, where a network of all addresses excludes this machine and its link.
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
        """Note something that the profile does not have, and why; once."""
        if text not in self.notes:
            self.notes.append(printable(text))

    def host(self, name: str, keys: dict[str, Any]) -> str:
        """Add a host with these keys; returns the name that it got.

        A name that exists with other settings gets a number, and then states its hostname itself.
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
                f"{other}: the settings of {name} in ssh_config are not used, "
                "because this host has its own"
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
        """Add a forward through the host `via`, unless no profile can have it."""
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
        """PermitRemoteOpen of ssh_config(5) as `permit`; what `permit` cannot express is noted."""
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
        """The profile's file; the notes are comments above it. `ascii_only`: for the values;
        comments may have other characters."""
        document: dict[str, Any] = {"version": 1, "description": printable(description)}
        if self.defaults:
            document["defaults"] = self.defaults
        document |= {"hosts": self.hosts, "forwards": self.forwards}
        comments = ["# Not carried over:", *(f"#   {note}" for note in self.notes)]
        head = "\n".join(comments) + "\n" if self.notes else ""
        return head + yaml_text(document, ascii_only=ascii_only)
