"""Fixtures of this room: a home and an agent of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.agent import RunningAgent


@pytest.fixture
def own_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home without keys, which the test may write in, and no agent."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


@pytest.fixture
def agent(no_leaks: None, tmp_path: Path) -> Iterator[RunningAgent]:
    """A running ssh-agent that has no key yet."""
    running = RunningAgent(tmp_path / "agent")
    yield running
    running.stop()
