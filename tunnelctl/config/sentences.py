"""The messages of failures to find, read, import or export a profile.

Owns the sentences: one function for each failure, named after what happened, and the rule for
names. A mistake in the text of a profile is reported with its line, see
`tunnelctl.config.yaml.mistakes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tunnelctl.errors import Code, Failure, printable

NAME_RULE = (
    "a name has at most 64 characters of a-z, 0-9, '.', '_' and '-', "
    "and starts with a letter or digit"
)
ONE_HOST = "with -L, -R and -D comes one HOST"
_ELSEWHERE = "tunnelctl ls lists the profiles; -f FILE is for one elsewhere"
_FIRST_STEPS = (
    "tunnelctl init writes a first one; tunnelctl up -L PORT:HOST:PORT SERVER does without"
)


# --- profiles by name ----------------------------------------------------------------------


def no_file(file: Path) -> Failure:
    """For a profile that was named by its file."""
    return Failure(Code.PROFILE_NOT_FOUND, f"there is no file {file}")


def not_a_profile_name(name: str) -> Failure:
    """This is no valid name of a profile."""
    return Failure(
        Code.PROFILE_NOT_FOUND,
        f"{name!r} cannot be the name of a profile: {NAME_RULE}",
        "name a file with -f FILE",
    )


def no_profiles(places: Sequence[Path]) -> Failure:
    """There is no profile in any of `places`."""
    return Failure(
        Code.PROFILE_NOT_FOUND, f"there are no profiles; looked in {_listed(places)}", _FIRST_STEPS
    )


def no_profile(
    name: str, places: Sequence[Path], near: Sequence[str], *, is_first: bool
) -> Failure:
    """None of `places` has the profile; `near` are similar names. `is_first`: there is no other
    profile either."""
    hint = _FIRST_STEPS if is_first else _ELSEWHERE
    if near:
        hint = f"did you mean {' or '.join(near)}?"
    return Failure(
        Code.PROFILE_NOT_FOUND, f"there is no profile {name!r}; looked in {_listed(places)}", hint
    )


def _listed(places: Sequence[Path]) -> str:
    return ", ".join(map(str, places))


def name_taken(name: str, file: str) -> Failure:
    """A profile of this name is up from another file."""
    return Failure(
        Code.NAME_TAKEN,
        f"{name} is up already, from {file}",
        "--as OTHER brings this one up beside it, --replace in its place",
    )


# --- what is made from other words, and written as them ------------------------------------


def destination_invalid(destination: str, why: str) -> Failure:
    """`[user@]NAME[:PORT]` is no valid host, or ssh_config cannot be applied to it."""
    return Failure(Code.CONFIG_INVALID, f"{destination}: {why}")


def not_imported(why: str) -> Failure:
    """A file of another program is invalid, or cannot be expressed as a profile."""
    return Failure(Code.CONFIG_INVALID, printable(why))


def ssh_command_invalid(command: str, why: str) -> Failure:
    """ssh would refuse the command line, or it is none; `command` contains no secrets."""
    return Failure(Code.USAGE, f"{command}: {why}")


def nothing_for_ssh(profile: str, notes: Sequence[str]) -> Failure:
    """ssh can express nothing in the profile; `notes` are the reasons, if any."""
    why = f": {notes[0]}" if notes else ""
    return Failure(
        Code.CONFIG_INVALID, f"profile {profile} has no setting that ssh can express{why}"
    )
