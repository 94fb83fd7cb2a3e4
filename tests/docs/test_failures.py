"""Every failure is rendered once, so that the language can be read and edited as a whole."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tools import make_failures

CODE = Path(__file__).resolve().parents[2] / "tunnelctl"
HOMES = (CODE / "errors.py",)  # the hints that the sentences of several layers share


def test_the_sentences_are_those_that_were_read() -> None:
    """A sentence without a sample, or one that changed, fails here."""
    assert make_failures.PAGE.read_text() == make_failures.page(), "python -m tools.make_failures"


def test_no_sentence_is_written_elsewhere() -> None:
    elsewhere = [
        f"{path.relative_to(CODE)}:{line}"
        for path in sorted(CODE.rglob("*.py"))
        if path not in HOMES and not path.stem.endswith("sentences")
        for line in _written_in_place(ast.parse(path.read_text()))
    ]
    assert not elsewhere, "these belong into the sentences module of their layer"


def test_what_is_written_in_place_is_seen() -> None:
    for text in (
        "Failure(Code.USAGE, 'the body must be JSON')",
        "Failure(Code.USAGE, f'unknown key {key}')",
        "failure.but(detail='it is ' + why)",
        "web.HTTPForbidden(text='another site')",
    ):
        assert list(_written_in_place(ast.parse(text))) == [1], text
    assert not list(_written_in_place(ast.parse("web.HTTPForbidden(text=sentences.read_only())")))


def _written_in_place(tree: ast.AST) -> Iterator[int]:
    """The lines where a failure, a hint or an HTTP refusal is made of a text of several words."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _makes_a_refusal(node.func):
            arguments = (*node.args, *(keyword.value for keyword in node.keywords))
            if any(" " in text for argument in arguments for text in _texts(argument)):
                yield node.lineno


def _makes_a_refusal(function: ast.expr) -> bool:
    name = ast.unparse(function).rpartition(".")[2]
    return name in ("Failure", "Hint", "edit", "but", "and_hints") or name.startswith("HTTP")


def _texts(argument: ast.expr) -> Iterator[str]:
    """The literals in an argument, without those of calls in it."""
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    elif not isinstance(argument, ast.Call):
        for child in ast.iter_child_nodes(argument):
            if isinstance(child, ast.expr):
                yield from _texts(child)
