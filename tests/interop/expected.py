"""The recorded outcome of every case with every server: the matrix of docs/servers.md.

A case that is not listed passes. A test fails when the outcome differs from the recorded one. When
a server has changed, change it here with the reason, then run `python -m tools.make_servers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PASS = "pass"


class Kind(StrEnum):
    """How a cell is shown."""

    PASSES = "yes"
    NOT_OFFERED = "no"  # the server does not offer it, and tunnelctl says so
    DIFFERS = "differs"  # the server behaves differently from OpenSSH's


@dataclass(frozen=True)
class Cell:
    """`outcome` is what happens with tunnelctl: `pass`, an error code, or a few words."""

    kind: Kind
    outcome: str
    why: str
    ssh_passes: bool = False  # where tunnelctl does not, and `ssh` can be asked


_PASSES = Cell(Kind.PASSES, PASS, "")


def _not_offered(outcome: str, why: str) -> Cell:
    return Cell(Kind.NOT_OFFERED, outcome, why)


def _differs(outcome: str, why: str) -> Cell:
    return Cell(Kind.DIFFERS, outcome, why)


_SFTP_ONLY = _not_offered("reset", "The server offers SFTP and SCP only.")
_SESSIONS_ONLY = _not_offered("reset", "The server offers sessions only.")
_ED25519_ONLY = _not_offered("auth-failed", "The server accepts ed25519 keys only.")
_NO_UNIX = _not_offered("forward-denied", "The server does not forward unix sockets.")
_WITHOUT_UNIX = {"unix": _NO_UNIX, "remote-unix": _NO_UNIX}
_CANCEL_REFUSED = _differs(
    "listener stays open",
    "The server refuses `cancel-tcpip-forward` and listens until the link ends. Clients that "
    "connect there meanwhile are turned away.",
)
_ENDS_BOTH_WAYS = "closes both directions when the first one ends"

EXPECTED: dict[str, dict[str, Cell]] = {
    "OpenSSH": {},
    "Dropbear": {**_WITHOUT_UNIX, "cancel": _CANCEL_REFUSED},
    "asyncssh": {
        "cancel-none": _differs(
            "session-lost",
            "The server disconnects. tunnelctl cancels only what the server granted.",
        ),
    },
    "Twisted Conch": {
        **_WITHOUT_UNIX,
        "again": _differs(
            "forward-denied",
            "The server closes a cancelled listener only after its reply. The next try succeeds.",
        ),
        "login-rsa": _differs(
            "auth-failed",
            "`server-sig-algs` lists only the types of the server's own host keys, so RSA is "
            "missing from it without an RSA host key. Add one.",
        ),
        "half-close": _differs(
            "hangs", "The server does not pass the client's EOF on to the target."
        ),
        "refused": _differs(
            "opened, then fin",
            "The server confirms the channel before it connects, and closes it on a refusal.",
        ),
        "remote-port-0": _differs("session-lost", "The server disconnects on port 0."),
    },
    "paramiko": {
        **_WITHOUT_UNIX,
        "refused": _differs(
            "target-unreachable", "The library sends no reason with a failed connection."
        ),
        "cancel-none": _differs("reported as done", "The library confirms every cancellation."),
    },
    "Erlang": {
        **_WITHOUT_UNIX,
        "half-close": _differs("ended early", f"The server {_ENDS_BOTH_WAYS}."),
        "cancel": _CANCEL_REFUSED,
        "again": _differs("forward-denied", "As above: `tunnelctl restart` makes a new link."),
    },
    "Go x/crypto": {
        **_WITHOUT_UNIX,
        "half-close": _differs(
            "ended early",
            f"A server that forwards as gliderlabs/ssh does {_ENDS_BOTH_WAYS}.",
        ),
    },
    "libssh": {
        **_WITHOUT_UNIX,
        "refused": _differs(
            "forward-denied",
            "The library refuses every failed connection as prohibited by the administrator.",
        ),
    },
    "TinySSH": {
        "login-rsa": _ED25519_ONLY,
        "login-password": _ED25519_ONLY,
        "local": _SESSIONS_ONLY,
    },
    "ProFTPD mod_sftp": {"local": _SFTP_ONLY},
}


# Versions that behave differently from those above. The key is the beginning of a version.
VERSIONS: dict[tuple[str, str], dict[str, Cell]] = {
    ("Dropbear", "2020"): {
        "refused": _differs(
            "target-unreachable", "The server sends no reason with a failed connection."
        ),
        "cancel-none": _differs(
            "session-lost",
            "The server crashes. tunnelctl cancels only what the server granted.",
        ),
    },
    ("Dropbear", "2025"): {"unix": _PASSES},
    ("Dropbear", "2026"): {"unix": _PASSES, "remote-unix": _PASSES, "cancel": _PASSES},
}


def expected(server: str, version: str, case: str) -> Cell:
    """The cell of a server, in one version, and a case."""
    for (name, beginning), cells in VERSIONS.items():
        if name == server and version.startswith(beginning) and case in cells:
            return cells[case]
    return EXPECTED[server].get(case, _PASSES)
