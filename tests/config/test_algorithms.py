"""The lists of ssh_config(5), against what is offered at all."""

from __future__ import annotations

import pytest

from tests.config.conftest import Folder
from tunnelctl.spec.algorithms import CIPHERS


@pytest.mark.parametrize(
    ("written", "ciphers"),
    [
        ("aes256-ctr", ("aes256-ctr",)),
        ("[aes256-ctr, aes128-ctr]", ("aes256-ctr", "aes128-ctr")),
        ("'aes256-ctr,aes256-ctr'", ("aes256-ctr",)),
        ("+aes256-ctr", CIPHERS),
        ("-aes256-ctr", tuple(name for name in CIPHERS if name != "aes256-ctr")),
        (
            '"-*-ctr"',
            ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"),
        ),
        ('"-aes???-ctr,*256*,chacha*"', ("aes128-gcm@openssh.com",)),
        ("-3des-cbc", CIPHERS),
        (
            "'^aes256-ctr,aes128-ctr'",
            (
                "aes256-ctr",
                "aes128-ctr",
                "aes128-gcm@openssh.com",
                "aes256-gcm@openssh.com",
                "chacha20-poly1305@openssh.com",
                "aes192-ctr",
            ),
        ),
    ],
)
def test_a_list_replaces_adds_takes_away_or_puts_first(
    folder: Folder, written: str, ciphers: tuple[str, ...]
) -> None:
    assert folder.host(f"ciphers: {written}").ciphers == ciphers


def test_a_bracket_in_a_pattern_is_a_bracket(folder: Folder) -> None:
    assert folder.host('ciphers: "-aes[12]*"').ciphers == CIPHERS
