"""A server without a common algorithm: what each side offers, and what to do on either.

Owns the comparison of two KEXINITs for a message, and the failure. Must never decide what is
negotiated: the Transport does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tunnelctl.errors import Failure, Hint
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.algorithms import CIPHERS, HOST_KEY_ALGORITHMS, KEX_ALGORITHMS, MACS
from tunnelctl.spec.host import Host
from tunnelctl.ssh import sentences
from tunnelctl.ssh.packets.kexinit import List, Names, Proposal
from tunnelctl.ssh.sentences import excerpt

_LISTED = 400  # characters of one list, which may be very long


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A list in which the two sides have no name in common."""

    which: List
    ours: Names
    theirs: Names


@dataclass(frozen=True, slots=True)
class _Kind:
    """The name of a list: in a message, in a profile and in sshd_config(5).

    `known` is the most widely known one of our names, because sshd does not start with an unknown
    one.
    """

    title: str
    key: str
    option: str
    allowed: Names
    known: str


_KEX = _Kind(
    "key exchange method", "kex_algorithms", "KexAlgorithms", KEX_ALGORITHMS, "curve25519-sha256"
)
_HOST_KEYS = _Kind(
    "host key algorithm",
    "host_key_algorithms",
    "HostKeyAlgorithms",
    HOST_KEY_ALGORITHMS,
    "ssh-ed25519",
)
_CIPHERS = _Kind("cipher", "ciphers", "Ciphers", CIPHERS, "aes128-gcm@openssh.com")
_MACS = _Kind("MAC", "macs", "MACs", MACS, "hmac-sha2-256-etm@openssh.com")
# Compression is never offered, and every server must do without it (RFC 4253 section 6.2).
_NO_COMPRESSION = _Kind("compression", "", "Compression", ("none",), "none")
_KINDS = {
    List.KEX: _KEX,
    List.HOST_KEYS: _HOST_KEYS,
    List.CIPHERS_TO_SERVER: _CIPHERS,
    List.CIPHERS_TO_CLIENT: _CIPHERS,
    List.MACS_TO_SERVER: _MACS,
    List.MACS_TO_CLIENT: _MACS,
    List.COMPRESSIONS_TO_SERVER: _NO_COMPRESSION,
    List.COMPRESSIONS_TO_CLIENT: _NO_COMPRESSION,
}
_CIPHER_OF = {
    List.MACS_TO_SERVER: List.CIPHERS_TO_SERVER,
    List.MACS_TO_CLIENT: List.CIPHERS_TO_CLIENT,
}


def mismatches(
    ours: Proposal, theirs: Proposal, authenticates: Callable[[str | None], bool]
) -> Iterator[Mismatch]:
    """The lists without a common name, one for two directions with the same. No MAC is needed if
    the negotiated cipher `authenticates` by itself."""
    seen = set()
    for which, kind in _KINDS.items():
        mine, others = ours.lists[which], theirs.lists[which]
        if set(mine) & set(others) or (kind, others) in seen:
            continue
        if (ciphers := _CIPHER_OF.get(which)) is not None:
            agreed = (name for name in ours.lists[ciphers] if name in theirs.lists[ciphers])
            if authenticates(next(agreed, None)):
                continue
        seen.add((kind, others))
        yield Mismatch(which, mine, others)


def failure(host: Host, found: list[Mismatch], server: str) -> Failure:
    """`incompatible-peer`, with both lists of each kind. `server` is the server's version line."""
    return sentences.nothing_in_common(
        host, list(map(_lists, found)), [_remedy(host, each, "OpenSSH" in server) for each in found]
    )


def _lists(mismatch: Mismatch) -> str:
    kind = _KINDS[mismatch.which]
    ours = ", ".join(mismatch.ours) or "none"  # paramiko may lack everything that the profile names
    theirs = excerpt(", ".join(mismatch.theirs), _LISTED) or "none"
    return sentences.no_common_algorithm(kind.title, ours, theirs)


def _remedy(host: Host, mismatch: Mismatch, is_openssh: bool) -> Hint:
    """The change to make here, if the profile or ssh_config is too strict, or on the server."""
    kind = _KINDS[mismatch.which]
    name = kind.known if kind.known in mismatch.ours else next(iter(mismatch.ours), kind.known)
    if kind is _HOST_KEYS:
        there = sentences.create_host_key(name, is_openssh=is_openssh)
    elif is_openssh and kind.key:
        there = sentences.allow_in_sshd_config(kind.option, name)
    else:
        there = sentences.allow_on_server(kind.title, name)
    here = next((name for name in mismatch.theirs if name in kind.allowed), None)
    if here is not None:
        return sentences.allow_here_or(there, host, kind.key, here)
    return sentences.allow_there_only(there)
