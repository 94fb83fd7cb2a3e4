"""docs/faults.md names tests that there are, for every fault that it has to."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT

_PAGE = ROOT / "docs" / "faults.md"
_ROWS = {
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    15,
    16,
    19,
    20,
    22,
    23,
    24,
    25,
    26,
    27,
    28,
    29,
    30,
    31,
    32,
    33,
    34,
    35,
    36,
    37,
    38,
    39,
    40,
    41,
    42,
    43,
    44,
}
_NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_fault_has_a_test_and_every_test_is_there() -> None:
    rows = [line.split("|") for line in _PAGE.read_text().splitlines() if line.startswith("| ")]
    found = {int(row[1]): _NAMED.findall(row[4]) for row in rows if row[1].strip().isdigit()}
    assert set(found) == _ROWS
    for number, tests in found.items():
        assert tests, f"row {number} has no test"
        for path, name in tests:
            text = (ROOT / path).read_text()
            assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{path}::{name}"
