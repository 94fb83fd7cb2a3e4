"""PATTERNS of ssh_config(5), for names of hosts and the principals of certificates."""

from __future__ import annotations

from fnmatch import fnmatchcase


def matches_pattern(text: str, pattern: str) -> bool:
    """`*` and `?` alone are special (ssh_config(5) PATTERNS); brackets belong to `[host]:port`."""
    # Not an expression of our own: one with many `*` would take for ever, and a certificate's
    # principals come from afar.
    return fnmatchcase(text, pattern.replace("[", "[[]"))
