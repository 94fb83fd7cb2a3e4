"""The sentences of the daemon's own failures: its place on this machine, profiles, requests.

Owns the sentences: one function for each failure, named for the event. Decides nothing: the caller
knows which one applies.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from tunnelctl.errors import Code, Failure, Hint
from tunnelctl.home.paths import ANOTHER_USERS, NO_PLACE, SOCKET_VARIABLE
from tunnelctl.net.addresses import PortHolder
from tunnelctl.spec.endpoint import Endpoint


def unexpected_error(exception: str) -> Failure:
    """An unexpected exception of this type."""
    return Failure(
        Code.INTERNAL,
        f"an error inside the daemon: {exception}",
        "the daemon's log has the details (tunnelctl paths shows where it is)",
    )


# --- the only daemon of its user -----------------------------------------------------------


def already_running(socket: Path) -> Failure:
    """Another daemon answers at this socket."""
    return Failure(
        Code.ALREADY_RUNNING,
        f"a daemon answers on {socket} already",
        "tunnelctl ps shows what it does",
    )


def running_elsewhere(elsewhere: Path, socket: Path) -> Failure:
    """The user's daemon answers at another socket than this environment names."""
    return Failure(
        Code.ALREADY_RUNNING,
        f"your daemon runs already, on {elsewhere}; this command looked on {socket}",
        f"{SOCKET_VARIABLE}={shlex.quote(str(elsewhere))} tunnelctl … reaches it",
    )


def lock_held(lock: Path) -> Failure:
    """Held by a daemon that neither answers nor ended within its deadline."""
    return Failure(Code.ALREADY_RUNNING, f"another daemon holds {lock} and does not answer")


def taken_over(socket: Path) -> Failure:
    """The lock was removed, and another daemon holds the new one."""
    return Failure(Code.ALREADY_RUNNING, f"another daemon has taken {socket} over")


# --- the control socket --------------------------------------------------------------------


def _no_control_socket(path: Path, why: str, hint: str = "") -> Failure:
    return Failure(
        Code.PERMISSION_DENIED, f"{path} cannot be used for the control socket: {why}", hint
    )


def place_unusable(place: Path, why: str) -> Failure:
    """The system refuses the folder, the lock or the socket; `why` is its message."""
    return _no_control_socket(place, why)


def place_in_anothers_folder(directory: Path, why: str) -> Failure:
    """The environment names a place where this user may not write."""
    return _no_control_socket(directory, why, ANOTHER_USERS)


def no_place(directory: Path, why: str) -> Failure:
    """The environment names no place, and this user may not write in the default one."""
    return _no_control_socket(directory, why, NO_PLACE)


def root_in_anothers_folder(directory: Path, above: Path, owner_id: int) -> Failure:
    """Root creates nothing in `above`, a folder of the user with this id."""
    return _no_control_socket(
        directory,
        f"{above} belongs to user id {owner_id}, and this process runs as root",
        ANOTHER_USERS,
    )


def not_a_folder(directory: Path) -> Failure:
    """Something else has this name."""
    return _no_control_socket(directory, "it is a symbolic link or not a directory")


def folder_of_another_user(directory: Path, owner_id: int) -> Failure:
    """It exists, and belongs to the user with this id."""
    return _no_control_socket(directory, f"it belongs to user id {owner_id}", ANOTHER_USERS)


def folder_open_to_others(directory: Path) -> Failure:
    """Its mode gives others access."""
    return _no_control_socket(
        directory,
        "other users can enter it",
        f"if it is yours alone: chmod 700 {shlex.quote(str(directory))}",
    )


def not_a_socket(socket: Path) -> Failure:
    """Something else has the name of the control socket."""
    return _no_control_socket(socket, "it exists and is not a socket")


def socket_in_use(socket: Path) -> Failure:
    """Used by a program that does not hold the lock."""
    return _no_control_socket(socket, "another program listens on it")


# --- a socket that the service manager passed ----------------------------------------------


def _not_ours(passed: str, socket: Path) -> Failure:
    return Failure(
        Code.USAGE,
        f"the service manager passed {passed}; expected is one that listens on {socket}",
        "ListenStream= of its socket unit, or TUNNELCTL_SOCKET in the service, names another path",
    )


def several_passed(count: str, socket: Path) -> Failure:
    """More than the control socket; `count` is the value of LISTEN_FDS."""
    return _not_ours(f"{count} sockets", socket)


def passed_no_socket(why: str, socket: Path) -> Failure:
    """The descriptor is something else; `why` is the system's message."""
    return _not_ours(f"no socket ({why})", socket)


def passed_no_listener(socket: Path) -> Failure:
    """A socket of another kind, or one that does not listen."""
    return _not_ours("no unix socket that listens", socket)


def passed_another_path(bound_to: str, socket: Path) -> Failure:
    """It is bound to another path than the one that clients use."""
    return _not_ours(f"one that listens on {bound_to}", socket)


# --- profiles ------------------------------------------------------------------------------


def not_a_profile_name(word: str) -> Failure:
    """No file can have that name."""
    return Failure(Code.PROFILE_NOT_FOUND, f"{word!r} cannot be the name of a profile")


def profile_unknown(profile: str) -> Failure:
    """Nobody asked for it since this daemon started."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"the daemon knows no profile {profile!r}",
        "tunnelctl ps -a lists those that it knows",
    )


def forward_unknown(forward: str) -> Failure:
    """No profile that the daemon knows has it."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"no profile has a forward {forward!r}",
        "tunnelctl ps -a lists those that the daemon knows",
    )


def profile_not_up(profile: str) -> Failure:
    """No command holds it."""
    return Failure(Code.PROFILE_NOT_FOUND, f"no profile {profile} is up")


def cannot_reload(profile: str, *, was_up: bool) -> Failure:
    """It is not wanted; `was_up`: the daemon knows it."""
    return Failure(
        Code.NOT_UP if was_up else Code.PROFILE_NOT_FOUND,
        f"profile {profile} is not up",
        f"tunnelctl up {profile} -d",
    )


def lease_ended(profile: str) -> Failure:
    """The command that asked for it has ended."""
    return Failure(Code.NOT_UP, f"{profile} was not brought up: its lease has ended")


def variables_not_given(profile: str, variables: Sequence[str]) -> Failure:
    """The environment of its `up` had them; that of this daemon does not."""
    return Failure(
        Code.SECRET_UNAVAILABLE,
        f"profile {profile} was brought up with {', '.join(f'${name}' for name in variables)}, "
        "which this daemon was not given",
        f"tunnelctl up {profile} -d, from a shell that has it",
    )


def profile_file_invalid(profile: str, mistake: str, more: int) -> Failure:
    """Its file has this mistake and `more` others, so another version runs, or none."""
    return Failure(
        Code.CONFIG_INVALID,
        f"its file cannot be used: {mistake}" + (f" and {more} more" if more else ""),
        f"see tunnelctl check {profile}, then run tunnelctl reload",
    )


# --- the list of wanted profiles -----------------------------------------------------------


def file_usable_again() -> str:
    """The mistakes in the file of a profile were corrected."""
    return "its file can be used again"


def held_by(holder: str) -> str:
    """The holders of a profile changed."""
    return f"held by {holder}"


def wanted_not_saved(wanted_file: Path, why: str) -> str:
    """The list cannot be written; `why` is the system's message."""
    return (
        f"cannot save to {wanted_file} which profiles are wanted: {why}; "
        "the next daemon uses the list in it"
    )


def wanted_ignored(wanted_file: Path, why: str, kept_as: str) -> str:
    """The list cannot be used; `why` is one of the next sentences. `kept_as` is its new name."""
    return (
        f"{wanted_file} is ignored, so none of its profiles is up: {why}; it is kept as {kept_as}"
    )


def wanted_of_another_version(number: str) -> str:
    """Another release wrote it."""
    return f"it has version {number}"


def wanted_malformed(text: str) -> str:
    """Not JSON of the right form; `text` is the error of the parser."""
    return f"it is not what a daemon writes ({text})"


def wanted_lacks(value: str) -> str:
    """It has something else in the place of a `value`."""
    return f"it has something else where {value} belongs"


def wanted_no_profile(profile: str) -> str:
    """An entry that cannot be a profile."""
    return f"{profile!r} is no profile"


def wanted_of_another_user() -> str:
    """The file has another owner."""
    return "it belongs to another user"


# --- fleet ---------------------------------------------------------------------------------


def no_fleet() -> Failure:
    """The daemon was started without --fleet."""
    return Failure(
        Code.NOT_UP,
        "this daemon is in no fleet",
        Hint("start it with the fleet's file", "tunnelctl daemon --fleet FILE PROFILE"),
    )


def fleet_holds(profile: str) -> Failure:
    """An attached command cannot hold a profile that another machine may take."""
    return Failure(
        Code.USAGE,
        f"profile {profile} is run by the fleet, and cannot be held by a command",
        Hint("make this machine a candidate", f"tunnelctl up {profile} -d"),
    )


# --- metrics -------------------------------------------------------------------------------


def metrics_not_served(address: Endpoint, why: str) -> Failure:
    """The system refuses to listen there; `why` is its message."""
    return Failure(Code.PERMISSION_DENIED, f"metrics cannot be served on {address}: {why}")


def metrics_port_in_use(address: Endpoint, holder: PortHolder | None) -> Failure:
    """Another program listens there: `holder`, if known."""
    by = f" by {holder}" if holder else ""
    return Failure(
        Code.PORT_IN_USE,
        f"metrics cannot be served on {address}: it is in use{by}",
        "choose another port for --metrics",
    )


def no_metrics_package() -> str:
    """The extra `metrics` is not installed."""
    return "metrics need prometheus-client"


# --- requests that are invalid (400), and that come too late or too often (408, 503) ---------


def _invalid(rule: str) -> Failure:
    return Failure(Code.USAGE, rule)


def not_http() -> str:
    """The head of a request is malformed or too long. Not repeated: it may have secrets."""
    return "the head of the request is not HTTP/1.1, or is too long"


def body_not_in_time() -> str:
    """The rest of the body did not arrive."""
    return "the body did not arrive in time"


def body_not_json() -> Failure:
    """The body is something else."""
    return _invalid("the body must be JSON")


def body_not_an_object() -> Failure:
    """The body is another JSON value."""
    return _invalid("the body must be a JSON object")


def unknown_key(key: str, where: str) -> Failure:
    """There is no such key; `where`: `body` or `query`."""
    return _invalid(f"unknown key {key!r} in the {where}")


def not_once(key: str) -> Failure:
    """In a query, several times."""
    return _invalid(f"{key} may be given once")


def required(key: str) -> Failure:
    """The key is missing."""
    return _invalid(f"{key} is required")


def contains_nul(key: str) -> Failure:
    """No path and no variable can contain one."""
    return _invalid(f"{key} must not contain a NUL byte")


def not_a_boolean(key: str) -> Failure:
    """In a body."""
    return _invalid(f"{key} must be true or false")


def not_a_flag(key: str) -> Failure:
    """In a query."""
    return _invalid(f"{key} must be 1 or 0")


def not_a_whole_number(key: str) -> Failure:
    """In a query: not digits, or too many."""
    return _invalid(f"{key} must be a whole number below 1000000000")


def not_a_ttl(most: float) -> Failure:
    """`ttl` is at most that many seconds."""
    return _invalid(f"ttl must be a number of seconds, more than 0 and at most {most:g}")


def not_a_drain(most: float) -> Failure:
    """`timeout` of `down` is at most that many seconds."""
    return _invalid(f"timeout must be a number of seconds from 0 to {most:g}")


def not_a_time() -> Failure:
    """`since` is something else."""
    return _invalid("since must be an RFC 3339 time")


def not_an_absolute_path() -> Failure:
    """The daemon has another working directory than its callers."""
    return _invalid("file must be an absolute path")


def not_files_and_names() -> Failure:
    """`profiles` is something else."""
    return _invalid("profiles must be a list of files and names")


def not_profile_names() -> Failure:
    """`names` is something else."""
    return _invalid("names must be a list of profile names")


def not_a_profile_in_query() -> Failure:
    """`profile` is something else."""
    return _invalid("profile must be a profile name")


def not_a_pattern() -> Failure:
    """`profile` of the log is something else."""
    return _invalid("profile must be PROFILE or PROFILE/PART; wildcards are *, ? and []")


def not_host_names() -> Failure:
    """`hosts` is something else."""
    return _invalid("hosts must be a list of host names")


def not_headers() -> Failure:
    """`headers` of a replay is something else."""
    return _invalid("headers must be a list of [name, value]")


def not_an_environment() -> Failure:
    """`environment` is something else."""
    return _invalid("environment must be an object of strings")


def environment_not_text() -> Failure:
    """A variable has a surrogate that stands for no byte."""
    return _invalid("environment must be text, with other bytes as in PEP 383")


def not_a_variable_name() -> Failure:
    """Not repeated: a secret may have been sent as a name."""
    return _invalid("the name of a variable must not be empty or contain =")


def not_a_lease() -> Failure:
    """`lease` is something else."""
    return _invalid("lease must be 16 to 64 hexadecimal digits")


def lease_in_use() -> Failure:
    """A lease has one holder."""
    return _invalid("another event stream has this lease")


def not_an_answer_scope() -> Failure:
    """`answer` of the events is something else."""
    return _invalid("answer must be PROFILE or PROFILE/HOST")


def too_many_answer_scopes(most: int) -> Failure:
    """`answer` of the events is repeated too often."""
    return _invalid(f"answer can be given at most {most} times")


def not_a_question_id() -> Failure:
    """`id` of an answer is something else."""
    return _invalid("id must be the id of a question")


def not_an_answer() -> Failure:
    """`answer` is something else."""
    return _invalid("answer must be a string or null")


def too_many_event_streams() -> str:
    """The limit is the number of clients that the daemon can serve."""
    return "too many event streams"


def log_has_too_many_readers() -> str:
    """Those that follow it."""
    return "too many readers follow the log"


def requests_have_too_many_readers() -> str:
    """Those that follow them."""
    return "too many readers follow requests"
