"""The command line: its commands by name, and how every error ends.

Owns the table of commands, exit codes and the one line that an error becomes. A command's module
is imported when it is called, and imports what is heavy only when it needs it: `--help` and `ps`
never wait for paramiko, pydantic or aiohttp.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from tunnelctl import __version__
from tunnelctl.cli.terminal.output import say
from tunnelctl.client import Client
from tunnelctl.errors import Code, Failure, reason
from tunnelctl.home.paths import Paths

# Name: module and function below tunnelctl.cli, and what `--help` says of it.
_COMMANDS = {
    "up": ("running.up.up", "Bring profiles up and wait until they are ready"),
    "down": ("running.down.down", "Close what profiles opened"),
    "ps": ("running.ps.ps", "Show every forward and how it is"),
    "status": ("running.ps.ps", "The same as ps"),
    "restart": ("running.down.restart", "Connect anew, now"),
    "reload": ("running.reload.reload", "Read the files again and apply what differs"),
    "expose": ("running.expose.expose", "Make a service of this machine reachable on a server"),
    "run": ("running.run.run", "Run a command that has its tunnels as long as it runs"),
    "logs": ("running.logs.logs", "Print what the daemon has written down"),
    "answer": ("running.answer.answer", "Give a host in needs-input what it asks for"),
    "events": ("running.events.events", "Print what happens, as it happens"),
    "port": ("running.ps.port", "Print the address that a forward listens on"),
    "check": ("profiles.files.check", "Say everything that is wrong with profiles"),
    "doctor": ("profiles.doctor.doctor", "Walk the way to every target, and say what is wrong"),
    "config": ("profiles.authoring.config", "Print what a profile comes to, with everything said"),
    "schema": ("profiles.authoring.schema", "Print the JSON Schema of a profile"),
    "init": ("profiles.authoring.init", "Write a first profile"),
    "import": ("profiles.import_export.import_", "Make a profile of what ssh or boring is told"),
    "export": ("profiles.import_export.export", "Print a profile in the words of ssh"),
    "ls": ("profiles.files.ls", "List the profiles that can be found"),
    "service": ("setup.service.service", "Have systemd or launchd start the daemon"),
    "completion": ("setup.completion.completion", "Print what completes our words in a shell"),
    "paths": ("profiles.files.paths", "Print where the socket, the log and profiles are"),
    "trust": ("profiles.trust.trust", "Show a server's host key, and record it"),
    "daemon": ("setup.daemon.daemon", "Be the daemon, in the foreground"),
    "demo": ("demo.command.demo", "Tunnel through a server of its own, break it, measure it"),
    "help": ("setup.help.help_", "Print what a command does and takes"),
    "version": ("setup.help.version", "Print the version"),
}
# What write(2) says of a file that takes no more: these are no mistakes of ours.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# The commands that read a profile's file; one that is named before the command is for these.
_WITH_FILE = ("up", "run", "check", "config", "doctor", "export")


@dataclass
class Options:
    """What was given before the command's name."""

    debug: bool = False
    file: Path | None = None
    command: str = "tunnelctl"
    _client: Client | None = field(default=None, repr=False)

    def check_version(self) -> None:
        """Say it when the daemon that answered is not of our version."""
        if self._client is not None and self._client.daemon_version != __version__:
            say(
                f"the daemon is version {self._client.daemon_version or 'unknown'}, this is "
                f"{__version__} (tunnelctl up PROFILE -d makes it this one)"
            )

    @property
    def client(self) -> Client:
        """The way to the daemon that this environment names."""
        if self._client is None:
            self._client = Client(Paths.from_environ(os.environ))
        return self._client


class Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        if cmd_name not in _COMMANDS:
            return None
        place, _ = _COMMANDS[cmd_name]
        module, _, function = place.rpartition(".")
        command: click.Command = getattr(
            importlib.import_module(f"tunnelctl.cli.{module}"), function
        )
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The table's names, without importing a command, and the options."""
        items = [
            CompletionItem(name, help=text)
            for name, (_, text) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the table's names as suggestions."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-"):
            raise click.exceptions.NoSuchCommand(name, possibilities=list(_COMMANDS), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table as help, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 something is not up, 2 usage, 3 daemon not running, "
    "66 profile not found, 69 host unreachable, 73 local address cannot be bound, "
    "75 not ready in time, 76 server refused a forward, 77 authentication or host key refused, "
    "78 profile invalid, 130 interrupted.",
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path),
    help=f"The profile's file, for {', '.join(_WITH_FILE[:-1])} and {_WITH_FILE[-1]}.",
)
@click.pass_context
def tunnelctl(ctx: click.Context, debug: bool, file: Path | None) -> None:
    """Keeps SSH tunnels up: YAML profiles, a daemon that never gives up, a status that is true."""
    options = ctx.ensure_object(Options)
    options.debug = debug
    options.file = file
    options.command = f"{ctx.command_path} {ctx.invoked_subcommand}"
    if file is not None and ctx.invoked_subcommand not in _WITH_FILE:
        raise click.UsageError(f"--file has no meaning for {ctx.invoked_subcommand}")


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code."""
    options = Options()
    try:
        code = tunnelctl.main(
            list(arguments), prog_name="tunnelctl", standalone_mode=False, obj=options
        )
        sys.stdout.flush()
        options.check_version()
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # The reader of our output has gone (`ps | head`); nothing more can be said to it.
        _print_no_more()
        return 1
    except (KeyboardInterrupt, click.Abort):
        return _end(Failure(Code.INTERRUPTED, "interrupted"))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.message, err=True)
        return error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else options.command
        message = " ".join(error.format_message().split()).rstrip(".")
        return _end(Failure(Code.USAGE, message, f"{command} --help shows the usage"))
    except click.ClickException as error:
        return _end(Failure(Code.USAGE, error.format_message()))
    except Exception as error:
        if options.debug:
            import traceback

            traceback.print_exception(error)
        return _end(_failure_of(error))


def _print_no_more() -> None:
    """Python tries again at its end to write what is left, and would tell that it cannot."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
        _print_no_more()
        return Failure(Code.INTERNAL, f"the output cannot be written: {reason(error)}")
    return Failure(
        Code.INTERNAL,
        f"an error inside tunnelctl: {type(error).__name__}" + (f": {error}" if str(error) else ""),
        "tunnelctl --debug COMMAND shows where",
    )


def _end(failure: Failure) -> int:
    """Say what happened, in one line or in one a mistake, and give its exit code."""
    mistakes = getattr(failure, "mistakes", ())
    with contextlib.suppress(BrokenPipeError):
        for mistake in mistakes:
            click.echo(str(mistake), err=True)
        more = getattr(failure, "more", 0)
        if more:
            click.echo(f"and {more} more", err=True)
        if not mistakes:
            say(str(failure))
    return failure.exit_code
