"""Names are unique, so that a search for one finds one thing."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

CODE = Path(__file__).resolve().parents[1] / "tunnelctl"


def test_no_two_public_classes_have_the_same_name() -> None:
    names = Counter(
        node.name
        for path in CODE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert not [name for name, count in names.items() if count > 1]


def test_a_file_name_is_shared_by_a_command_and_its_route_at_most() -> None:
    names = Counter(path.name for path in CODE.rglob("*.py"))
    in_every_package = {"__init__.py", "sentences.py"}
    assert not [n for n, count in names.items() if count > 2 and n not in in_every_package]
