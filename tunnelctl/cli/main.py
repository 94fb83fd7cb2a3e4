"""The command line: the table of commands, and how errors are reported.

Owns the table of commands, the exit codes and the one-line form of an error. The module of a
command is imported when the command is called, and imports heavy packages only when it needs them:
`--help` and `ps` never import paramiko, pydantic or aiohttp.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from tunnelctl import __version__, is_compiled
from tunnelctl.cli import sentences
from tunnelctl.cli.terminal.output import say
from tunnelctl.client import Client
from tunnelctl.client.sentences import another_version
from tunnelctl.errors import Failure, reason
from tunnelctl.home.paths import Paths

_SIGPIPE = 128 + 13  # the shell's exit code for a program that SIGPIPE ended, as it ends most

# Name: module and function below tunnelctl.cli, and its line in `--help`.
_COMMANDS = {
    "up": ("running.up.up", "Bring profiles up and wait until they are ready"),
    "down": ("running.down.down", "Take profiles down"),
    "ps": ("running.ps.ps", "Show the status of every forward"),
    "status": ("running.ps.ps", "Alias of ps"),
    "connections": ("running.connections.connections", "Show who is connected to what"),
    "restart": ("running.down.restart", "Reconnect now"),
    "reload": ("running.reload.reload", "Reread profiles and apply the differences"),
    "expose": ("running.expose.expose", "Make a local service reachable on a server"),
    "run": ("running.run.run", "Run a command with its tunnels up, then take them down"),
    "requests": ("running.requests.requests", "Show the HTTP requests of an inspected forward"),
    "logs": ("running.logs.logs", "Print the daemon's log"),
    "answer": ("running.answer.answer", "Answer the questions of a host in needs-input"),
    "dashboard": ("running.dashboard.dashboard", "Serve a page that shows and changes everything"),
    "events": ("running.events.events", "Print events as they occur"),
    "top": ("running.top.top", "Show forwards, hosts and connections, live in a terminal"),
    "port": ("running.ps.port", "Print the address that a forward listens on"),
    "check": ("profiles.profile_files.check", "Validate profiles and report every mistake"),
    "doctor": ("profiles.doctor.doctor", "Diagnose the path to every target, hop by hop"),
    "config": ("profiles.authoring.config", "Print the effective profile, with all defaults"),
    "schema": ("profiles.authoring.schema", "Print the JSON Schema of a profile"),
    "init": ("profiles.authoring.init", "Write a first profile"),
    "import": ("profiles.import_export.import_", "Convert ssh or boring settings to a profile"),
    "export": ("profiles.import_export.export", "Print a profile as ssh commands or configuration"),
    "ls": ("profiles.profile_files.ls", "List the available profiles"),
    "fleet": ("running.fleet.fleet", "Show which machine runs what, or hand a profile over"),
    "service": ("setup.service.service", "Run the daemon under systemd or launchd"),
    "completion": ("setup.completion.completion", "Print or install the completion scripts"),
    "paths": ("profiles.profile_files.paths", "Print the paths of the socket, log and profiles"),
    "trust": ("profiles.trust.trust", "Show a server's host key and record it"),
    "daemon": ("setup.daemon.daemon", "Run the daemon in the foreground"),
    "demo": ("demo.command.demo", "Open a tunnel to a built-in server, break it and measure it"),
    "help": ("setup.help.help_", "Show the man page of a command"),
    "version": ("setup.help.version", "Print the version"),
}
# Errors of write(2) when a file or disk is full: not faults of tunnelctl.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# The commands that read a profile; `--file` before the command's name applies to these.
_WITH_FILE = ("up", "run", "check", "config", "doctor", "export")


@dataclass
class Options:
    """The options before the command's name."""

    debug: bool = False
    file: Path | None = None
    command: str = "tunnelctl"
    _client: Client | None = field(default=None, repr=False)

    def check_version(self) -> None:
        """Warn when the daemon that answered has another version than this program."""
        if self._client is not None and self._client.daemon_version != __version__:
            say(another_version(self._client.daemon_version, __version__))

    @property
    def client(self) -> Client:
        """The client of the daemon that this environment names."""
        if self._client is None:
            self._client = Client(
                Paths.from_environ(os.environ), lambda: say(sentences.waiting_for_daemon())
            )
        return self._client


class _ReaderGone(Exception):
    """A BrokenPipeError, by a name that click does not turn into the exit code 1."""


@contextlib.contextmanager
def _reader_gone() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderGone from error


class Commands(click.Group):
    """A group that imports a command when it is called."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse as click does; --help and --version print while they are parsed."""
        with _reader_gone():
            return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Invoke the command as click does."""
        with _reader_gone():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All command names, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in _COMMANDS:
            return None
        place, _ = _COMMANDS[cmd_name]
        module, _, function = place.rpartition(".")
        command: click.Command = getattr(
            importlib.import_module(f"tunnelctl.cli.{module}"), function
        )
        if not gc.isenabled():  # __main__ turned it off
            gc.freeze()  # what is imported stays
            gc.enable()
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete command names from the table, importing no command, and options."""
        items = [
            CompletionItem(name, help=text)
            for name, (_, text) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return items + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve as click does, with suggestions from the table."""
        name = args[0]
        is_unknown = name not in _COMMANDS and not name.startswith("-")
        if is_unknown and not ctx.resilient_parsing:  # of TAB, which must say nothing
            raise click.exceptions.NoSuchCommand(name, possibilities=list(_COMMANDS), ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from the table, importing no command."""
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
@click.version_option(
    f"{__version__} ({'compiled' if is_compiled() else 'pure Python'})",
    "-V",
    "--version",
    message="%(prog)s %(version)s",
)
@click.option("--debug", is_flag=True, help="Print a traceback when an error occurs.")
@click.option(
    "-f",
    "--file",
    type=click.Path(path_type=Path),
    help=f"Path of the profile, for {', '.join(_WITH_FILE[:-1])} and {_WITH_FILE[-1]}.",
)
@click.pass_context
def tunnelctl(ctx: click.Context, debug: bool, file: Path | None) -> None:
    """Keep SSH tunnels up: YAML profiles, a daemon that reconnects, and accurate status."""
    options = ctx.ensure_object(Options)
    options.debug = debug
    options.file = file
    options.command = f"{ctx.command_path} {ctx.invoked_subcommand}"
    if file is not None and ctx.invoked_subcommand not in _WITH_FILE:
        raise click.UsageError(f"--file has no meaning for {ctx.invoked_subcommand}")


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit code."""
    options = Options()
    try:
        code = tunnelctl.main(
            list(arguments), prog_name="tunnelctl", standalone_mode=False, obj=options
        )
        sys.stdout.flush()
        options.check_version()
        return code if isinstance(code, int) else 0
    except (BrokenPipeError, _ReaderGone):
        # The reader of our output has closed it (`ps | head`).
        _print_no_more()
        return _SIGPIPE
    except (KeyboardInterrupt, click.Abort):
        return _end(sentences.interrupted())
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help() if error.ctx else error.message, err=True)
        return error.exit_code
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else options.command
        message = " ".join(error.format_message().split()).rstrip(".")
        return _end(sentences.wrong_usage(message, command))
    except click.ClickException as error:
        return _end(sentences.refused_by_click(error.format_message()))
    except Exception as error:
        if options.debug:
            import traceback

            traceback.print_exception(error)
        return _end(_failure_of(error))


def _print_no_more() -> None:
    """Discard buffered output: Python would try to flush it at exit, and report the error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError) and error.errno in _FULL and error.filename is None:
        _print_no_more()
        return sentences.output_not_written(reason(error))
    return sentences.error_inside(type(error).__name__, str(error))


def _end(failure: Failure) -> int:
    """Report a failure in one line, or one line per mistake, and return its exit code."""
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
