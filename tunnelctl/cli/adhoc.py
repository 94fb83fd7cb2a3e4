"""`up -L … HOST` and its like: what was typed becomes a profile's file.

Owns the options and what is said of them. Heavy modules are imported when there is such an option.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tunnelctl.cli.output import say
from tunnelctl.config.find import NAME_RULE, find_profile, is_profile_name
from tunnelctl.config.paths import Paths
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.forward import Side

if TYPE_CHECKING:
    from tunnelctl.client import Client
    from tunnelctl.config.forward_specs import ForwardSpec

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class AdHoc:
    """The forwards of one command line, as they were typed."""

    local: Sequence[str] = ()
    remote: Sequence[str] = ()
    dynamic: Sequence[str] = ()
    permit: Sequence[str] = ()
    allow: Sequence[str] = ()

    def __bool__(self) -> bool:
        return bool(self.local or self.remote or self.dynamic)

    def specs(self) -> tuple[ForwardSpec, ...]:
        """All of them, in the order -L, -R, -D.

        Raises:
            click.UsageError: one is not of ssh's form.
        """
        from tunnelctl.config.forward_specs import dynamic_spec, local_spec, remote_spec

        readings = (
            ("-L", local_spec, self.local),
            ("-R", remote_spec, self.remote),
            ("-D", dynamic_spec, self.dynamic),
        )
        specs = []
        for option, read, texts in readings:
            for text in texts:
                try:
                    specs.append(read(text).below(os.getcwd()))
                except ValueError as error:
                    raise click.UsageError(f"{option} {error}") from None
        return tuple(specs)


def options(command: Command) -> Command:
    """The options of ssh(1), and the two that its forwards need here."""
    for option in reversed(
        (
            click.option("-L", "local", multiple=True, metavar="SPEC", help="As ssh -L."),
            click.option("-R", "remote", multiple=True, metavar="SPEC", help="As ssh -R."),
            click.option("-D", "dynamic", multiple=True, metavar="SPEC", help="As ssh -D."),
            click.option(
                "--permit",
                multiple=True,
                metavar="HOST:PORT",
                help="What the server's SOCKS clients (-R PORT) may reach from here.",
            ),
            click.option(
                "--allow",
                multiple=True,
                metavar="CIDR",
                help="Who may use listeners that others can reach.",
            ),
            click.option("--as", "name", metavar="NAME", help="What ps calls it; else the host."),
        )
    ):
        command = option(command)
    return command


def file_of(asked: AdHoc, destination: str, name: str | None) -> Path:
    """The file of a profile with these forwards through `[user@]HOST[:PORT]`.

    Raises:
        click.UsageError: something that was typed is wrong.
        Failure: the name is that of a profile of the user's, or the file cannot be written.
    """
    from tunnelctl.config.adhoc import document_of, name_for
    from tunnelctl.config.ways import parse_jump

    try:
        host = parse_jump(destination)
    except ValueError as error:
        raise click.UsageError(f"HOST {error}") from None
    specs = asked.specs()
    _check_access(asked, specs)
    for spec in specs:
        if spec.exposed and spec.side is Side.HERE:
            say(f"{spec.option} {spec}: other machines can reach this, too")
    document = document_of(
        host, specs, description=_typed(asked, specs, destination),
        permit=asked.permit, allow=asked.allow,
    )  # fmt: skip
    return keep(name or name_for(host.name), document, given=name is not None)


def check_networks(allow: Iterable[str]) -> None:
    """That each --allow is one.

    Raises:
        click.UsageError
    """
    from tunnelctl.config import words

    _check_each("--allow", allow, words.network)


def _check_access(asked: AdHoc, specs: Sequence[ForwardSpec]) -> None:
    """That --permit and --allow say something, each of a forward that it is for.

    Raises:
        click.UsageError
    """
    from tunnelctl.config import words

    check_networks(asked.allow)
    _check_each("--permit", asked.permit, words.permit)
    lets_in = any(spec.key == "remote_dynamic" for spec in specs)
    if lets_in and not asked.permit:
        raise click.UsageError(
            "-R PORT lets the server's users into this network; say what they may reach: "
            "--permit 10.0.0.0/8:443"
        )
    if asked.permit and not lets_in:
        raise click.UsageError("--permit goes with -R PORT, which none of these is")
    if asked.allow and not any(spec.exposed for spec in specs):
        raise click.UsageError("--allow: no other machine can reach any of these listeners")


def _check_each(option: str, texts: Iterable[str], read: Callable[[str], object]) -> None:
    for text in texts:
        try:
            read(text)
        except ValueError as error:
            raise click.UsageError(f"{option} {error}") from None


def keep(name: str, document: dict[str, Any], *, given: bool) -> Path:
    """Write the file of an ad hoc profile; `given` is whether a person chose its name.

    Raises:
        click.UsageError: that is no name.
        Failure: a file of the user's has that name, or ours cannot be written.
    """
    from tunnelctl.config.adhoc import write

    if not is_profile_name(name):
        raise click.UsageError(f"{name!r} cannot be the name of a profile: {NAME_RULE}")
    other = _file_of_the_users(name)
    if other is not None:
        raise Failure(
            Code.USAGE,
            f"there is a profile {name} already, {other}",
            f"choose another name: --as {name}-2" if given else f"name this one: --as {name}-2",
        )
    folder = _folder()
    try:
        return write(folder, name, document)
    except OSError as error:
        raise Failure(
            Code.PERMISSION_DENIED,
            f"{error.filename or folder} cannot be written: {error.strerror}",
        ) from None


def name_beside(client: Client, name: str, document: dict[str, Any]) -> str:
    """`name`, or that with a number where something else of that name is up: to ask for more
    must not take down what is there."""
    from tunnelctl.config.adhoc import is_kept

    wanted = _wanted(client)
    for number in itertools.count(1):
        candidate = name if number == 1 else f"{name}-{number}"
        if candidate not in wanted or is_kept(_folder(), candidate, document):
            break
    return candidate


def say_what_goes(client: Client, name: str, stays: Container[str]) -> None:
    """Tell of forwards of an ad hoc profile that is up, and that the new one does not have."""
    gone = [forward for forward in _wanted(client).get(name, ()) if forward not in stays]
    if gone:
        say(f"{name} was up with {', '.join(gone)}, too: closed; --as {name}-2 would keep both")


def _wanted(client: Client) -> dict[str, list[str]]:
    """The forwards of every profile that is wanted up."""
    return {
        profile["name"]: [forward["name"] for forward in profile["forwards"]]
        for profile in client.status()["profiles"]
        if profile["wanted"] == "up"
    }


def _folder() -> Path:
    return Paths.from_environ(os.environ).state_dir / "adhoc"


def _file_of_the_users(name: str) -> Path | None:
    try:
        return find_profile(name, environ=os.environ, cwd=Path.cwd())
    except Failure:
        return None


def _typed(asked: AdHoc, specs: Iterable[ForwardSpec], destination: str) -> str:
    words = [word for spec in specs for word in (spec.option, str(spec))]
    more = [word for value in asked.permit for word in ("--permit", value)]
    more += [word for value in asked.allow for word in ("--allow", value)]
    return "tunnelctl up " + shlex.join([*words, *more, destination])
