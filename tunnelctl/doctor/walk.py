"""Tests one profile, from its first host to its last target.

Owns the order: all hosts concurrently, then all forwards concurrently; the report has the order of
the file.
"""

from __future__ import annotations

import asyncio
import functools

from tunnelctl.doctor import keys, sentences, sessions, take_overs
from tunnelctl.doctor.forwards import Examination
from tunnelctl.doctor.hosts import HostAddress, Ways, place_of
from tunnelctl.doctor.report import Part, Report, Step, daemon_steps, ok
from tunnelctl.home.secrets import resolve_secret
from tunnelctl.net.reactor import Reactor
from tunnelctl.net.selector import new_event_loop
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.profile import Profile
from tunnelctl.ssh.chain import chain
from tunnelctl.ssh.silence import OnSilence, unheard
from tunnelctl.state.documents.snapshot import Status


def examine(
    profile: Profile,
    environment: Environment,
    status: Status | None,
    on_silence: OnSilence = unheard,
) -> Report:
    """Test the profile. Blocking: each host takes its `connect_timeout` at most, and a silent
    `proxy_command`, which is reported to `on_silence`, two minutes (ssh/reach/proxy_command.py).

    `environment` is that of this terminal: programs run in it, and it names the agent. `status` is
    the daemon's status document, None if no daemon runs.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_examine(profile, environment, status, on_silence))


async def _examine(
    profile: Profile,
    environment: Environment,
    status: Status | None,
    on_silence: OnSilence,
) -> Report:
    secrets = functools.partial(resolve_secret, environment=environment)
    reactor = Reactor(asyncio.get_running_loop())
    ways = Ways(profile.name, reactor, environment, secrets, on_silence)
    try:
        on_the_way = _every_host(profile)
        each = [
            keys.steps(host, f"{profile.name}/{host.name}", environment, secrets)
            for host in on_the_way.values()
        ]
        walks = map(ways.walk, profile.hosts)
        held, _ = await asyncio.gather(asyncio.gather(*each), asyncio.gather(*walks))
        forwards = await asyncio.gather(
            *(
                Examination(
                    profile=profile,
                    rule=rule,
                    host=profile.host(rule.via),
                    link=ways.links.get(rule.via),
                    reactor=reactor,
                    environment=environment,
                    status=status,
                ).steps()
                for rule in profile.forwards
            )
        )
        # Last, because some servers take a session as the sign that all forwards were requested.
        told = await asyncio.gather(
            *(sessions.steps(profile.host(name), link) for name, link in ways.links.items())
        )
        fleet = take_overs.steps(profile, ways.links, status)
    finally:
        await ways.close()
        reactor.close()
    steps = [_valid(profile), *daemon_steps(profile.name, profile.source, status)]
    for place, of_keys in zip(on_the_way, held, strict=True):
        steps += [*of_keys, *ways.steps.pop(place, ())]
    for found in (*ways.steps.values(), *forwards, *told, fleet):
        steps += found
    return Report(profile.name, tuple(steps))


def _every_host(profile: Profile) -> dict[HostAddress, Host]:
    """Every host with a login, each once, hops before the hosts behind them."""
    return {
        place_of(host): host
        for named in profile.hosts
        for candidate in named.candidates
        if not candidate.embedded
        for host in chain(candidate)
    }


def _valid(profile: Profile) -> Step:
    what = sentences.profile_valid(profile.source, len(profile.hosts), len(profile.forwards))
    return ok(Part.PROFILE, profile.name, what)
