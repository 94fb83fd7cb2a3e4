"""The fuzzing targets without a fuzzer: their seeds and some hundred neighbours of them find
nothing, and would find what is there."""

from __future__ import annotations

import re

import pytest

from fuzz.seeds import mutations, seeds
from fuzz.targets import TARGETS
from tunnelctl.config.yaml import yaml12
from tunnelctl.ssh.packets.ciphers import Mac
from tunnelctl.ssh.server_key.known_hosts import KnownKey
from tunnelctl.wire.connection import Connection

# A profile of this target is large each time.
_FEWER = {"profile": 60}


def run_all(name: str) -> None:
    """The seeds of a target, nothing at all, and some hundred neighbours of the seeds."""
    for data in (*seeds(name), b"", *mutations(name, count=_FEWER.get(name, 600), seed=1)):
        TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_their_neighbours(name: str) -> None:
    run_all(name)


def test_a_fault_in_the_connection_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a peer that overruns the window shows that nobody counts."""
    monkeypatch.setattr("tunnelctl.wire.window.ReceiveWindow.take", lambda self, count: None)
    with pytest.raises(AssertionError):
        run_all("connection")


def test_what_takes_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was: an expression that begins anew at every comma of a line."""
    slow = re.compile(r"[{\[,].*\$\{")

    def message(error: object, line: str, place: object) -> str:
        return "" if slow.search(line[:60_000]) else "not valid YAML"

    monkeypatch.setattr(yaml12, "_syntax_message", message)
    monkeypatch.setattr("fuzz.targets._TOO_LONG", 0.5)
    with pytest.raises(AssertionError, match=r"\d s"):
        TARGETS["profile"](seeds("profile")[1])


def test_an_exception_that_is_not_the_protocols_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Connection, "_channel", lambda self, number: self.channels[number])
    with pytest.raises(KeyError):
        run_all("connection")


class Unchecked(Mac):
    """Takes every packet for what was sent."""

    def check(self, *_: object) -> None:
        """Content with anything."""


def test_a_packet_that_is_not_checked_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.packets.Mac", Unchecked)
    with pytest.raises(AssertionError):
        run_all("packets")


def test_hashed_names_that_are_no_hash_match_nothing() -> None:
    """Found by fuzzing: base64 refuses text that is not ASCII in another way than it refuses the
    rest."""
    key = KnownKey("", "|1|\ufffd|\ufffd", "ssh-ed25519", b"", "known_hosts", 1)
    assert not key.matches("db.internal")


def test_a_pattern_of_many_stars_takes_no_time() -> None:
    """Found by fuzzing, as a hang."""
    assert not KnownKey("", "d" + "*" * 500 + "x", "ssh-ed25519", b"", "f", 1).matches("db" * 50)
    stars = "*".join("d" * 100)
    assert not KnownKey("", stars + "x", "ssh-ed25519", b"", "f", 1).matches("d" * 200)
