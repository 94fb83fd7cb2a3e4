"""Completion of arguments: profiles, forwards, hosts and commands.

Owns no name: profiles are the files found and those in the daemon; forwards and hosts are from the
daemon's status, else from the keys in the file. Must be fast, never load the parser of profiles,
and never fail: unavailable names are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from tunnelctl.client import Client
from tunnelctl.errors import Failure
from tunnelctl.home.paths import Paths, current_folder

# Every command has completions; what only these need is imported when a name is completed.
if TYPE_CHECKING:
    from tunnelctl.state.documents.snapshot import ProfileStatus

# In the `meta` of a context: whether a line of ssh is typed.
SSH_LINE = "tunnelctl.ssh-line"
_WITHIN = 0.15  # seconds for the daemon to answer
_READ_MAX = 1 << 20  # bytes; a profile has no more
# A block of a file in the usual form: `forwards:` at the margin, its keys indented.
_BLOCK = r"^{}:[ \t]*(?:#.*)?\n((?:[ \t]+.*\n|[ \t]*(?:#.*)?\n)*)"
_KEY = re.compile(r"^([ \t]+)([A-Za-z0-9][A-Za-z0-9._-]*):", re.MULTILINE)


def profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Profiles with this prefix: from files, and from the daemon."""
    return _beginning(incomplete, {*_files(), *_known()})


def running(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Profiles in the daemon, if one answers."""
    return _beginning(incomplete, _known() or _files())


def forwards(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """`PROFILE/FORWARD`, once the profile is typed."""
    return _parts(incomplete, "forwards")


def hosts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """`PROFILE/HOST`, once the profile is typed."""
    return _parts(incomplete, "hosts")


def places(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """A profile, or one of its forwards."""
    return (forwards if "/" in incomplete else running)(ctx, param, incomplete)


def tunnels(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """A profile, or one of its hosts."""
    return (hosts if "/" in incomplete else running)(ctx, param, incomplete)


def ssh_hosts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The argument of `ssh`: `[USER@]HOST`."""
    user, at, host = incomplete.rpartition("@")
    from tunnelctl.config.openssh.names import names_for  # the other commands are quicker without

    return [f"{user}{at}{name}" for name in _beginning(host, set(names_for(os.environ)))]


def profiles_or_host(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Profiles, or the host of a line of ssh."""
    return (ssh_hosts if ctx.meta.get(SSH_LINE) else profiles)(ctx, param, incomplete)


def profiles_or_stop(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The arguments of `daemon`."""
    return profiles(ctx, param, incomplete) + _beginning(incomplete, ["stop"])


def any_host(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """A host as for `ssh`, or one of a profile."""
    of_profiles = hosts(ctx, param, incomplete) if "@" not in incomplete else []
    return ssh_hosts(ctx, param, incomplete) + of_profiles


def commands(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The subcommands of those that were named."""
    command: click.Command | None = ctx.find_root().command
    for name in ctx.params.get(param.name or "") or ():
        command = command.get_command(ctx, name) if isinstance(command, click.Group) else None
    names = command.list_commands(ctx) if isinstance(command, click.Group) else []
    return _beginning(incomplete, names)


def _beginning(incomplete: str, names: Any) -> list[str]:
    return sorted(name for name in names if name.startswith(incomplete))


def _parts(incomplete: str, kind: str) -> list[str]:
    profile, slash, rest = incomplete.partition("/")
    known = _known()
    if not slash:
        found = _beginning(profile, known or _files())
        if len(found) != 1:
            return [f"{name}/" for name in found]
        (profile,) = found
    if profile in known:
        found_in = known[profile]
        parts = found_in.forwards if kind == "forwards" else found_in.hosts
        names = [part.name for part in parts]
    else:
        names = list(_keys(profile, kind))
    return [f"{profile}/{name}" for name in _beginning(rest, names)]


def _files() -> set[str]:
    try:
        from tunnelctl.config.profile.find import list_profiles

        return {found.name for found in list_profiles(os.environ, current_folder())}
    except OSError:
        return set()


def _known() -> dict[str, ProfileStatus]:
    """The profiles of the status document, by name; none without a daemon."""
    try:
        document = Client(Paths.from_environ(os.environ)).status(within=_WITHIN)
    except (Failure, OSError):
        return {}
    return {profile.name: profile for profile in document.profiles}


def _keys(profile: str, block: str) -> Iterator[str]:
    """The keys of one block of a profile's file, as far as they are visible without parsing it."""
    try:
        from tunnelctl.config.profile.find import find_profile

        path = find_profile(profile, environ=os.environ, cwd=current_folder())
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_READ_MAX) + "\n"
    except (Failure, OSError):
        return
    found = re.search(_BLOCK.format(block), text, re.MULTILINE)
    keys = _KEY.findall(found[1]) if found else []
    yield from (key for indent, key in keys if indent == keys[0][0])
