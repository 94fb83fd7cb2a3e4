"""`trust`: records a host key."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Iterator

import click

from tunnelctl.cli import caller, sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.profiles.profile_files import load
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.asking import HOST_KEY_AGAIN, decision
from tunnelctl.cli.terminal.output import say
from tunnelctl.errors import PLACE, Code, Failure, Hint
from tunnelctl.spec.endpoint import bracketed
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host, StrictHostKeyChecking


@click.command(
    epilog="Examples: tunnelctl trust bastion; tunnelctl trust dev/bastion --fingerprint SHA256:…"
)
@click.argument("target", metavar=f"[USER@]HOST[:PORT]|{PLACE}", shell_complete=complete.any_host)
@click.option(
    "--fingerprint", metavar="SHA256:…", help="Record the key if its fingerprint is this."
)
@click.option(
    "--known-hosts",
    metavar="PATH",
    help="File to record the key in; default: ~/.ssh/known_hosts.",
)
@click.option("--host-key-alias", metavar="NAME", help="Name to record the key under.")
@click.pass_obj
def trust(
    options: Options,
    target: str,
    fingerprint: str | None,
    known_hosts: str | None,
    host_key_alias: str | None,
) -> None:
    """Show a server's host key and record it.

    The key is recorded if it has the given fingerprint, or after a yes at the terminal. Compare the
    fingerprint with one from the server's administrator: a man in the middle presents another key.

    A host of a profile is reached through its proxy or jump hosts, whose own keys come first if
    they are unknown. Any other host is reached as ssh_config says.
    """
    from tunnelctl.ssh.chain import chain  # heavy: paramiko

    if "/" in target and "@" not in target:
        if known_hosts or host_key_alias:
            raise click.UsageError("of a host in a profile, the profile says where it is recorded")
        host = _host_in_profile(options, target)
    else:
        host = _host_at(target, known_hosts, host_key_alias)
    recorded = False
    for one in chain(host):
        recorded |= _trust(one, target, fingerprint, is_hop=one is not host)
        if recorded and fingerprint is not None:
            return  # it is that of one key
    if not recorded:
        say(f"the key of {target} is already known")


def _trust(host: Host, target: str, fingerprint: str | None, *, is_hop: bool) -> bool:
    """Record the key of `host` unless it is known already; returns whether it was unknown.

    A hop with a known key is not mentioned.

    Raises:
        Failure: HOST_KEY_UNKNOWN, it has another fingerprint; NEEDS_INPUT, see `_ask`.
    """
    import asyncio

    from tunnelctl.home.secrets import resolve_secret
    from tunnelctl.ssh.connect import fetch_host_key
    from tunnelctl.ssh.keys import certificates
    from tunnelctl.ssh.server_key import verify as hostkeys

    environment = caller.environment()
    secrets = functools.partial(resolve_secret, environment=environment)

    def silent(failure: Failure) -> None:
        say(str(failure.at(target)))

    key_type, blob = asyncio.run(fetch_host_key(host, environment, secrets, silent))
    shown = certificates.fingerprint(blob)
    is_known = _is_known(host, blob, environment)
    if is_known and is_hop:
        return False
    click.echo(f"{host.address} {key_type} {shown}")
    if fingerprint is not None and fingerprint != shown:
        raise sentences.key_not_expected(host.address, shown, fingerprint)
    if is_known:
        return False
    if not hostkeys.keeps_keys(host):
        raise sentences.key_not_kept(os.devnull, hostkeys.trust_hint(host, blob))
    if fingerprint is None:
        _ask(shown, hostkeys.trust_hint(host, blob).at(target))
    say(f"recorded in {hostkeys.record(host, blob, environment)}")
    return True


def _is_known(host: Host, blob: bytes, environment: Environment) -> bool:
    from tunnelctl.ssh.server_key import verify as hostkeys

    strict = dataclasses.replace(host, strict_host_key_checking=StrictHostKeyChecking.YES)
    try:
        hostkeys.verify(strict, blob, environment)
    except Failure as failure:
        if failure.code is not Code.HOST_KEY_UNKNOWN:
            raise
        return False
    return True


def _ask(fingerprint: str, trust: Hint) -> None:
    """Get a yes from a person, or the fingerprint, as `up` does.

    Raises:
        Failure: NEEDS_INPUT, there is nobody to ask, or the answer is no.
    """
    if not sys.stdin.isatty():
        raise sentences.nobody_to_confirm_key(trust)
    prompt = "Is this the server's key? (yes/no/fingerprint) "
    while True:
        click.echo(prompt, nl=False, err=True)
        answer = decision(sys.stdin.readline() or "no")
        if answer is not None:
            break
        prompt = HOST_KEY_AGAIN
    if answer not in ("yes", fingerprint):
        raise sentences.key_not_confirmed()


def _host_in_profile(options: Options, target: str) -> Host:
    profile, _, name = target.partition("/")
    ((_, loaded),) = load((profile,), None, options.client)
    for host in _every(loaded.profile.hosts):
        if host.name == name:
            return host
    raise click.UsageError(f"profile {profile} has no host {name}")


def _every(hosts: tuple[Host, ...]) -> Iterator[Host]:
    """The hosts, and their hops that no argument named."""
    for host in hosts:
        yield host
        yield from _every(host.fallback)
        yield from _every(host.proxy_jump)


def _host_at(target: str, known_hosts: str | None, host_key_alias: str | None) -> Host:
    """The host that `ssh TARGET` would reach, by ssh_config."""
    from tunnelctl.config.profile.named import host_named  # heavy: pydantic

    user, at, address = target.rpartition("@")
    if address.count(":") > 1 and not address.startswith("["):
        address = bracketed(address)  # an IPv6 address in its usual form
    try:
        host = host_named(f"{user}{at}{address}", caller.environment())
    except Failure as failure:
        raise click.UsageError(str(failure)) from None
    return dataclasses.replace(
        host,
        host_key_alias=host_key_alias or host.host_key_alias,
        user_known_hosts_file=(known_hosts,) if known_hosts else host.user_known_hosts_file,
    )
