"""`trust`: the one way in which a host key becomes known."""

from __future__ import annotations

import functools
import os
import sys

import click

from tunnelctl.cli.output import say
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.endpoint import Endpoint, parse_endpoint
from tunnelctl.spec.host import Host

_SSH_PORT = 22


@click.command()
@click.argument("target", metavar="HOST[:PORT]")
@click.option("--fingerprint", metavar="SHA256:…", help="Record the key if this is it.")
@click.option(
    "--known-hosts",
    metavar="PATH",
    help="The file to record it in, instead of ~/.ssh/known_hosts.",
)
@click.option("--host-key-alias", metavar="NAME", help="The name to record it under.")
def trust(
    target: str, fingerprint: str | None, known_hosts: str | None, host_key_alias: str | None
) -> None:
    """Show a server's host key, and record it.

    It is recorded when it has the given fingerprint, or after a yes at the terminal. Compare the
    fingerprint with what the server's owner tells you: whoever is in between could show another.
    """
    import asyncio

    from tunnelctl.config.secrets import resolve_secret
    from tunnelctl.ssh import hostkeys  # heavy: paramiko
    from tunnelctl.ssh.connect import fetch_host_key

    endpoint = _endpoint(target)
    host = Host(
        name=endpoint.host,
        hostname=endpoint.host,
        port=endpoint.port,
        host_key_alias=host_key_alias,
        user_known_hosts_file=(known_hosts,) if known_hosts else (),
    )
    secrets = functools.partial(resolve_secret, environ=os.environ)
    key_type, blob = asyncio.run(fetch_host_key(host, secrets))
    shown = hostkeys.fingerprint(blob)
    click.echo(f"{endpoint} {key_type} {shown}")
    if fingerprint is not None and fingerprint != shown:
        raise Failure(
            Code.HOST_KEY_UNKNOWN,
            f"{endpoint} shows the host key {shown}, not {fingerprint}; nothing was recorded",
        )
    try:
        hostkeys.verify(host, key_type, blob)
    except Failure as failure:
        if failure.code is not Code.HOST_KEY_UNKNOWN:
            raise
    else:
        say(f"this key of {endpoint} is known already")
        return
    if fingerprint is None:
        _ask(hostkeys.trust_command(host, blob))
    say(f"recorded in {hostkeys.record(host, key_type, blob)}")


def _ask(command: str) -> None:
    """Get a yes from a person.

    Raises:
        Failure: NEEDS_INPUT, there is nobody to ask, or the answer is no.
    """
    if not sys.stdin.isatty():
        raise Failure(Code.NEEDS_INPUT, "the key was not recorded: nobody can be asked", command)
    if not click.confirm("Is it the server's key, and shall it be recorded?", err=True):
        raise Failure(Code.NEEDS_INPUT, "the key was not recorded")


def _endpoint(text: str) -> Endpoint:
    address = text.rpartition("@")[2]
    bracketed, colons = address.startswith("["), address.count(":")
    has_port = "]:" in address if bracketed else colons == 1
    if not bracketed and colons > 1:
        address = f"[{address}]"
    try:
        endpoint = parse_endpoint(address if has_port else f"{address}:{_SSH_PORT}")
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if endpoint.is_unix:
        raise click.UsageError(f"{text!r} is not HOST or HOST:PORT")
    return endpoint
