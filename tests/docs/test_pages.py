"""README.md and docs/ say what is so: of profiles, commands, exit codes, files and dependencies."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.docs.pages import (
    PAGES,
    README,
    ROOT,
    code_spans,
    examples,
    fenced,
    links,
    section,
    table,
)
from tools import lock, make_sizes
from tunnelctl import __version__
from tunnelctl.cli.main import tunnelctl
from tunnelctl.doctor.report import Part
from tunnelctl.errors import Code
from tunnelctl.ssh.milestones import Milestone

DOCS = ROOT / "docs"
ARCHITECTURE = DOCS / "architecture.md"
STARTED = DOCS / "getting-started.md"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
# Containers of import-linter: with all their layers under a heading, and with their packages only.
DRAWN_WHOLE = {
    "tunnelctl": "Layers",
    "tunnelctl.config": "Rooms of config",
    "tunnelctl.ssh": "Rooms of ssh",
    "tunnelctl.view": "Rooms of view",
}
PACKAGES_DRAWN = ("tunnelctl.cli", "tunnelctl.daemon", "tunnelctl.state", "tunnelctl.supervisor")
# An exit code and its meaning, as the end of `tunnelctl --help` says it.
_EXIT_CODE = re.compile(r"(\d+) ([^,.]+)[,.]")


def help_text(*command: str) -> str:
    """What `tunnelctl COMMAND --help` prints, each paragraph on lines as wide as need be."""
    result = CliRunner().invoke(tunnelctl, [*command, "--help"], max_content_width=1000)
    assert result.exit_code == 0, result.output
    return result.output


def commands() -> dict[str, str]:
    """Every command that `tunnelctl --help` lists, and what it says of it."""
    _, _, listed = help_text().partition("\nCommands:\n")
    rows = [line.split(maxsplit=1) for line in listed.partition("\n\n")[0].splitlines()]
    return {row[0]: row[1] for row in rows}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    for target in links(page):
        if not target.startswith("https://"):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name}: {target}"


def test_the_profile_shown_is_the_one_in_configs() -> None:
    (shown,) = fenced(README, "yaml")
    assert shown == (ROOT / "configs" / "bastion.yaml").read_text()


def test_the_table_of_commands_is_the_helps() -> None:
    rows = table(section(README, "Commands"), "command", "does")
    assert rows == list(commands().items())


def test_the_table_of_exit_codes_is_the_helps_and_every_failure_has_its_row() -> None:
    shown = table(section(STARTED, "In scripts"), "code", "means")
    said = _EXIT_CODE.findall(" ".join(help_text().partition("Exit codes:")[2].split()))
    assert shown == said
    codes = {0} | {code.exit_code for code in Code}
    assert {int(code) for code, _ in shown} == codes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_named_in_the_text_exists_with_its_options(page: Path) -> None:
    known = commands()
    shown = [example.command for example in examples(page)]
    for span in (*code_spans(page.read_text()), *shown):
        name, *words = span.partition(" -- ")[0].split()
        if name != "tunnelctl" or not words:
            continue
        command, *arguments = words
        assert command in known, f"{page.name}: {span}"
        help_ = help_text(command)
        if "\nCommands:\n" in help_ and arguments:
            assert f"\n  {arguments[0]} " in help_, f"{page.name}: {span}"
            help_ = help_text(command, arguments.pop(0))
        for option in (each for word in arguments if word.startswith("-") for each in apart(word)):
            assert f" {option}" in help_, f"{page.name}: {span}"


def apart(word: str) -> tuple[str, ...]:
    """The options in a word: `-fNT` is three."""
    return tuple(f"-{letter}" for letter in word[1:]) if word[1:].isalpha() else (word,)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_of_a_page_is_overlooked(page: Path) -> None:
    text = page.read_text()
    marks = [line.strip() for line in text.splitlines() if line.lstrip().startswith("```")]
    languages = {mark.removeprefix("```") for mark in marks[::2]}
    # A shell's commands have one language alone, which is the one whose blocks are run.
    assert languages <= {"console", "yaml", "python", "text", "mermaid"}, page.name
    assert sum(len(fenced(page, language)) for language in languages) == len(marks) / 2
    commands_shown = [line for line in text.splitlines() if re.match(r" *\$ ", line)]
    assert [line.strip()[2:] for line in commands_shown] == [one.command for one in examples(page)]
    assert not any(line.endswith("\\") for line in commands_shown), "one line a command"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_no_test_can_run_says_why(page: Path) -> None:
    for example in examples(page):
        assert not example.why_not_run or " " in example.why_not_run, example.command


def test_the_index_lists_every_page() -> None:
    listed = {target for target in links(DOCS / "README.md") if target.endswith(".md")}
    assert listed == {page.name for page in DOCS.glob("*.md")} - {"README.md"}


def test_every_route_has_its_place_in_the_page_on_the_api() -> None:
    text = (DOCS / "api.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "tunnelctl" / "daemon").rglob("*.py"))
    routes = re.findall(r'web\.(get|post)\("([^"]+)"', source)
    assert len(routes) >= 13
    for method, path in routes:
        if path != "/healthz":
            assert f"`{method.upper()} {path}`" in text
        called = path
        for part, value in (("{name}", "dev"), ("{forward}", "hello"), ("{id}", "17")):
            called = called.replace(part, value)
        assert any(f"http://tunnelctl{called}" in one.command for one in examples(DOCS / "api.md"))


@pytest.mark.parametrize(("page", "most"), [(README, 1600), (ARCHITECTURE, 1600)])
def test_the_pages_are_short(page: Path, most: int) -> None:
    # The bars and rules of a table are no words.
    words = sum(1 for word in page.read_text().split() if word.strip("|-:`"))
    assert words <= most, f"{page.name} has {words} words; move something to a page of its own"


def test_the_page_about_size_has_every_dependency() -> None:
    page = (DOCS / "size.md").read_text()
    rows = table(page, *make_sizes.HEADER)
    assert sorted(name for name, *_ in rows) == make_sizes.direct() == sorted(make_sizes.USES)
    extras = table(page, "extra", "MB", "packages")
    assert [name for name, *_ in extras] == list(lock.EXTRAS)


def test_every_dependency_has_its_reason() -> None:
    named = [re.split(r"[<>=]", wanted)[0] for wanted in PROJECT["project"]["dependencies"]]
    rows = table(section(ARCHITECTURE, "Dependencies"), "package", "why", "where")
    assert [name for name, _, _ in rows] == named
    for name, _, where in rows:
        module = {"pyyaml": "yaml"}.get(name, name)
        assert importers(module) == ([] if where == "nothing yet" else where.split(", "))


def importers(module: str) -> list[str]:
    """The parts of tunnelctl that import a package, with their last slash when they are folders."""
    statement = re.compile(rf"^\s*(import|from) {module}\b", re.MULTILINE)
    package = ROOT / "tunnelctl"
    parts = {
        path.relative_to(package).parts
        for path in package.rglob("*.py")
        if statement.search(path.read_text())
    }
    return sorted({name if not below else f"{name}/" for name, *below in parts})


def layers_checked() -> dict[str, list[set[str]]]:
    """The layers of each container that import-linter checks, from the top."""
    return {
        container: [set(re.findall(r"\w+", layer)) for layer in contract["layers"]]
        for contract in PROJECT["tool"]["importlinter"]["contracts"]
        for container in contract.get("containers", ())
    }


def test_every_container_that_is_checked_is_drawn() -> None:
    assert set(layers_checked()) == {*DRAWN_WHOLE, *PACKAGES_DRAWN}


@pytest.mark.parametrize(("container", "heading"), DRAWN_WHOLE.items())
def test_the_layers_drawn_are_those_that_are_checked(container: str, heading: str) -> None:
    checked = layers_checked()[container]
    rows = table(section(ARCHITECTURE, heading), "layer" if heading == "Layers" else "room", "owns")
    drawn = [set(re.findall(r"\w+", layer)) for layer, _ in rows]
    assert drawn == checked


def test_every_package_of_the_other_containers_is_drawn() -> None:
    checked = {
        f"{container.removeprefix('tunnelctl.')}/{room}"
        for container in PACKAGES_DRAWN
        for room in set().union(*layers_checked()[container])
        if (ROOT / container.replace(".", "/") / room / "__init__.py").exists()
    }
    rows = table(
        section(ARCHITECTURE, "Rooms of cli, daemon, state and supervisor"), "room", "owns"
    )
    assert {room for room, _ in rows} == checked


@pytest.mark.parametrize(
    "page",
    [ARCHITECTURE, DOCS / "decisions.md", ROOT / "CONTRIBUTING.md"],
    ids=lambda page: page.name,
)
def test_every_file_named_in_the_architecture_is_there(page: Path) -> None:
    named = [
        span
        for span in code_spans(page.read_text())
        if re.fullmatch(r"[\w.]+(/[\w.]+)*/?", span) and ("/" in span or span.endswith(".py"))
    ]
    assert named
    for span in named:
        assert (ROOT / "tunnelctl" / span).exists() or (ROOT / span).exists(), span


def test_the_version_is_in_the_changelog() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_symptom_in_troubleshooting_has_its_code_and_step() -> None:
    page = ROOT / "docs" / "troubleshooting.md"
    steps = {*Part, *Milestone, "-"}
    codes = []
    for symptom, named, advice in table(page.read_text(), "symptom", "step", "what to do"):
        found = re.findall(r"`([a-z-]+)`", symptom.rpartition("(")[2])
        assert found, symptom
        assert {*named.split(", ")} <= steps, symptom
        assert advice, symptom
        codes += found
    assert len(codes) == len(set(codes))
    # These are explained by what the command itself prints.
    plain = {Code.CONFIG_INVALID, Code.NOT_UP, Code.USAGE, Code.INTERRUPTED}
    assert set(codes) == set(Code) - plain
