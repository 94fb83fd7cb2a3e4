"""The messages of the failures of the inspector.

Owns the sentences: one function for each failure, named after what happened. Must never quote a
header or a body.
"""

from __future__ import annotations

from tunnelctl.errors import Code, Failure, Hint, edit


def not_inspected(part: str) -> Failure:
    """The forward, PROFILE/FORWARD, has no `inspect: http`."""
    profile, _, name = part.partition("/")
    return Failure(
        Code.USAGE,
        f"the requests of {part} are not inspected",
        edit(f"set inspect: http at forwards.{name}"),
        Hint("then", f"tunnelctl reload {profile}"),
    )


def no_such_exchange(part: str, number: str) -> Failure:
    """It was dropped for newer ones, or never was."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"{part} has no request {number}",
        Hint("the oldest are dropped; to see what is kept", f"tunnelctl requests {part}"),
    )


# --- replay --------------------------------------------------------------------------------


def _cannot_replay(number: str, why: str, *hints: Hint | str) -> Failure:
    return Failure(Code.USAGE, f"request {number} cannot be sent again: {why}", *hints)


def replay_needs_target(number: str) -> Failure:
    """The forward is dynamic."""
    return _cannot_replay(number, "the forward has no target of its own")


def replay_lacks_body(number: str, size: int, kept: int) -> Failure:
    """Only `kept` bytes of a body of `size` bytes are known."""
    return _cannot_replay(number, f"only the first {kept} of {size} bytes of its body are kept")


def replay_lacks_end(number: str) -> Failure:
    """The client has not sent all of the body, or never did."""
    return _cannot_replay(number, "the end of its body has not arrived")


def replay_of_switch(number: str) -> Failure:
    """It was CONNECT, or changed the protocol."""
    return _cannot_replay(number, "another protocol followed it")


def replay_header_invalid(name: str) -> Failure:
    """A header that the user gave is not one of HTTP."""
    return Failure(Code.USAGE, f"not a header that can be sent: {name!r}", "-H 'NAME: VALUE'")


def replay_not_answered(number: str, target: str, why: str) -> Failure:
    """The target did not answer, or not with HTTP."""
    return Failure(
        Code.TARGET_UNREACHABLE,
        f"no answer to request {number}: {why}",
        subject=target,
    )
