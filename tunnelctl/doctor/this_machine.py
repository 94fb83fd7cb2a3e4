"""Checks a forward's end on this machine: the address of its listener, or the service behind it.

Must never occupy an address for longer than the check, and never touch an existing socket file.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path

from tunnelctl.doctor import firewall, forward_sentences, sentences
from tunnelctl.doctor.report import Part, Step, failed, ok, profile_in, warning
from tunnelctl.errors import Code, Failure
from tunnelctl.forward.channel_requests import target_failure
from tunnelctl.forward.listener import Listener
from tunnelctl.forward.sentences import port_in_use_by_forward, target_silent_here
from tunnelctl.forward.target import connect_target
from tunnelctl.forward.unavailable import is_free_path
from tunnelctl.net.addresses import collide, listened_on, port_holder
from tunnelctl.net.reactor import Reactor
from tunnelctl.spec.endpoint import WILDCARDS, Endpoint, parse_endpoint
from tunnelctl.spec.forward import Forward
from tunnelctl.spec.profile import Profile
from tunnelctl.state.documents.snapshot import LISTENS_HERE, Status

# Seconds for a target to accept, and seconds in which it must not close the connection.
PATIENCE = 5.0
_HANGS_UP_WITHIN = 0.25
_CONTAINER_MARKS = (Path("/.dockerenv"), Path("/run/.containerenv"))
_PRIVILEGED = 1024  # ports below are reserved for root (ip(7))


def held_by_daemon(rule: Forward, profile: Profile, status: Status | None) -> str | None:
    """Where the daemon listens for this forward as the profile says; None if it does not."""
    found = profile_in(status, profile.name, profile.source)
    for forward in () if found is None else found.forwards:
        as_written = forward.listen == str(rule.listen) or rule.listen.port == 0
        if forward.name == rule.name and forward.bound and as_written:
            return forward.listen
    return None


def _owner(endpoint: Endpoint, status: Status | None) -> str | None:
    """The daemon's forward, PROFILE/FORWARD, that listens at the address of another."""
    for profile in () if status is None else status.profiles:
        for forward in profile.forwards:
            if forward.type in LISTENS_HERE and forward.bound:
                taken = parse_endpoint(forward.listen)
                same_port = taken.port == endpoint.port and collide(taken.host, endpoint.host)
                if taken == endpoint or (same_port and not endpoint.is_unix):
                    return f"{profile.name}/{forward.name}"
    return None


async def listener(rule: Forward, reactor: Reactor, status: Status | None) -> Step:
    """Whether the forward can listen here; it does so for a moment, unless the port is in use."""
    try:
        where = await _listen(rule.listen, reactor)
    except Failure as failure:
        # The daemon knows its forwards, even if /proc does not show them to this user.
        if failure.code is Code.PORT_IN_USE and (owner := _owner(rule.listen, status)):
            failure = port_in_use_by_forward(rule.listen, owner)
        return failed(Part.LISTENER, rule.name, _of_listen(rule.listen, failure))
    if not rule.listen.is_loopback and (found := await firewall.before(where.port)):
        what = forward_sentences.free_but_filtered(where, found)
        return warning(Part.LISTENER, rule.name, what, forward_sentences.open_the_port())
    return ok(Part.LISTENER, rule.name, forward_sentences.is_free(where))


async def _listen(endpoint: Endpoint, reactor: Reactor) -> Endpoint:
    if endpoint.is_unix and not is_free_path(endpoint.path):
        return endpoint
    look = await Listener.open(reactor, endpoint, lambda client, _: client.close())
    look.close()
    await look.closed()
    return endpoint if endpoint.port == 0 else look.endpoint


async def target(rule: Forward) -> Step:
    """Whether the target of a remote forward answers."""
    service = rule.target
    assert service is not None
    try:
        async with asyncio.timeout(PATIENCE):
            hangs_up = await _hangs_up(service)
    except TimeoutError:
        silent = target_silent_here(rule, service, PATIENCE)
        return failed(Part.TARGET, rule.name, silent.and_hints(await _of_silence(service)))
    except OSError as error:
        failure = target_failure(rule, service, error)
        if failure.code is Code.TARGET_REFUSED and not service.is_unix:
            failure = failure.but(hints=[await _of_refusal(rule, service)])
        return failed(Part.TARGET, rule.name, failure)
    if hangs_up:
        what = forward_sentences.hangs_up(service)
        return warning(Part.TARGET, rule.name, what, forward_sentences.published_port())
    return ok(Part.TARGET, rule.name, forward_sentences.target_answers(service))


async def _hangs_up(service: Endpoint) -> bool:
    """Whether the service closes a silent connection at once.

    Raises:
        OSError: there is no connection.
    """
    loop = asyncio.get_running_loop()
    try:
        with await connect_target(loop, service) as sock:
            try:
                async with asyncio.timeout(_HANGS_UP_WITHIN):
                    return not await loop.sock_recv(sock, 1)
            except TimeoutError:
                return False
    except ConnectionResetError:  # possibly in connect(2) already
        return True


def _of_listen(endpoint: Endpoint, failure: Failure) -> Failure:
    """Add the command for an address that cannot be used."""
    if failure.code is not Code.PERMISSION_DENIED or endpoint.is_unix:
        return failure
    if 0 < endpoint.port < _PRIVILEGED:
        return failure.and_hints(forward_sentences.allow_low_ports(endpoint.port))
    return failure.and_hints(forward_sentences.own_addresses())


async def _of_refusal(rule: Forward, service: Endpoint) -> str:
    """The address of the service, if it differs from that in the profile."""
    if rule_of_firewall := await firewall.against(service, refused=True):
        return sentences.own_firewall(rule_of_firewall)
    found = [address for address in listened_on(service.port) if address not in WILDCARDS]
    if found:
        there = dataclasses.replace(service, host=found[0])
        holder = port_holder(found[0], service.port)
        return forward_sentences.listens_elsewhere(rule, service, there, holder)
    if not service.is_loopback:
        return forward_sentences.start_service(service.port)
    if any(mark.exists() for mark in _CONTAINER_MARKS):
        return forward_sentences.start_or_leave_container(service)
    return forward_sentences.start_or_publish(service.port)


async def _of_silence(service: Endpoint) -> str:
    if found := await firewall.against(service):
        return sentences.own_firewall(found)
    return forward_sentences.dropped_here()
