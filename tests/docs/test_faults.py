"""docs/faults.md names a test that exists for every fault, and every module of tests/faults."""

from __future__ import annotations

import re

from tests.docs.pages import ROOT, table

_PAGE = ROOT / "docs" / "faults.md"
_NAMED = re.compile(r"`?(tests/[\w/]+\.py)::(\w+)`?")
_LEAST_ROWS = 35


def test_every_fault_has_a_test_and_every_test_exists() -> None:
    rows = table(_PAGE.read_text(), "fault", "what must hold", "tests")
    assert len(rows) >= _LEAST_ROWS
    for fault, _, tests in rows:
        named = _NAMED.findall(tests)
        assert named, f"no test for: {fault}"
        for path, name in named:
            text = (ROOT / path).read_text()
            assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{path}::{name}"


def test_every_module_of_faults_is_named() -> None:
    text = _PAGE.read_text()
    modules = sorted((ROOT / "tests" / "faults").glob("test_*.py"))
    assert modules
    for module in modules:
        assert f"`tests/faults/{module.name}::" in text, module.name
