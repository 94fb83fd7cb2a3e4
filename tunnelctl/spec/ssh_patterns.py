"""PATTERNS of ssh_config(5): names of hosts and users, algorithms, the principals of certificates.

Owns their wildcards, which are fewer than the shell's (patterns.py).
"""

from __future__ import annotations

from fnmatch import fnmatchcase


def matches_pattern(text: str, pattern: str) -> bool:
    """Only `*` and `?` are special (ssh_config(5) PATTERNS); brackets belong to `[host]:port`."""
    # Not a regular expression: one with many `*` would take exponential time, and a certificate's
    # principals come from a peer.
    return fnmatchcase(text, pattern.replace("[", "[[]"))
