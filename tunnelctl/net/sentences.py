"""The messages of failures of this machine's own resources: one function for each."""

from __future__ import annotations

from tunnelctl.errors import Code, Failure


def no_more_threads() -> Failure:
    """A limit of the user or of the service is reached."""
    return Failure(
        Code.INTERNAL,
        "cannot start a thread: a limit is reached",
        "raise ulimit -u, or TasksMax= of the service",
        retryable=True,
    )
