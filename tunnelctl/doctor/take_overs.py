"""How soon another machine of the fleet gets the remote ports of one that died.

The server decides that, and does not report it: this names its options. Must never claim that they
were tested.
"""

from __future__ import annotations

from collections.abc import Mapping

from tunnelctl.doctor import forward_sentences
from tunnelctl.doctor.report import Part, Step, profile_in, untested
from tunnelctl.spec.forward import Side
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.link.link import Link
from tunnelctl.state.documents.snapshot import Status


def steps(profile: Profile, links: Mapping[str, Link], status: Status | None) -> list[Step]:
    """One for each server that listens for a profile of a fleet; `links` are the hosts that were
    reached, `status` is the daemon's status document."""
    running = profile_in(status, profile.name, profile.source)
    if running is None or running.fleet is None:
        return []
    listening = dict.fromkeys(rule.via for rule in profile.forwards if rule.side is Side.THERE)
    return [
        untested(
            Part.TAKE_OVER,
            name,
            forward_sentences.freed_when_missed(name),
            links[name].info.software.misses_clients_soon,
        )
        for name in listening
        if name in links
    ]
