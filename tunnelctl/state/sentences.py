"""The messages of states that several layers report.

Must import only `errors`: `--help` and `ps` wait for this import.
"""

from __future__ import annotations

from tunnelctl.errors import Code, Failure


def part_not_up(part: str, state: str) -> Failure:
    """A host or forward that is not up, without an error."""
    return Failure(Code.NOT_UP, f"{part} is {state}")


def taken_down_meanwhile(profile: str) -> Failure:
    """A `down` came while it was being brought up."""
    return Failure(
        Code.NOT_UP, f"profile {profile} was taken down meanwhile", f"tunnelctl up {profile}"
    )


def time_is_up() -> str:
    """A holder was removed because its limit (`--for`) has passed."""
    return "its time is up"
