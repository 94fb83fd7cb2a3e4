"""The machines of a fleet that may take a profile that nobody holds, in order.

Pure, and the same on every machine that sees the same store. The order is by rendezvous hashing:
profiles spread over the machines, and those of a machine that is gone spread over the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from tunnelctl.quick_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class LastHolder:
    """The machine that held a profile last, and the digest of its file."""

    machine: str
    digest: str


def ordered(profile: str, machines: Iterable[str]) -> list[str]:
    """The machines in the order in which they take this profile."""
    return sorted(machines, key=lambda machine: _weight(profile, machine), reverse=True)


def _weight(profile: str, machine: str) -> bytes:
    return hashlib.sha256(f"{profile}\0{machine}".encode()).digest()


def may_take(machine: str, digests: Mapping[str, str], last: LastHolder | None) -> bool:
    """Whether the file of a machine is good enough to serve. `digests` has the digest of the
    profile's file on every live machine.

    The file of the last holder counts: another one may be older, or a mistake. It stops counting
    where the machine that held it has a newer one itself, and where several machines agree on
    another.
    """
    mine = digests[machine]
    if last is None or mine == last.digest or machine == last.machine:
        return True
    return len(digests) > 1 and set(digests.values()) == {mine}


def rank(
    profile: str,
    machine: str,
    digests: Mapping[str, str],
    last: LastHolder | None,
    *,
    gave_up: str = "",
) -> int | None:
    """The place of a machine among the candidates, from 0; None if it must not take the profile.
    The one that held it until now and `gave_up` comes last."""
    if machine not in digests or not may_take(machine, digests, last):
        return None
    candidates = [each for each in digests if may_take(each, digests, last)]
    order = ordered(profile, candidates)
    return sorted(order, key=lambda each: each == gave_up).index(machine)
