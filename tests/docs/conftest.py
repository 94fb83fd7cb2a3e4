"""The profiles of configs/ in a private world, on ports that nobody else has."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.docs.pages import ROOT
from tests.support.ports import free_port
from tests.support.world import World

# The ports that configs/dev.yaml listens on. Who reads it has them free; a test machine may not.
_FIXED_PORT = re.compile(r"\b6289\d\b")


@dataclass
class Examples:
    """A world with the profiles of configs/, and texts as they read there."""

    world: World
    ports: dict[str, str]

    def moved(self, text: str) -> str:
        """The text with the fixed ports replaced by the free ones."""
        return _FIXED_PORT.sub(lambda found: self.ports[found[0]], text)


@pytest.fixture
def examples_world(world: World) -> Examples:
    """The profiles of configs/ where the command finds them, on free ports."""
    texts = {path.stem: path.read_text() for path in (ROOT / "configs").glob("*.yaml")}
    fixed = {port for text in texts.values() for port in _FIXED_PORT.findall(text)}
    moved = Examples(world, {port: str(free_port()) for port in fixed})
    for name, text in texts.items():
        world.profile(name, moved.moved(text))
    return moved
