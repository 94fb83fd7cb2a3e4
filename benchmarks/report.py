"""Results as Markdown tables that are also readable in a terminal.

Must never compute: figures come from `results`.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.figures import COMPILED, SSH, SSH_GCM, TUNNELCTL, Figure
from benchmarks.results import Results, Verdict

_ABSENT = "-"


def report(results: Results) -> str:
    """The whole report."""
    parts = [
        "# Benchmarks",
        _circumstances(results),
        "## Medians",
        _medians(results),
        "## tunnelctl over OpenSSH's client",
        "The median of the ratios of each round.",
        _ratios(results),
        "## Aims",
        _aims(results),
    ]
    if results.missing:
        parts += ["## Not measured", _bullets(f"{k}: {v}" for k, v in results.missing.items())]
    if results.failures:
        parts += ["## Failures", _bullets(results.failures)]
    return "\n\n".join(parts) + "\n"


def _circumstances(results: Results) -> str:
    said = dict(results.circumstances)
    versions = said.pop("versions")
    lines = [f"{name}: {value}" for name, value in said.items() if not isinstance(value, dict)]
    lines.append("versions: " + " · ".join(f"{name} {value}" for name, value in versions.items()))
    return _bullets(lines)


def _medians(results: Results) -> str:
    peers = [peer for peer in results.peers if peer not in results.missing]
    rows = [
        [_named(figure), *(_number(results.median(figure.key, peer), figure) for peer in peers)]
        for figure in _measured(results)
    ]
    return _table(["", *peers], rows)


def _ratios(results: Results) -> str:
    ours = [peer for peer in (TUNNELCTL, COMPILED) if peer in results.peers]
    pairs = [(of, peer) for of in ours for peer in (SSH, SSH_GCM)]
    rows = [
        [figure.title, *(_ratio(results.ratio(figure.key, peer, of=of)) for of, peer in pairs)]
        for figure in _measured(results)
        if any(results.ratio(figure.key, SSH, of=of) is not None for of, _ in pairs)
    ]
    return _table(["", *(f"{of} over {peer}" for of, peer in pairs)], rows)


def _aims(results: Results) -> str:
    rows = [
        [
            results.figures[verdict.aim.figure].title,
            *_aim_and_value(results, verdict),
            _reached(verdict),
        ]
        for verdict in results.verdicts()
        if results.figures[verdict.aim.figure] in _measured(results)
    ]
    return _table(["", "aim", "measured", "reached"], rows)


def _aim_and_value(results: Results, verdict: Verdict) -> tuple[str, str]:
    aim = verdict.aim
    figure = results.figures[aim.figure]
    if aim.peer is None:
        text = f"{aim.sense} {aim.bound:.{figure.digits}f} {figure.unit}".strip()
        return text, f"{_number(verdict.value, figure)} {figure.unit}".strip()
    of = f", {results.figures[aim.other].title}" if aim.other else ""
    return f"{aim.sense} {aim.bound:.2f} x {aim.peer}{of}", _ratio(verdict.value)


def _reached(verdict: Verdict) -> str:
    return {True: "yes", False: "no", None: "not measured"}[verdict.reached]


def _measured(results: Results) -> list[Figure]:
    return [
        figure
        for figure in results.figures.values()
        if any(results.median(figure.key, peer) is not None for peer in results.peers)
    ]


def _named(figure: Figure) -> str:
    return f"{figure.title}, {figure.unit}" if figure.unit else figure.title


def _number(value: float | None, figure: Figure) -> str:
    return _ABSENT if value is None else f"{value:,.{figure.digits}f}"


def _ratio(value: float | None) -> str:
    return _ABSENT if value is None else f"{value:.2f}"


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _table(head: list[str], rows: list[list[str]]) -> str:
    """The first column is aligned left, all others right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        first, *rest = zip(cells, widths, strict=True)
        return " | ".join([f"| {first[0]:<{first[1]}}", *(f"{c:>{w}}" for c, w in rest)]) + " |"

    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:]), ""])
    return "\n".join([line(head), rule, *map(line, rows)])
