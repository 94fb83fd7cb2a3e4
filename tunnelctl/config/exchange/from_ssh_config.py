"""Converts what `ssh NAME` forwards by ssh_config to a profile.

Owns the reading of LocalForward, RemoteForward and DynamicForward with the keywords that change
their meaning. The hosts of such a profile are names in ssh_config, which still describes the way to
them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tunnelctl.config import sentences
from tunnelctl.config.exchange.imported import Imported
from tunnelctl.config.openssh.lines import SshConfigError
from tunnelctl.config.openssh.lookup import Lookup, SshConfig
from tunnelctl.config.openssh.reader import Options
from tunnelctl.config.profile.keys import SSH_KEYWORDS
from tunnelctl.config.values.choices import address_family
from tunnelctl.config.values.forward_specs import (
    ForwardSpec,
    dynamic_spec,
    in_family,
    local_spec,
    names_no_address,
    remote_spec,
)
from tunnelctl.config.values.names import host_name
from tunnelctl.home.paths import current_folder
from tunnelctl.spec.endpoint import ANY_ADDRESS, Endpoint
from tunnelctl.spec.forward import Side
from tunnelctl.spec.host import AddressFamily

_KINDS: dict[str, tuple[str, Callable[[str], ForwardSpec]]] = {
    "localforward": ("LocalForward", local_spec),
    "remoteforward": ("RemoteForward", remote_spec),
    "dynamicforward": ("DynamicForward", dynamic_spec),
}


def import_ssh_config(
    names: Sequence[str],
    environ: Mapping[str, str],
    *,
    file: str | None = None,
    permit: Sequence[str] = (),
) -> Imported:
    """The forwards of these names, or of every name in ssh_config without a wildcard.

    `file` is the path of another ssh_config; `permit` is for SOCKS listeners on a server.

    Raises:
        Failure: config-invalid; ssh_config cannot be read, or forwards nothing for them.
    """
    source: bool | str = True if file is None else os.path.abspath(file)
    look_up = SshConfig(environ, set(), SSH_KEYWORDS)
    imported = Imported(defaults={} if file is None else {"ssh_config": source})
    try:
        asked = [host_name(name) for name in names]
        asked = asked or list(_usable(look_up.aliases(source).names, imported))
        for name in dict.fromkeys(asked):
            options = look_up.forwarding(Lookup(name, source))
            before = len(imported.forwards) + len(imported.notes)
            add_forwards(imported, options, partial(imported.host, name, {}), permit=permit)
            if names and before == len(imported.forwards) + len(imported.notes):
                imported.note(f"{name}: ssh_config forwards nothing for it")
    except (SshConfigError, ValueError) as error:
        raise sentences.not_imported(str(error)) from None
    return imported


def _usable(names: Iterable[str], imported: Imported) -> Iterator[str]:
    """A name that was not asked for, and that no host can have, is skipped."""
    for name in names:
        try:
            yield host_name(name)
        except ValueError as error:
            imported.note(f"Host {error}")


def are_cleared(options: Options) -> bool:
    """Whether ClearAllForwardings removes every forward, from files and the command line."""
    return options.get("clearallforwardings", ("no",))[0].lower() in ("yes", "true")


def add_forwards(
    imported: Imported,
    options: Options,
    host: Callable[[], str],
    *,
    permit: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
) -> None:
    """Add what `options` forward, through the host that `host` adds if there is a forward.

    `permit` is for SOCKS listeners on the server; `more` are keys for each forward.
    """
    if are_cleared(options):
        return
    specs = list(_specs(options, imported))
    permits = list(permit)
    written = options.get("permitremoteopen", ("",))[0]
    if any(spec.key == "remote_dynamic" for spec in specs):
        permits += imported.permitted(written)
    for spec in specs:
        if spec.key == "remote_dynamic" and not permits and written.lower() == "none":
            imported.note(
                f"{spec.option} {spec}: PermitRemoteOpen none refuses every target of its clients; "
                "name the targets instead, there or with --permit HOST:PORT"
            )
            continue
        imported.forward(spec.below(str(current_folder())), host(), permit=permits, more=more)


def _specs(options: Options, imported: Imported) -> Iterator[ForwardSpec]:
    gateway = options.get("gatewayports", ("no",))[0].lower() in ("yes", "true")
    family = address_family(options.get("addressfamily", (AddressFamily.ANY,))[0])
    for keyword, (written, read) in _KINDS.items():
        for text in options.get(keyword, ()):
            try:
                spec = read(text)
                if spec.side is Side.HERE:
                    listen = spec.listen
                    if gateway and names_no_address(text):
                        listen = Endpoint(ANY_ADDRESS, listen.port)
                    spec = replace(spec, listen=in_family(listen, family))
            except ValueError as error:
                imported.note(f"{written} {error}")
                continue
            yield spec
