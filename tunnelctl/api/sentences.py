"""The messages of failures of tunnels in a program's own process.

Must import only `errors`: `import tunnelctl` waits for nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnelctl.errors import Code, Failure


def forwards_invalid(command: str, why: str) -> Failure:
    """`forwards` and `host` are no arguments of ssh, or no profile can express them."""
    return Failure(Code.USAGE, why, subject=command)


def no_resources(profile: str, why: str) -> Failure:
    """The process has no descriptors or threads left."""
    return Failure(Code.INTERNAL, f"the tunnels of {profile} cannot be opened: {why}")


def not_ready_in_time(profile: str, seconds: float, troubles: Sequence[str]) -> Failure:
    """Everything that came up so far is closed again."""
    return Failure(
        Code.NOT_READY,
        f"{profile} is not ready after {seconds:g} s: {'; '.join(troubles)}",
        "timeout= waits longer",
    )


def nobody_to_ask(failure: Failure) -> Failure:
    """A login asks a question, as `failure` says, and a program has nobody to answer it."""
    return failure.but(
        hints=[
            "a program is asked nothing: put the answer in the profile, such as "
            "password: {env: NAME} or passphrase: {env: NAME}, or load the key into an agent"
        ]
    )


def tunnels_closed(profile: str) -> Failure:
    """They were closed, or the program is ending."""
    return Failure(Code.NOT_UP, f"the tunnels of {profile} are closed")


def tunnels_of_parent(profile: str, pid: int) -> Failure:
    """This is a forked child of process `pid`, which opened them."""
    return Failure(
        Code.NOT_UP,
        f"the tunnels of {profile} belong to process {pid}, which opened them before it forked",
        "call tunnelctl.open in this process",
    )


def forward_without_address(part: str, why: str) -> Failure:
    """It does not listen; `why` is its last error, or its state."""
    return Failure(Code.NOT_UP, f"{part} does not listen: {why}")


def no_host_and_port(path: str) -> Failure:
    """A unix socket has only a path."""
    return Failure(Code.USAGE, f"{path} is a unix socket: it has an address, and no host and port")


def not_ready_yet(profile: str, seconds: float, troubles: Sequence[str]) -> Failure:
    """The daemon keeps trying."""
    return Failure(
        Code.NOT_READY,
        f"{profile} is not ready after {seconds:g} s: {'; '.join(troubles)}",
        f"the daemon keeps trying; daemon.down({profile!r}) ends that",
    )


def profile_not_up(profile: str) -> Failure:
    """The daemon does not have the profile."""
    return Failure(Code.PROFILE_NOT_FOUND, f"no profile {profile} is up", f"daemon.up({profile!r})")
