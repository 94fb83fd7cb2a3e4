"""The sentences of the failures of commands.

Owns the sentences: one function for each failure, named for the event. Most failures that a command
reports come from below or from the daemon, and are printed unchanged. Must stay light: `--help` and
`ps` import it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from tunnelctl.errors import Code, Fact, Failure, Hint
from tunnelctl.home.paths import CONFIG_DIR_VARIABLE
from tunnelctl.spec.endpoint import Endpoint
from tunnelctl.state.sentences import time_is_up

# --- the command line itself ---------------------------------------------------------------


def interrupted() -> Failure:
    """Ctrl-C, before the command had anything to take down."""
    return Failure(Code.INTERRUPTED, "interrupted")


# How click's own sentences open. Ours begin with a word that a user typed, or in lower case.
_CLICK_OPENINGS = ("Missing ", "No such ", "Invalid value", "Option ", "Got unexpected ")


def wrong_usage(message: str, command: str) -> Failure:
    """The arguments do not fit the command; `message` is ours, or click's: this is put in our form,
    one sentence in lower case without a full stop."""
    if message.startswith(_CLICK_OPENINGS):
        message = message[0].lower() + message[1:]
        message = message.replace("is not a valid integer range", "is not a whole number")
        for ending in ("Did you mean", "Choose from"):
            message = message.replace(f". {ending}", f"; {ending.lower()}")
    return Failure(Code.USAGE, message, f"{command} --help shows the usage")


def refused_by_click(message: str) -> Failure:
    """A well-formed argument cannot be used, such as a file that cannot be opened."""
    return Failure(Code.USAGE, message)


def output_not_written(why: str) -> Failure:
    """The file or disk of our output is full."""
    return Failure(Code.INTERNAL, f"the output cannot be written: {why}")


def error_inside(kind: str, text: str) -> Failure:
    """A bug: the class of the exception, and its text if it has one."""
    said = f": {text}" if text else ""
    return Failure(
        Code.INTERNAL,
        f"an error inside tunnelctl: {kind}{said}",
        "tunnelctl --debug COMMAND shows where",
    )


# --- profiles, and their parts, in the words of a command ----------------------------------


def nothing_meant(word: str, known: Sequence[str]) -> Failure:
    """`PROFILE/NAME` matches no part of any profile."""
    there = ", ".join(known) or "nothing"
    return Failure(
        Code.PROFILE_NOT_FOUND, f"no profile, host or forward matches {word}", f"available: {there}"
    )


def no_profile_matches(word: str, known: Sequence[str]) -> Failure:
    """A wildcard matches no profile."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"no profile matches {word}",
        f"there are {', '.join(known)}"
        if known
        else "there are none; tunnelctl ls lists the files",
    )


def no_such_host(profile: str, host: str, known: Sequence[str]) -> Failure:
    """The profile is up, and has only the `known` ones."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"profile {profile} has no host {host} of its own; it has {', '.join(known)}",
    )


def no_such_forward(profile: str, forward: str, known: Sequence[str]) -> Failure:
    """The profile is up, and has only the `known` ones."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"profile {profile} has no forward {forward}; it has {', '.join(known)}",
    )


def up_from_another_file(profile: str, source: str, here: Path) -> Failure:
    """The name means the file `here`, but the daemon has the profile from `source`."""
    folder = shlex.quote(os.path.dirname(source))
    hint = f"{CONFIG_DIR_VARIABLE}={folder} before the command means that one"
    return _another_file(profile, source, here, hint)


def another_file_kept_up(profile: str, source: str, here: Path) -> Failure:
    """The same for `down`, which can be forced."""
    hint = f"tunnelctl down {profile} --force takes that one down"
    return _another_file(profile, source, here, hint)


def _another_file(profile: str, source: str, here: Path, hint: str) -> Failure:
    return Failure(Code.NAME_TAKEN, f"{profile} is up from {source}, and not from {here}", hint)


# --- what is not up, or not ready ----------------------------------------------------------


def profile_not_up(profile: str) -> Failure:
    """The file exists, but the profile is not wanted up."""
    return Failure(
        Code.NOT_UP, f"profile {profile} is not up", Hint("", f"tunnelctl up {profile} -d")
    )


def forward_not_listening(part: str, state: str, why: str) -> Failure:
    """It has no address; `why` is its last error, or empty."""
    said = f": {why}" if why else ""
    return Failure(Code.NOT_UP, f"{part} does not listen, it is {state}{said}")


def not_ready_but_wanted(profile: str, seconds: float, troubles: Sequence[str]) -> Failure:
    """The command ends after so long, and the daemon continues."""
    hint = f"it keeps trying; tunnelctl ps shows it, tunnelctl down {profile} ends it"
    return _not_ready(profile, seconds, troubles, hint)


def not_ready_and_given_up(profile: str, seconds: float, troubles: Sequence[str]) -> Failure:
    """The command ends after so long, and nobody else holds the profile."""
    hint = "it is not wanted any longer; --wait-timeout waits longer"
    return _not_ready(profile, seconds, troubles, hint)


def _not_ready(profile: str, seconds: float, troubles: Sequence[str], hint: str) -> Failure:
    return Failure(
        Code.NOT_READY, f"{profile} is not ready after {seconds:g} s: {'; '.join(troubles)}", hint
    )


def hold_lost(profile: str, replaced_by: str) -> str:
    """While a command held it; `replaced_by`: the other file of that name, if there is one."""
    why = f"it was replaced, by {replaced_by}" if replaced_by else time_is_up()
    return f"{profile} is no longer held by this command: {why}"


def time_was_up(profile: str) -> Failure:
    """Before it was ready."""
    return Failure(
        Code.NOT_READY, f"{profile} was not ready when its time was up", "--ttl gives it more time"
    )


def profile_removed(profile: str) -> Failure:
    """While a command held it."""
    return Failure(Code.NOT_UP, f"{profile} was removed from the daemon")


def daemon_lost(failure: Failure) -> Failure:
    """While a command held profiles; `failure` says how."""
    what = "nothing is up any more"
    if Fact.DAEMON_SILENT in failure.facts:
        what = "once it does, the profiles of this command go down"
    return Failure(Code.NOT_UP, f"{failure.message}; {what}")


def waiting_for_daemon() -> str:
    """It takes longer than it should."""
    return "waiting for the daemon to answer"


def no_daemon_with_log(failure: Failure, log: Path) -> Failure:
    """`failure` says why none can be asked; `log` has what the last one wrote."""
    return Failure(failure.code, failure.message, f"its last log is {log}")


# --- files of profiles ---------------------------------------------------------------------


def profile_exists(source: Path) -> Failure:
    """A new profile must not replace it."""
    return Failure(Code.USAGE, f"{source} already exists", "name another, or --force replaces it")


def profile_not_written(file: str, why: str) -> Failure:
    """The profile, or its folder or schema."""
    return Failure(Code.PERMISSION_DENIED, f"{file} cannot be written: {why}")


def archive_not_written(file: str, why: str) -> Failure:
    """The file of `requests --har`."""
    return Failure(Code.PERMISSION_DENIED, f"{file} cannot be written: {why}")


def profile_mistake(mistake: str) -> Failure:
    """One of those in a profile, with its place, as a step of `doctor`."""
    return Failure(Code.CONFIG_INVALID, mistake)


def nothing_to_import(settings: str) -> Failure:
    """`settings` is the subcommand of `import`."""
    return Failure(Code.CONFIG_INVALID, f"import {settings} found no forward that can be carried")


def imported_profile_invalid(key: str, why: str) -> Failure:
    """The value in the settings is not valid in a profile, at this key."""
    return Failure(Code.CONFIG_INVALID, f"what was read makes no profile: {key}: {why}")


def import_unreadable(file: str, why: str) -> Failure:
    """The file of the settings, or standard input."""
    return Failure(Code.CONFIG_INVALID, f"{file} cannot be read: {why}")


def import_not_text(file: str) -> Failure:
    """It cannot be decoded."""
    return import_unreadable(file, "it is not UTF-8")


def name_of_a_profile(profile: str, source: Path) -> Failure:
    """The name given to forwards without a profile is that of a file."""
    return Failure(
        Code.USAGE,
        f"a profile {profile} already exists, {source}",
        f"choose another name: --as {profile}-2",
    )


def unnamed_profile_not_written(file: str, why: str) -> Failure:
    """The file made of an ssh command line has no place."""
    return Failure(
        Code.PERMISSION_DENIED,
        f"{file} cannot be written: {why}",
        "set HOME or XDG_STATE_HOME to a folder that can be written",
    )


# --- questions to a person -----------------------------------------------------------------


def nobody_to_answer(part: str) -> Failure:
    """A host has a question, and the command has no terminal."""
    return Failure(
        Code.NEEDS_INPUT,
        f"{part} cannot be answered: there is no terminal here",
        f"run it at a terminal, or with SSH_ASKPASS_REQUIRE=force: tunnelctl answer {part}",
    )


def nobody_to_confirm_key(trust: Hint) -> Failure:
    """The command has no terminal; `trust` records the key without a question."""
    return Failure(Code.NEEDS_INPUT, "the key was not recorded: nobody can be asked", trust)


def key_not_confirmed() -> Failure:
    """The answer was no."""
    return Failure(Code.NEEDS_INPUT, "the key was not recorded")


def key_not_expected(address: str, shown: str, fingerprint: str) -> Failure:
    """The server's key does not have the given fingerprint."""
    return Failure(
        Code.HOST_KEY_UNKNOWN,
        f"{address} shows the host key {shown}, not {fingerprint}; nothing was recorded",
    )


def key_not_kept(file: str, trust: Hint) -> Failure:
    """The known_hosts file of the host is the null device; `trust` is another way."""
    return Failure(Code.HOST_KEY_UNKNOWN, f"{file} keeps no host key; nothing was recorded", trust)


# --- expose and run ------------------------------------------------------------------------


def nothing_answers(service: Endpoint, why: str) -> Failure:
    """The local service to expose."""
    hint = "is it running?"
    if not service.is_unix:
        hint += f" ss -ltn 'sport = :{service.port}' shows who listens"
    return _no_service(service, why, hint)


def answers_elsewhere(service: Endpoint, why: str, other: Endpoint) -> Failure:
    """It answers at the other loopback address."""
    hint = f"it listens on {other.host}: tunnelctl expose {other} ..."
    return _no_service(service, why, hint)


def _no_service(service: Endpoint, why: str, hint: str) -> Failure:
    return Failure(Code.TARGET_REFUSED, f"nothing answers at {service} here: {why}", hint)


def no_qr_package(install: str) -> Failure:
    """An extra of ours is not installed."""
    return Failure(Code.USAGE, "--qr needs the package segno", Hint("", install))


def no_textual_package(install: str) -> Failure:
    """An extra of ours is not installed."""
    return Failure(Code.USAGE, "top needs the package textual", Hint("", install))


def top_needs_a_terminal(why: str) -> Failure:
    """A pipe, or a terminal without control sequences."""
    return Failure(
        Code.USAGE,
        f"top needs a terminal: {why}",
        Hint("a table that is printed again and again", "tunnelctl ps --watch"),
        Hint("once", "tunnelctl ps"),
    )


def same_variable(part: str, other: str, word: str) -> Failure:
    """The names of two forwards give the same variable."""
    return Failure(
        Code.CONFIG_INVALID,
        f"forwards {part} and {other} would both be TUNNELCTL_{word}_PORT",
        "rename one of them",
    )


# --- the daemon and its service ------------------------------------------------------------


def daemon_not_ended(pid: int) -> Failure:
    """It was asked to stop, and did not in time."""
    return Failure(
        Code.NOT_UP,
        f"the daemon has not ended yet (pid {pid})",
        Hint("", "tunnelctl logs -f"),
    )


def daemon_in_the_way(pid: int) -> Failure:
    """The service cannot use the control socket."""
    return Failure(
        Code.ALREADY_RUNNING,
        f"a daemon runs already (process {pid}), so the service would not start",
        "tunnelctl down --all, and the same again",
    )


def changed_unit_not_overwritten(unit: Path) -> Failure:
    """Somebody else edited a file of the service."""
    return _changed_unit(unit, "overwritten")


def changed_unit_not_removed(unit: Path) -> Failure:
    """Somebody else edited a file of the service."""
    return _changed_unit(unit, "removed")


def _changed_unit(unit: Path, done: str) -> Failure:
    return Failure(
        Code.USAGE,
        f"{unit} is not as tunnelctl wrote it, so it is not {done}",
        "--force does it anyway",
    )


def unit_denied(unit: Path, why: str) -> Failure:
    """A file of the service cannot be read or written."""
    return Failure(Code.PERMISSION_DENIED, f"{unit}: {why}", "--user, or be root")


def completion_not_installed(file: str, why: str) -> Failure:
    """A file in the home cannot be read or written."""
    return Failure(
        Code.PERMISSION_DENIED,
        f"{file}: {why}",
        "tunnelctl completion bash, zsh or fish prints the script",
    )


def no_service_manager(order: str) -> Failure:
    """The program of systemd or launchd is not installed."""
    return service_manager_failed(order, "it is not here")


def service_manager_failed(order: str, said: str) -> Failure:
    """A command of systemd or launchd failed; `said` is its output."""
    return Failure(Code.NOT_UP, f"{order} failed: {said}", "journalctl may say more")


# --- the demo, which verifies what it shows -------------------------------------------------


def bytes_changed() -> Failure:
    """By their hash."""
    return Failure(Code.INTERNAL, "the demo received other data than it sent")


def cut_taken_for_end() -> Failure:
    """A client must see a lost link as a reset."""
    return Failure(Code.INTERNAL, "an interrupted connection looked complete")


def local_port_lost(port: int) -> Failure:
    """A listener must outlive a link."""
    return Failure(Code.INTERNAL, f"the local port {port} was lost")


def tunnel_not_up(seconds: float) -> Failure:
    """The demo has not begun."""
    return _not_within(seconds, "the tunnel was not up")


def loss_not_noticed(seconds: float) -> Failure:
    """The server was killed."""
    return _not_within(seconds, "the lost connection was not detected")


def no_try_refused(seconds: float) -> Failure:
    """Nothing listens on the server's port."""
    return _not_within(seconds, "no attempt to reconnect was refused")


def tunnel_not_up_again(seconds: float) -> Failure:
    """The server is back."""
    return _not_within(seconds, "the forwards were not up again")


def _not_within(seconds: float, step: str) -> Failure:
    return Failure(Code.NOT_READY, f"{step} within {seconds:g} s")
