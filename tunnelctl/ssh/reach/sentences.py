"""The messages of failures of jump hosts, proxies and programs on the way to a host.

Owns the sentences: one function for each failure, named after what happened. Each names the hop,
the proxy or the program that failed.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnelctl.errors import Code, Failure, Hint, by_hand, edit
from tunnelctl.spec.host import Host, Proxy
from tunnelctl.ssh.sentences import elapsed, excerpt, invalid_key, label

# --- jump hosts ----------------------------------------------------------------------------


def hop_too_slow(hop: Host, host: Host, hints: Sequence[Hint]) -> Failure:
    """The deadline of the handshake with `host` passed while the hop was still connecting."""
    return Failure(
        Code.TIMED_OUT,
        f"cannot connect to {label(host)} within {host.connect_timeout:g} s",
        *hints,
        subject=label(hop),
        hop=hop.name,
    )


def hop_forbids(hop: Host, host: Host, said: str, hint: str) -> Failure:
    """The hop does not allow connections to `host`."""
    return Failure(
        Code.FORWARD_DENIED,
        f"connections to {label(host)} are not allowed: {said}",
        hint,
        subject=label(hop),
        hop=hop.name,
    )


def hop_cannot_connect(hop: Host, host: Host, code: Code, said: str) -> Failure:
    """The hop tried to connect to `host`."""
    return Failure(
        code,
        f"cannot connect to {label(host)}: {said}",
        "check hostname and port as seen from the hop",
        subject=label(hop),
        hop=hop.name,
    )


# --- proxies -------------------------------------------------------------------------------


def proxy_unreachable(host: Host, proxy: Proxy, failure: Failure) -> Failure:
    """The proxy itself cannot be reached: `failure` says why."""
    return failure.but(
        subject=label(host),
        detail=f"proxy {proxy}: {failure.detail}",
        hints=[edit(f"check that the proxy runs, and hosts.{host.name}.proxy")],
    )


def proxy_refused(host: Host, proxy: Proxy, code: Code, why: str) -> Failure:
    """The proxy does not connect to `host`: the reason, in its words or ours."""
    hint: Hint | str = ""
    if code is Code.AUTH_FAILED:
        hint = edit(f"check user and password in hosts.{host.name}.proxy")
    elif code is Code.CONFIG_INVALID:
        hint = edit(f"correct hosts.{host.name}")
    elif code is Code.HANDSHAKE_FAILED:
        hint = f"check that a {proxy.kind} proxy listens there"
    return Failure(code, f"proxy {proxy} does not connect: {why}", hint, subject=label(host))


# --- proxy_command -------------------------------------------------------------------------


def _by_hand(host: Host) -> tuple[Hint, Hint]:
    return by_hand(f"the proxy_command of {host.name}")


def proxy_command_not_started(host: Host, program: str, why: str) -> Failure:
    """The first word of `proxy_command` is no program that can be run."""
    why = f"cannot start {excerpt(program)}: {why}"
    return invalid_key(host, "proxy_command", why, "the path of an installed program")


def no_shell(host: Host, program: str, why: str) -> Failure:
    """The user's shell, which would run ProxyCommand of ssh_config, cannot be started."""
    return Failure(
        Code.CONFIG_INVALID,
        f"proxy_command: cannot start {excerpt(program)}: {why}",
        "set SHELL to the path of an installed shell",
        subject=label(host),
    )


def proxy_command_silent(host: Host, program: str, seconds: float) -> Failure:
    """The program sent nothing in time."""
    return Failure(
        Code.TIMED_OUT,
        f"proxy_command {program}: no output for {elapsed(seconds)}",
        *_by_hand(host),
        subject=label(host),
    )


def proxy_command_waits(host: Host, program: str, seconds: float, limit: float) -> Failure:
    """The program has sent nothing so far; it may wait for a person."""
    return Failure(
        Code.TIMED_OUT,
        f"proxy_command {program}: no output for {elapsed(seconds)} (limit {limit:.3g} s)",
        "it may be waiting for a login: check for a browser window",
        *_by_hand(host),
        subject=label(host),
    )


def proxy_command_failed(
    host: Host, program: str, how: str, said: str, failure: Failure
) -> Failure:
    """The connection ended with `failure`, because the program ended: `how`."""
    return failure.but(
        subject=label(host),
        detail=f"proxy_command {program} {how}" + (f": {said}" if said else ""),
        hints=_by_hand(host),
    )


def proxy_command_said(host: Host, program: str, said: str, failure: Failure) -> Failure:
    """The connection ended with `failure`, and the program's last line may explain it."""
    return failure.but(detail=f"{failure.detail}; {program} said: {said}", hints=_by_hand(host))
