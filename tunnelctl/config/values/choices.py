"""Keys with one value, or several, from a fixed set.

Each function takes a plain value and returns the checked one, or raises ValueError with a sentence
for a user.
"""

from __future__ import annotations

from tunnelctl.config.values.scalars import one_or_list, text
from tunnelctl.config.yaml.mistakes import shown
from tunnelctl.spec.forward import Inspect, OnUnhealthy, ProbeType
from tunnelctl.spec.host import AUTHENTICATIONS, AddressFamily, SessionType, StrictHostKeyChecking


def strict_host_key_checking(value: object) -> StrictHostKeyChecking:
    """`yes` or `accept-new`."""
    for choice in StrictHostKeyChecking:
        if value == str(choice):
            return choice
    raise ValueError(
        f"must be yes or accept-new, not {shown(value)}: "
        "without this check anybody on the network path can read the traffic"
    )


def address_family(value: object) -> AddressFamily:
    """The address family: the addresses of a name that are used."""
    for choice in AddressFamily:
        if value == str(choice):
            return choice
    raise ValueError(f"must be any, inet or inet6, not {shown(value)}")


def preferred_authentications(value: object) -> tuple[str, ...]:
    """The authentication methods, in order; a list, or ssh_config(5)'s text with commas."""
    names = tuple(dict.fromkeys(name.strip() for name in algorithms(value).split(",")))
    for name in names:
        if name not in AUTHENTICATIONS:
            raise ValueError(f"must be one of {', '.join(AUTHENTICATIONS)}, not {shown(name)}")
    return names


def session_type(value: object) -> SessionType:
    """Whether a session is opened and its text shown."""
    for choice in SessionType:
        if value == str(choice):
            return choice
    raise ValueError(
        f"must be one of {', '.join(SessionType)}, not {shown(value)}: "
        "a session shows what the server prints, and runs no command"
    )


def algorithms(value: object) -> str:
    """ssh_config(5)'s text with commas; a list of names is equivalent."""
    if isinstance(value, list):
        return ",".join(text(word) for word in one_or_list(value))
    return text(value)


def probe_type(value: object) -> ProbeType:
    """How a target is probed."""
    for choice in ProbeType:
        if value == str(choice):
            return choice
    raise ValueError(f"must be one of {', '.join(ProbeType)}, not {shown(value)}")


def on_unhealthy(value: object) -> OnUnhealthy:
    """The reaction to an unhealthy target."""
    for choice in OnUnhealthy:
        if value == str(choice):
            return choice
    raise ValueError(f"must be report or reconnect, not {shown(value)}")


def inspect(value: object) -> Inspect:
    """The protocol that the inspector reads."""
    for choice in Inspect:
        if value == str(choice):
            return choice
    raise ValueError(f"must be http, not {shown(value)}")
