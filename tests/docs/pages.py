"""What the pages of the documentation say, in a form that tests can hold against the product.

Owns the reading of the Markdown that README.md and docs/ use; knows nothing of what is true.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = (README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Example:
    """One command of a ```console block, and the lines that are shown below it."""

    command: str
    output: tuple[str, ...]


def fenced(page: Path, language: str) -> list[str]:
    """The text of every fenced block of a language."""
    return [text for kind, text in _FENCE.findall(page.read_text()) if kind == language]


def examples(page: Path) -> Iterator[Example]:
    """Every command that a page shows in a ```console block, in order."""
    for block in fenced(page, "console"):
        for text in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, *output = text.splitlines()
            yield Example(command, tuple(output))


def links(page: Path) -> list[str]:
    """Where the links and pictures of a page lead."""
    return _LINK.findall(_FENCE.sub("", page.read_text()))


def code_spans(text: str) -> list[str]:
    """What stands in `backticks`, outside fenced blocks."""
    return _CODE.findall(_FENCE.sub("", text))


def section(page: Path, title: str) -> str:
    """The text between a heading of the second level and the next one."""
    _, found, rest = page.read_text().partition(f"\n## {title}\n")
    assert found, f"{page.name} has no section {title!r}"
    return rest.partition("\n## ")[0]


def table(text: str, *header: str) -> list[tuple[str, ...]]:
    """The rows of the table with this header, without backticks."""
    lines = [
        tuple(cell.strip().strip("`") for cell in line.strip("|").split("|"))
        if line.startswith("|")
        else ()
        for line in text.splitlines()
    ]
    below = lines[lines.index(header) + 2 :]
    return list(itertools.takewhile(bool, below))
