"""`service`: the daemon as a service of systemd or launchd.

Owns the unit files while they are unchanged. Must never overwrite or remove a changed file unless
forced to, and never start or stop a service without being asked.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tunnelctl.cli import sentences
from tunnelctl.cli.main import Options
from tunnelctl.cli.setup.units import (
    LABEL,
    NAME,
    Service,
    UnitManager,
    environment_of,
    files,
    is_as_written,
)
from tunnelctl.cli.terminal import complete
from tunnelctl.cli.terminal.output import say
from tunnelctl.errors import Code, Failure, reason
from tunnelctl.home.paths import Paths, current_folder
from tunnelctl.home.whole_file import write_whole
from tunnelctl.quick_dataclass import dataclass

_WITHIN = 60.0  # seconds for the manager to do what it is told
_UNITS = (f"{NAME}.socket", f"{NAME}.service")


@click.group(
    short_help="Run the daemon under systemd or launchd",
    epilog="Examples: tunnelctl service install --dry-run; tunnelctl service status",
)
def service() -> None:
    """Run the daemon under systemd (launchd on macOS), which starts and restarts it."""


def _scope(command: Callable[..., Any]) -> Callable[..., Any]:
    flags = (
        click.option("--user", "scope", flag_value="user", help="User service, started at login."),
        click.option(
            "--system", "scope", flag_value="system", help="System service, started at boot."
        ),
    )
    for flag in flags:
        command = flag(command)
    return command


@service.command(
    epilog="Examples: tunnelctl service install --dry-run; tunnelctl service install --now dev"
)
@click.argument("profiles", nargs=-1, metavar="[PROFILE]...", shell_complete=complete.profiles)
@_scope
@click.option(
    "--run-as", metavar="ACCOUNT", help="With --system: account to run as; default: root."
)
@click.option(
    "--fleet",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The daemon joins the fleet of this file, which runs each PROFILE on one machine.",
)
@click.option("--dry-run", is_flag=True, help="Print what would be written, without writing it.")
@click.option("--now", is_flag=True, help="Also enable and start the service.")
@click.option("--force", is_flag=True, help="Overwrite a file that was changed.")
@click.pass_obj
def install(
    options: Options,
    profiles: tuple[str, ...],
    scope: str | None,
    run_as: str | None,
    fleet: Path | None,
    dry_run: bool,
    now: bool,
    force: bool,
) -> None:
    """Write the unit files. The service brings up PROFILEs and the profiles that were up before.

    The default is --system for root and --user for other users.
    """
    arguments = profiles
    if fleet is not None:
        if not profiles:
            raise click.UsageError("--fleet needs the names of the profiles that the fleet runs")
        arguments = ("--fleet", str(fleet.absolute()), *profiles)
    place = _Place.of(scope, run_as, arguments)
    if dry_run:
        for path, text in place.files.items():
            click.echo(f"# {path}\n{text}")
        for path in place.changed:
            say(f"{path} was changed: it would not be overwritten without --force")
        return
    place.refuse_changed(force=force, failure=sentences.changed_unit_not_overwritten)
    if now:
        _refuse_running(options)
    for path, text in place.files.items():
        _write(path, text)
        click.echo(f"{path}: written")
    if now:
        for words in place.starting:
            _order(words)
    else:
        say(f"start it with: {' && '.join(' '.join(words) for words in place.starting)}")
    for hint in place.hints(os.environ):
        say(hint)


@service.command(epilog="Example: tunnelctl service uninstall --now")
@_scope
@click.option("--dry-run", is_flag=True, help="Print what would be removed, without removing it.")
@click.option("--now", is_flag=True, help="Stop and disable the service first.")
@click.option("--force", is_flag=True, help="Also remove files that were changed.")
def uninstall(scope: str | None, dry_run: bool, now: bool, force: bool) -> None:
    """Remove the unit files that `service install` wrote."""
    place = _Place.of(scope)
    there = [path for path in place.files if _text(path) is not None]
    place.refuse_changed(force=force, failure=sentences.changed_unit_not_removed)
    if dry_run:
        for path in there:
            click.echo(f"{path}: would be removed")
        return
    if now and there:
        for words in place.stopping:
            _order(words)
    for path in there:
        path.unlink()
        click.echo(f"{path}: removed")
        if (drop_ins := Path(f"{path}.d")).is_dir():
            say(f"{drop_ins} is kept: it has your own settings")
    if not there:
        say("no service is installed")
    elif not now:
        say(f"the service was not stopped; to unload it: {' '.join(place.forgetting)}")
    elif place.manager is UnitManager.SYSTEMD:
        _order(place.forgetting)


@service.command(
    epilog="Examples: tunnelctl service status; tunnelctl service status --system --json"
)
@_scope
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
# Scripts give all three commands the same options; this one changes nothing.
@click.option("--dry-run", is_flag=True, hidden=True, expose_value=False)
def status(scope: str | None, as_json: bool) -> int:
    """Show the unit files and the state of the service.

    The exit code is 0 when the unit files are as `service install` writes them and the service is
    active, else 1.
    """
    place = _Place.of(scope)
    states = {str(path): _state(path) for path in place.files}
    active = place.ask()
    if as_json:
        click.echo(json.dumps({"files": states, "active": active}, indent=2))
    else:
        for path, state in states.items():
            click.echo(f"{path}: {state}")
        click.echo(f"{place.manager}: {active or 'does not answer'}")
    return 0 if set(states.values()) == {"installed"} and active == "active" else 1


@dataclass(frozen=True, slots=True)
class _Place:
    """A service: its scope, its files, and the commands of its manager."""

    manager: UnitManager
    system: bool
    files: dict[Path, str]

    @classmethod
    def of(
        cls, scope: str | None, account: str | None = None, arguments: tuple[str, ...] = ()
    ) -> _Place:
        system = scope == "system" or (scope is None and os.geteuid() == 0)
        if account is not None:
            _check_account(account, system=system)
        environment = environment_of(os.environ, current_folder(), system=system)
        paths = Paths.from_environ({**os.environ, **environment})
        about = Service(
            # -P: nothing is imported from the folder that it starts in.
            command=(sys.executable, "-P", "-m", "tunnelctl", "daemon", *arguments),
            system=system,
            socket=paths.socket,
            log=paths.log_file,
            account=account or "root",
            environment=environment,
        )
        manager = UnitManager.LAUNCHD if sys.platform == "darwin" else UnitManager.SYSTEMD
        return cls(manager, system, files(manager, about, os.environ))

    @property
    def changed(self) -> list[Path]:
        """The files that exist and were changed."""
        return [path for path in self.files if _state(path) == "changed"]

    def refuse_changed(self, *, force: bool, failure: Callable[[Path], Failure]) -> None:
        """Check that no file was changed by another hand.

        Raises:
            Failure: `failure` made it of a file that was changed, and `force` is not given.
        """
        for path in () if force else self.changed:
            raise failure(path)

    @property
    def starting(self) -> list[list[str]]:
        """The commands that enable and start the service."""
        if self.manager is UnitManager.LAUNCHD:
            (path,) = self.files
            return [["launchctl", "bootstrap", self._domain, str(path)]]
        return [self.forgetting, [*self._systemctl, "enable", "--now", *_UNITS]]

    @property
    def stopping(self) -> list[list[str]]:
        """The commands that stop and disable the service."""
        if self.manager is UnitManager.LAUNCHD:
            return [self.forgetting]
        return [[*self._systemctl, "disable", "--now", *_UNITS]]

    @property
    def forgetting(self) -> list[str]:
        """The command that makes the manager reread its unit files."""
        if self.manager is UnitManager.LAUNCHD:
            return ["launchctl", "bootout", f"{self._domain}/{LABEL}"]
        return [*self._systemctl, "daemon-reload"]

    def ask(self) -> str:
        """The state of the service in one word; empty if the manager cannot be asked."""
        if self.manager is UnitManager.LAUNCHD:
            words = ["launchctl", "print", f"{self._domain}/{LABEL}"]
        else:
            words = [*self._systemctl, "is-active", f"{NAME}.service"]
        done = _run(words)
        if self.manager is UnitManager.LAUNCHD:
            return "" if done is None else "active" if done.returncode == 0 else "inactive"
        return "" if done is None else done.stdout.strip()

    def hints(self, environ: Any) -> list[str]:
        """Notes for the user."""
        if self.system or self.manager is UnitManager.LAUNCHD:
            return []
        hints = ["loginctl enable-linger keeps it running while you are not logged in"]
        if environ.get("SSH_AUTH_SOCK"):
            hints.append(
                "it does not see your agent until systemctl --user import-environment "
                "SSH_AUTH_SOCK, or identity_agent in the profile names its socket"
            )
        return hints

    @property
    def _systemctl(self) -> list[str]:
        return ["systemctl"] if self.system else ["systemctl", "--user"]

    @property
    def _domain(self) -> str:
        return "system" if self.system else f"gui/{os.geteuid()}"


def _check_account(account: str, *, system: bool) -> None:
    if not system:
        raise click.UsageError("--run-as goes with --system")
    try:
        pwd.getpwnam(account)
    except KeyError:
        raise click.UsageError(f"there is no account {account} on this machine") from None


def _refuse_running(options: Options) -> None:
    """Refuse a second daemon on the same socket."""
    try:
        running = options.client.status().daemon
    except Failure as failure:
        if failure.code is Code.DAEMON_NOT_RUNNING:
            return
        raise
    raise sentences.daemon_in_the_way(running.pid)


def _state(path: Path) -> str:
    text = _text(path)
    if text is None:
        return "not installed"
    return "installed" if is_as_written(text) else "changed"


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _denied(path, error) from None


def _write(path: Path, text: str) -> None:
    """Write a file atomically."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text.encode(), mode=0o644)
    except OSError as error:
        raise _denied(path, error) from None


def _denied(path: Path, error: OSError) -> Failure:
    return sentences.unit_denied(path, reason(error))


def _order(words: list[str]) -> None:
    """Run a command of the manager.

    Raises:
        Failure: NOT_UP, the manager is not installed, or the command failed.
    """
    done = _run(words)
    if done is None:
        raise sentences.no_service_manager(" ".join(words))
    if done.returncode != 0:
        said = done.stderr.strip().replace("\n", "; ")
        raise sentences.service_manager_failed(" ".join(words), said)


def _run(words: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Run a program of the manager; None if it is not installed."""
    program = shutil.which(words[0])
    if program is None:
        return None
    return subprocess.run(  # noqa: S603 - words of the table above, no shell
        [program, *words[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",  # it is only shown
        timeout=_WITHIN,
        check=False,
    )
