"""The sentences of failures between a command and its daemon: one function for each.

Must import only `errors`: every command waits for this import.
"""

from __future__ import annotations

from tunnelctl.errors import Code, Fact, Failure, Hint

REPLACING = "tunnelctl up PROFILE -d"


def daemon_not_running() -> Failure:
    """Nobody listens on the control socket, and no other daemon of the user is known."""
    return Failure(
        Code.DAEMON_NOT_RUNNING, "the daemon is not running", "tunnelctl up PROFILE starts it"
    )


def daemon_did_not_start() -> Failure:
    """It ended or timed out before it reported anything."""
    return Failure(Code.DAEMON_NOT_RUNNING, "the daemon did not start", "tunnelctl daemon says why")


def daemon_stopped() -> Failure:
    """A stream of events ended."""
    return Failure(Code.DAEMON_NOT_RUNNING, "the daemon has stopped")


def daemon_went_away() -> Failure:
    """The connection ended before the answer was complete."""
    return Failure(Code.DAEMON_NOT_RUNNING, "the daemon went away before it answered")


def daemon_silent() -> Failure:
    """No answer came in time."""
    return Failure(
        Code.DAEMON_NOT_RUNNING,
        "the daemon does not answer",
        Hint("its log may say why", "tunnelctl paths"),
        facts=[Fact.DAEMON_SILENT],
    )


def answer_not_an_object(status: int) -> Failure:
    """The answer with this HTTP status is not one of the control API."""
    return Failure(Code.INTERNAL, f"the daemon answered {status} and no JSON object")


def another_version(daemon_version: str, our_version: str) -> str:
    """The daemon that answers has another version, which may be empty; it works all the same."""
    versions = other_versions(daemon_version, our_version)
    return f"{versions} ({REPLACING} replaces it)"


def other_versions(daemon_version: str, our_version: str) -> str:
    """The same without the command."""
    return f"the daemon is version {daemon_version or 'unknown'}, this is {our_version}"


def another_api(daemon_version: str, our_version: str) -> Failure:
    """The daemon uses another `api_version`; its own version may be empty."""
    return Failure(
        Code.INTERNAL,
        f"the daemon is version {daemon_version or 'unknown'} and speaks another API than "
        f"this tunnelctl {our_version}",
        "end it with the version that started it: tunnelctl down --all",
    )
