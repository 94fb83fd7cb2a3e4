"""`up -L … HOST` and `run -L … HOST -- CMD`: turns the arguments into a profile's file.

Owns how such a line is distinguished from names of profiles, and its messages. The grammar is in
config/exchange/ssh_command.py. Heavy modules are imported only for such a line.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tunnelctl.cli import sentences
from tunnelctl.cli.running.holding import CheckedProfile, plans_of
from tunnelctl.cli.terminal import complete, selection
from tunnelctl.cli.terminal.output import say
from tunnelctl.clock import wall
from tunnelctl.config.profile.find import file_called, is_profile_name
from tunnelctl.config.sentences import NAME_RULE, ONE_HOST
from tunnelctl.errors import Code, Fact, Failure, reason
from tunnelctl.home.paths import Paths, current_folder
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.state.documents.snapshot import Wanted

if TYPE_CHECKING:
    from tunnelctl.client import Client
    from tunnelctl.config.exchange.ssh_words import Words

Command = TypeVar("Command", bound=Callable[..., Any])


class SshOption(click.Option):
    """An option of ssh(1), for help and completion only; `SshLine` parses it."""


class SshLine(click.Command):
    """A command that accepts the arguments of ssh, in ssh's grammar (config/exchange/ssh_words.py).

    The function gets the words of such a line as `line`, or None if profiles are named. Options
    other than ssh's may be among them.
    """

    leading = False  # whether the words before the first non-option decide that it is a line of ssh

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, for the options that are not ssh's."""
        line = None if ctx.resilient_parsing else self._line(ctx, args)
        ctx.meta[complete.SSH_LINE] = any(arg.startswith(("-L", "-R", "-D")) for arg in args)
        rest = super().parse_args(ctx, args if line is None else line.own)
        ctx.params["line"] = line
        return rest

    def _line(self, ctx: click.Context, args: list[str]) -> Words | None:
        from tunnelctl.config.exchange.ssh_words import apart, is_ssh_line

        own = dict.fromkeys(ctx.help_option_names, False)
        for option in self.params:
            if isinstance(option, click.Option) and not isinstance(option, SshOption):
                own |= dict.fromkeys(option.opts, not option.is_flag)
        if not is_ssh_line(args, own, leading=self.leading):
            return None
        try:
            return apart(args, own)
        except ValueError as error:
            raise click.UsageError(str(error), ctx) from None


@dataclass(frozen=True, slots=True)
class AdHoc:
    """The words of a line of ssh, and the other options of its forwards.

    `program` is the command before them.
    """

    line: Words
    permit: Sequence[str] = ()
    allow: Sequence[str] = ()
    program: str = "up"

    def __str__(self) -> str:
        words = [word for option, text in self.line.options for word in _written(option, text)]
        words += [word for value in self.permit for word in ("--permit", value)]
        words += [word for value in self.allow for word in ("--allow", value)]
        return f"tunnelctl {self.program} {shlex.join([*words, self.line.host or ''])}"


def options(command: Command) -> Command:
    """The options of ssh(1), and two more for its forwards."""
    for option in reversed(
        (
            _of_ssh("-L", "SPEC", "As ssh -L; PORT alone is short for PORT:localhost:PORT."),
            _of_ssh("-R", "SPEC", "As ssh -R."),
            _of_ssh("-D", "SPEC", "As ssh -D."),
            _of_ssh("-p", "PORT", "As ssh -p."),
            _of_ssh("-l", "USER", "As ssh -l."),
            _of_ssh("-i", "FILE", "As ssh -i."),
            _of_ssh("-J", "HOST", "As ssh -J."),
            _of_ssh("-F", "FILE", "As ssh -F: file to read instead of ssh_config."),
            _of_ssh("-o", "LINE", "As ssh -o: an option in the form of ssh_config."),
            *(
                _of_ssh(f"-{letter}", None, "Accepted for compatibility with ssh.")
                for letter in "NTqv"
            ),
            click.option(
                "--permit",
                multiple=True,
                metavar="HOST:PORT",
                help="Targets that SOCKS clients on the server (-R PORT) may reach.",
            ),
            click.option(
                "--allow",
                multiple=True,
                metavar="CIDR",
                help="Clients allowed on listeners off loopback.",
            ),
            click.option(
                "--as", "name", metavar="NAME", help="Name of the profile while it is up."
            ),
            click.option("--replace", is_flag=True, help="Replace a running profile of that name."),
        )
    ):
        command = option(command)
    return command


def _of_ssh(option: str, metavar: str | None, text: str) -> Callable[[Command], Command]:
    return click.option(
        option, f"ssh_{ord(option[1])}", cls=SshOption, metavar=metavar, help=text,
        is_flag=metavar is None, multiple=metavar is not None, expose_value=False,
        shell_complete=complete.ssh_hosts if metavar == "HOST" else None,
    )  # fmt: skip


def name_and_document(asked: AdHoc) -> tuple[str, dict[str, Any]]:
    """A profile for this line: its name and its content.

    Reports ignored options, and what others can reach.

    Raises:
        click.UsageError: something that was typed is wrong, or cannot be done.
    """
    from tunnelctl.config.exchange.unnamed import unnamed_profile

    _check_each("--permit", asked.permit, "permit")
    check_networks(asked.allow)
    try:
        unnamed = unnamed_profile(asked.line, os.environ, str(current_folder()), asked.permit)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    _check_access(asked, unnamed.forwards)
    for remark in unnamed.remarks:
        say(remark)
    return unnamed.name, unnamed.document(str(asked))


def refuse_command(line: Words) -> None:
    """`up` takes no command.

    Raises:
        click.UsageError: one is given.
    """
    if line.remote:
        is_f = line.in_background
        file = "; -f is ssh's here, and no file comes with it" if is_f else ""
        command = " ".join(line.remote)
        raise click.UsageError(f"{command}: no command is run on the server; {ONE_HOST}{file}")


def _written(option: str, text: str) -> tuple[str, ...]:
    return (f"-{option}", text) if text else (f"-{option}",)


def check_networks(allow: Iterable[str]) -> None:
    """Check each --allow.

    Raises:
        click.UsageError
    """
    _check_each("--allow", allow, "network")


def _check_access(asked: AdHoc, forwards: Mapping[str, dict[str, Any]]) -> None:
    """Apply --allow to its forwards, and report who can reach them.

    Raises:
        click.UsageError: --permit or --allow is for none of them.
    """
    if asked.permit and not any("remote_dynamic" in rule for rule in forwards.values()):
        raise click.UsageError("--permit goes with -R PORT, which none of these is")
    exposed = {name: rule for name, rule in forwards.items() if rule.get("expose")}
    if asked.allow and not exposed:
        raise click.UsageError("--allow: no other machine can reach any of these listeners")
    for name, rule in exposed.items():
        if asked.allow:
            rule["allow"] = list(asked.allow)
        if listen := rule.get("local") or rule.get("dynamic"):
            say(f"{name}: also reachable from other machines, at {listen}")


def _check_each(option: str, texts: Iterable[str], kind: str) -> None:
    from tunnelctl.config.values import endpoints

    read = {"network": endpoints.network, "permit": endpoints.permit}[kind]
    for text in texts:
        try:
            read(text)
        except ValueError as error:
            raise click.UsageError(f"{option} {error}") from None


@dataclass(frozen=True, slots=True)
class AdHocProfile:
    """A generated profile: its content, and its default name.

    `given` is the name chosen by the user. With `replace` it replaces a running profile.
    """

    unnamed: str
    document: dict[str, Any]
    given: str | None = None
    replace: bool = False

    def plans(self, client: Client) -> tuple[CheckedProfile, ...]:
        """Write the file under a free name; without a given name, the next one that is free.

        Raises:
            click.UsageError: what was given is no name.
            Failure: a file of the user's has that name, or ours cannot be written.
        """
        used = _sources(client)
        name = self.given or self._free(used)
        if not is_profile_name(name):
            raise click.UsageError(f"{name!r} cannot be the name of a profile: {NAME_RULE}")
        other = _file_of_the_users(name) if self.given else None
        if other is not None:
            raise sentences.name_of_a_profile(name, other)
        return plans_of([name], _kept(name, self.document, used.values()))

    def _free(self, used: Mapping[str, str]) -> str:
        """The name, or a numbered one if another profile of that name is up, or the user has a file
        for it: a further command must not replace what runs."""
        from tunnelctl.config.profile.adhoc import file_for

        for number in itertools.count(1):
            candidate = self.unnamed if number == 1 else f"{self.unnamed}-{number}"
            ours = str(file_for(_folder(), candidate, self.document))
            is_free = self.replace or used.get(candidate, ours) == ours
            if is_free and _file_of_the_users(candidate) is None:
                break
        return candidate

    def hold(self, client: Client, act: Callable[[tuple[CheckedProfile, ...]], int]) -> int:
        """Call a function with the plans; if another command took the name first, call it again
        with the next one."""
        while True:
            try:
                return act(self.plans(client))
            except Failure as failure:
                if failure.code is not Code.NAME_TAKEN or self.given is not None:
                    raise


def _kept(name: str, document: dict[str, Any], used: Iterable[str]) -> Path:
    """Write its file and return it; files that are not in `used` for long are removed."""
    from tunnelctl.config.profile.adhoc import prune, write

    folder = _folder()
    try:
        path = write(folder, name, document)
    except OSError as error:
        file = str(error.filename or folder)
        raise sentences.unnamed_profile_not_written(file, reason(error)) from None
    prune(folder, used, wall().timestamp())
    return path


def _sources(client: Client) -> dict[str, str]:
    """The file of every profile that is wanted up, by name; none if no daemon runs."""
    try:
        profiles = client.status().profiles
    except Failure as failure:
        if failure.code is not Code.DAEMON_NOT_RUNNING or Fact.DAEMON_SILENT in failure.facts:
            raise
        return {}
    return selection.sources(one for one in profiles if one.wanted is Wanted.UP)


def _folder() -> Path:
    return Paths.from_environ(os.environ).state_dir / "adhoc"


def _file_of_the_users(name: str) -> Path | None:
    return file_called(name, os.environ, current_folder())
