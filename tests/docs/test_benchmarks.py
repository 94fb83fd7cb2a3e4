"""What the README quotes of a measurement is what the last whole run wrote."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_that_the_readme_quotes_is_in_the_results() -> None:
    readme = (ROOT / "README.md").read_text()
    quoted = readme.split("<!-- benchmarks -->")[1].split("<!-- /benchmarks -->")[0]
    results = (ROOT / "benchmarks" / "results.md").read_text().splitlines()
    rows = [line for line in quoted.splitlines() if line.startswith("|")]
    assert rows
    assert [row for row in rows if row not in results] == []
