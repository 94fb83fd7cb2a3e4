"""Writes docs/algorithms.md from the allow-lists and from the reasons why others are absent.

    python -m tools.make_algorithms

From the project's folder. Must never say that something is offered which the code does not offer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tunnelctl.config.values.algorithms import Kind, why_absent

PAGE = Path(__file__).resolve().parents[1] / "docs" / "algorithms.md"

_INTRODUCTION = """\
# Algorithms

Written by `python -m tools.make_algorithms` from the code; a test holds this page to it, and to
what `ssh -Q` of the machine that runs the test lists. The number is the place in our order: of
what both sides have, the client's first is taken (RFC 4253 section 7.1). A profile's `ciphers`,
`kex_algorithms`, `macs` and `host_key_algorithms`, and ssh_config's `Ciphers` and so on, choose
among what has a number and change the order; nothing brings back the others. The embedded server
offers the same.

- AES-GCM is first: it needs no MAC, and the data path seals and opens it in place.
  `chacha20-poly1305@openssh.com` is handled the same way, and taken where a server has no GCM, as
  Dropbear and TinySSH.
- A cipher that authenticates by itself (GCM, chacha20-poly1305) needs no MAC in common.
- Strict key exchange (CVE-2023-48795, Terrapin) is always offered, and used where the server has
  it. Where it does not, an attacker in the middle can take away the server's first messages under
  `chacha20-poly1305@openssh.com` or an `-etm` MAC. They say which signatures the server takes,
  and none of ours uses SHA-1. To rule it out, put `ciphers: -chacha20*` and `macs: -*-etm*` into
  the profile.
- Host keys that are known for a server go before the others, certificates where an authority is
  known ([login.md](login.md)).
- `umac` and `sntrup761` are absent because the cryptography package does not have them, not
  because they are unsafe. A server has nothing else only where its configuration says so.

| | algorithm | |
|---|---|---|
"""
_TITLES = {
    Kind.CIPHERS: "cipher",
    Kind.KEX_ALGORITHMS: "key exchange",
    Kind.MACS: "MAC",
    Kind.HOST_KEY_ALGORITHMS: "host key",
}
_ETM = "-etm@openssh.com"
# What OpenSSH up to 10.5, Dropbear and libssh have besides.
_OTHERS = {
    Kind.CIPHERS: ("aes256-cbc", "aes192-cbc", "aes128-cbc", "3des-cbc", "arcfour"),
    Kind.KEX_ALGORITHMS: (
        "sntrup761x25519-sha512",
        "sntrup761x25519-sha512@openssh.com",
        "mlkem768nistp256-sha256",
        "diffie-hellman-group-exchange-sha1",
        "diffie-hellman-group14-sha1",
        "diffie-hellman-group1-sha1",
    ),
    Kind.MACS: tuple(
        name + also for name in ("umac-64", "umac-128") for also in ("@openssh.com", _ETM)
    )
    + tuple(
        name + also
        for name in ("hmac-sha1", "hmac-sha1-96", "hmac-md5", "hmac-md5-96")
        for also in ("", _ETM)
    ),
    Kind.HOST_KEY_ALGORITHMS: tuple(
        name.replace("@", "-cert-v01@") if also and "@" in name else name + also
        for name in (
            "sk-ssh-ed25519@openssh.com",
            "sk-ecdsa-sha2-nistp256@openssh.com",
            "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
            "ssh-mldsa44-ed25519@openssh.com",
            "ssh-rsa",
            "ssh-dss",
        )
        for also in ("", "-cert-v01@openssh.com")
    ),
}


def page() -> str:
    """The whole page."""
    return _INTRODUCTION + "".join(f"{row}\n" for kind in Kind for row in _rows(kind))


def _rows(kind: Kind) -> Iterator[str]:
    for place, name in enumerate(kind.value, 1):
        yield f"| {_TITLES[kind]} | `{name}` | {place} |"
    for name in _OTHERS[kind]:
        reason = why_absent(name)
        assert reason is not None, name
        yield f"| {_TITLES[kind]} | `{name}` | absent: {reason} |"


if __name__ == "__main__":
    PAGE.write_text(page())
