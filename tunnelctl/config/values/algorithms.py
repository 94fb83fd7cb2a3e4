"""Lists of algorithms in the syntax of ssh_config(5), applied to what is supported.

`a,b` replaces the default list, `+a` appends, `-a*` removes, `^a` puts first. The supported
algorithms are in spec/algorithms.py; no profile can extend them. Owns the reasons why a name is not
supported.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from enum import Enum

from tunnelctl.config.yaml.mistakes import shown
from tunnelctl.spec.algorithms import CIPHERS, HOST_KEY_ALGORITHMS, KEX_ALGORITHMS, MACS
from tunnelctl.spec.ssh_patterns import matches_pattern


class Kind(Enum):
    """The kinds of algorithms; the value is the supported list, in order."""

    CIPHERS = CIPHERS
    KEX_ALGORITHMS = KEX_ALGORITHMS
    MACS = MACS
    HOST_KEY_ALGORITHMS = HOST_KEY_ALGORITHMS


# Parts of names, and why algorithms with them are not supported.
_ABSENT = (
    ("3des", "3DES is disabled: its blocks are too small"),
    ("-cbc", "CBC mode is disabled: attacks can recover parts of the plain text"),
    ("arcfour", "RC4 is disabled: it is broken"),
    ("md5", "MD5 is disabled: it is broken"),
    ("sha1", "SHA-1 is disabled: it is broken"),
    ("ssh-rsa", "SHA-1 signatures are disabled; rsa-sha2-512 works with the same key"),
    ("ssh-dss", "DSA is disabled: its keys are too short"),
    (
        "umac",
        "the cryptography package lacks UMAC, and it would be slow in Python; servers with UMAC "
        "also have hmac-sha2-256, and ciphers that need no MAC",
    ),
    (
        "sntrup761",
        "the cryptography package lacks it; mlkem768x25519-sha256 is the supported post-quantum "
        "key exchange (OpenSSH 9.9 and later)",
    ),
    ("mlkem", "mlkem768x25519-sha256 is the only supported key exchange with ML-KEM"),
    ("mldsa", "ML-DSA host keys are not supported; ssh-ed25519 is offered"),
    ("sk-", "host keys on security keys are not supported; ssh-ed25519 is offered"),
)


def resolve_list(kind: Kind, written: str) -> tuple[str, ...]:
    """The algorithms to offer, in order, for a list in a profile.

    Raises:
        ValueError: for a name that we do not offer, saying why, and for a list that leaves nothing.
    """
    allowed: tuple[str, ...] = kind.value
    operator, names = _split(written)
    if operator == "-":
        return _without(allowed, names)
    chosen = tuple(dict.fromkeys(_checked(kind, name) for name in names))
    if operator == "+":
        return (*allowed, *(name for name in chosen if name not in allowed))
    if operator == "^":
        return (*chosen, *(name for name in allowed if name not in chosen))
    return chosen


def _split(written: str) -> tuple[str, Sequence[str]]:
    text = written.strip()
    operator = text[:1] if text[:1] in ("+", "-", "^") else ""
    names = [name.strip() for name in text[len(operator) :].split(",")]
    if not all(names):
        raise ValueError(f"{shown(written)} has an empty name before or after a comma")
    return operator, names


def _without(allowed: tuple[str, ...], patterns: Sequence[str]) -> tuple[str, ...]:
    kept = tuple(
        name for name in allowed if not any(matches_pattern(name, pattern) for pattern in patterns)
    )
    if not kept:
        raise ValueError(f"leaves none of {', '.join(allowed)}")
    return kept


def _checked(kind: Kind, name: str) -> str:
    allowed: tuple[str, ...] = kind.value
    if name in allowed:
        return name
    if reason := why_absent(name):
        raise ValueError(f"{shown(name)} is not offered: {reason}")
    near = get_close_matches(name, allowed, n=1, cutoff=0.8)
    meant = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"{shown(name)} is not one of {', '.join(allowed)}{meant}")


def why_absent(name: str) -> str | None:
    """Why a known algorithm is not supported; None for an unknown name."""
    return next((reason for part, reason in _ABSENT if part in name), None)


def offered(kind: Kind, written: str) -> tuple[str, ...]:
    """The supported algorithms in a list from elsewhere, such as ssh_config.

    Unknown names are ignored; a pattern stands for all names that it matches.

    Raises:
        ValueError: it leaves nothing.
    """
    operator, names = _split(written)
    allowed: tuple[str, ...] = kind.value
    if operator == "-":
        return _without(allowed, names)
    chosen = [name for pattern in names for name in allowed if matches_pattern(name, pattern)]
    kept = ",".join(dict.fromkeys(chosen))
    if kept:
        return resolve_list(kind, operator + kept)
    if operator:
        return allowed
    raise ValueError(
        f"none of {shown(written)} is supported; the supported ones are {', '.join(allowed)}"
    )
