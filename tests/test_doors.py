"""What a program inherits comes with an order: nothing behind the doors asks this process for it.

The doors are the command line, the client that starts a daemon, the API for programs in Python, and
`__main__`. Behind them an Environment is a value that is handed on.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import tunnelctl

ROOT = Path(tunnelctl.__file__).parent
DOORS = {"api", "cli", "client", "sshtunnel", "__main__.py"}
# Each reads the environment of this process, or something of it, where nobody sees it.
FORBIDDEN = {
    "environ", "environb", "getenv", "getenvb", "putenv", "expanduser", "expandvars", "getlogin",
}  # fmt: skip
# By these a program may be started, or found, in another environment than this process has.
NEEDS = {"Popen": "env", "run": "env", "which": "path"}


def _modules() -> Iterator[Path]:
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] not in DOORS:
            yield path


def _found(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN:
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                continue
            yield node.lineno, node.attr
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from ((node.lineno, each.name) for each in node.names if each.name in FORBIDDEN)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in (
            "Path.home",
            "pathlib.Path.home",
        ):
            yield node.lineno, "Path.home"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            is_program = ast.unparse(node.func.value) in ("subprocess", "shutil")
            needed = NEEDS.get(node.func.attr) if is_program else None
            if needed is not None and needed not in {each.arg for each in node.keywords}:
                yield node.lineno, f"{node.func.attr} without {needed}="


def test_nothing_behind_the_doors_reads_the_environment_of_this_process() -> None:
    read = [
        f"{path.relative_to(ROOT)}:{line}: {what}"
        for path in _modules()
        for line, what in _found(ast.parse(path.read_text()))
    ]
    assert read == []


def test_what_reads_it_is_seen() -> None:
    for text in (
        "import os\nos.environ['HOME']",
        "from os import environ",
        "Path('~').expanduser()",
        "os.path.expanduser('~')",
        "Path.home()",
        "shutil.which('ssh')",
        "subprocess.run(['ssh'])",
    ):
        assert list(_found(ast.parse(text))), text
