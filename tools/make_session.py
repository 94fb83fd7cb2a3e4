"""Runs a real session and draws it as docs/session.svg, the picture in README.md.

    python -m tools.make_session [--configs DIR] [--output FILE]

Run in the project's folder. The ports in configs/dev.yaml must be free.

Owns the steps of the session, and the look of a terminal as SVG. It runs in a private home, because
it must never touch the user's daemon, files or keys. Must never draw text that no command printed.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from xml.sax.saxutils import escape

from tests.support.world import World
from tunnelctl import __version__

ROOT = Path(__file__).resolve().parents[1]
STEPS = (
    "tunnelctl up dev -d",
    "tunnelctl ps",
    'curl -s "http://$(tunnelctl port dev/hello)/"',
    "tunnelctl demo",
    "tunnelctl down dev",
)
_STEP_WITHIN = 120  # seconds

# The look of a terminal: pixels, and colours by their SGR numbers (ECMA-48, 8.3.117).
_COLUMNS = 110
_FONT, _ADVANCE, _LINE, _MARGIN = 13, 7.8, 18, 16
_PROMPT = "\x1b[94m$\x1b[0m "
_PLAIN = "#d4d4d4"
_BACKGROUND = "#1e1e1e"
_FADED = "#808080"
_COLOURS = {31: "#f14c4c", 32: "#4ec970", 33: "#e5c453", 90: _FADED, 94: "#569cd6"}
_SGR = re.compile(r"\x1b\[(\d*)m")


@dataclass(frozen=True, slots=True)
class Span:
    """Characters of one colour, and their first column."""

    column: int
    text: str
    colour: str


def main(arguments: Sequence[str]) -> int:
    """Run the steps and write the picture; if a step fails, show it and return 1."""
    parser = argparse.ArgumentParser(description="Record the session that README.md shows.")
    parser.add_argument("--configs", type=Path, default=ROOT / "configs")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "session.svg")
    options = parser.parse_args(arguments)
    try:
        lines = list(record(options.configs))
    except subprocess.CalledProcessError as error:
        print(f"$ {error.cmd}\n{error.output}exit code {error.returncode}", file=sys.stderr)
        return 1
    caption = f"tunnelctl {__version__}, {os.cpu_count()} cores, {date.today().isoformat()}"
    options.output.write_text(draw(lines, caption), encoding="utf-8")
    return 0


def record(configs: Path) -> Iterator[str]:
    """Each step with a prompt, then the lines that it printed, with their colours.

    Raises:
        CalledProcessError: a step did not end with exit code 0.
    """
    directory = Path(tempfile.mkdtemp(prefix="tctl-"))
    world = World(directory)
    try:
        for source in configs.glob("*.yaml"):
            world.profile(source.stem, source.read_text(encoding="utf-8"))
        for step in STEPS:
            yield _PROMPT + step
            yield from _run(step, world)
    finally:
        try:
            world.close()
        finally:
            shutil.rmtree(directory)


def _run(step: str, world: World) -> list[str]:
    programs = Path(sys.executable).parent  # where `tunnelctl` is installed
    done = subprocess.run(
        ["bash", "-c", step],
        cwd=world.home,
        env={
            **world.environ,
            "PATH": f"{programs}{os.pathsep}{world.environ.get('PATH', os.defpath)}",
            "FORCE_COLOR": "1",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_STEP_WITHIN,
        check=True,
    )
    return done.stdout.splitlines()


def draw(lines: Sequence[str], caption: str) -> str:
    """The lines in a terminal of 110 columns, as an SVG document."""
    rows = [row for line in lines for row in _rows(line)]
    width = round(_COLUMNS * _ADVANCE + 2 * _MARGIN)
    height = (len(rows) + 2) * _LINE + 2 * _MARGIN
    rows += [[], [Span(0, caption, _FADED)]]
    texts = "\n".join(_text(span, number) for number, row in enumerate(rows) for span in row)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" '
        f'font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" '
        f'font-size="{_FONT}" style="white-space:pre">\n'
        f'<rect width="{width}" height="{height}" rx="8" fill="{_BACKGROUND}"/>\n'
        f"{texts}\n</svg>\n"
    )


def _rows(line: str) -> list[list[Span]]:
    """One line, folded at the right edge, as spans of one colour each."""
    rows: list[list[Span]] = [[]]
    column, colour = 0, _PLAIN
    for index, part in enumerate(_SGR.split(line)):
        if index % 2:
            colour = _COLOURS.get(int(part or 0), _PLAIN)
            continue
        start = 0
        while start < len(part):
            if column == _COLUMNS:
                rows.append([])
                column = 0
            fitting = part[start : start + _COLUMNS - column]
            rows[-1].append(Span(column, fitting, colour))
            column += len(fitting)
            start += len(fitting)
    return rows


def _text(span: Span, row: int) -> str:
    # An explicit length aligns the columns in any font.
    x, y = _MARGIN + span.column * _ADVANCE, _MARGIN + (row + 1) * _LINE
    return (
        f'<text xml:space="preserve" x="{x:.1f}" y="{y}" fill="{span.colour}" '
        f'textLength="{len(span.text) * _ADVANCE:.1f}">{escape(span.text)}</text>'
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
