"""What the pages of the documentation say, in a form that tests can hold against the product.

Owns the reading of the Markdown that README.md and docs/ use; knows nothing of what is true.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = (
    README,
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
)

_NOT_RUN = r"(?:^<!-- not run: (?P<why>.+?) -->\n)?"
_FENCE = re.compile(
    _NOT_RUN + r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_FILE = re.compile(r"# configs/([a-z0-9.-]+)\.yaml\n")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Example:
    """One command of a ```console block, and the lines that are shown below it.

    `why_not_run` is the reason that the page gives for a block that no test can run.
    """

    command: str
    output: tuple[str, ...]
    why_not_run: str = ""


@dataclass(frozen=True)
class ProfileFile:
    """A profile that a page shows with its name."""

    name: str
    text: str


def fenced(page: Path, language: str) -> list[str]:
    """The text of every fenced block of a language."""
    found = _FENCE.finditer(page.read_text())
    return [block["text"] for block in found if block["language"] == language]


def steps(page: Path) -> Iterator[Example | ProfileFile]:
    """Every command that a page shows in a ```console block, and every profile that it has one
    write (a block that begins with the name of its file), in order."""
    for block in _FENCE.finditer(page.read_text()):
        named = _FILE.match(block["text"])
        if block["language"] == "yaml" and named is not None:
            yield ProfileFile(named[1], block["text"])
        if block["language"] != "console":
            continue
        lines = textwrap.dedent(block["text"])
        for text in re.split(r"^\$ ", lines, flags=re.MULTILINE)[1:]:
            command, *output = text.splitlines()
            yield Example(command, tuple(output), block["why"] or "")


def examples(page: Path) -> Iterator[Example]:
    """Every command of a page, in order."""
    return (step for step in steps(page) if isinstance(step, Example))


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
