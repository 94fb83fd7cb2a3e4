"""The result of a soak: the verdict, a table for people, and JSON."""

from __future__ import annotations

import math
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.machine import machine
from benchmarks.soak.run import Census, Recovery, Soak

# The requirements (docs/faults.md, the soak), in seconds.
OUTAGE_P99 = 75.0
RECONNECT_P50 = 2.0
ANSWER_P99 = 0.2


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a `share` (0 to 1) of them does not exceed: the nearest rank."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def judged(soak: Soak, times: float = 1.0) -> list[str]:
    """Every requirement that was not met. Limits are multiplied by `times`, for a machine that is
    busy with other work, and for a few samples whose median may be any of them."""
    outages, reconnects = _outages(soak), _reconnects(soak)
    found = list(soak.ledger.violations)
    for name, values, share, limit in (
        ("no client was served", outages, 0.99, OUTAGE_P99),
        ("reconnect after the server is back", reconnects, 0.5, RECONNECT_P50),
        ("answer of the control socket", soak.answers, 0.99, ANSWER_P99),
    ):
        if values and (value := percentile(values, share)) > limit * times:
            found.append(f"{name}: p{share * 100:.0f} {value:.2f} s, not within {limit} s")
    return found


def document(soak: Soak) -> dict[str, Any]:
    """Everything, as JSON."""
    first, last = _oldest(soak)
    return {
        "seconds": round(soak.seconds, 1),
        "seed": soak.seed,
        "settings": asdict(soak.settings),
        "machine": {**machine(), "python": platform.python_version()},
        "connections": soak.ledger.connections,
        "bytes": soak.ledger.bytes,
        "cut": soak.ledger.cut,
        "wrong": soak.ledger.wrong,
        "faults": len(soak.recoveries),
        "outage": _spread(_outages(soak)),
        "outage_dynamic": _spread([r.dynamic for r in soak.recoveries if r.dynamic is not None]),
        "outage_remote": _spread([r.remote for r in soak.recoveries if r.remote is not None]),
        "reconnect": _spread(_reconnects(soak)),
        "answer": _spread(soak.answers),
        "census": {"first": asdict(first), "last": asdict(last), "count": len(soak.censuses)},
        "by_fault": {
            name: {"count": len(those), "lost": sum(r.lost for r in those)}
            | _spread([r.outage for r in those if r.outage is not None])
            for name, those in _by_fault(soak).items()
        },
        "violations": judged(soak),
    }


def text(soak: Soak) -> str:
    """The figures as a table."""
    told = document(soak)
    settings = soak.settings
    outage, reconnect, answer = told["outage"], told["reconnect"], told["answer"]
    first, last = _oldest(soak)
    lines = [
        f"{told['seconds'] / 60:.1f} minutes, seed {soak.seed}, {told['faults']} faults; "
        f"server_alive {settings.interval:g} s x {settings.count}, "
        f"reconnect.max {settings.reconnect_max:g} s",
        "",
        f"{'fault':<44} {'times':>5} {'link lost':>9} {'p50 s':>7} {'longest s':>9}",
    ]
    for name, row in told["by_fault"].items():
        lines.append(
            f"{name:<44} {row['count']:>5} {row['lost']:>9} "
            f"{row.get('p50', 0):>7.2f} {row.get('max', 0):>9.2f}"
        )
    lines += [
        "",
        f"{told['connections']:,} connections, {told['bytes'] / 1e9:.2f} GB came back as sent, "
        f"{told['wrong']} times something else; {told['cut']:,} ended in a reset or a refusal",
        _line("no client was served for", outage, f"p99 ≤ {OUTAGE_P99:g} s"),
        _line("the same of the remote forward", told["outage_remote"], "no aim"),
        _line("reconnect after the server is back", reconnect, f"p50 ≤ {RECONNECT_P50:g} s"),
        _line("answer of the control socket", answer, f"p99 ≤ {ANSWER_P99:g} s"),
        f"descriptors {first.files} → {last.files}, threads {first.threads} → {last.threads}, "
        f"memory {first.memory / 1e6:.1f} → {last.memory / 1e6:.1f} MB "
        f"of the daemon that lived longest, of {len({c.pid for c in soak.censuses})}",
        "",
    ]
    broken = told["violations"]
    lines += [f"violated: {violation}" for violation in broken] or ["nothing was violated"]
    return "\n".join(lines) + "\n"


def _oldest(soak: Soak) -> tuple[Census, Census]:
    """The first and the last census of the daemon that has most of them."""
    lives: dict[int, list[Census]] = {}
    for census in soak.censuses:
        lives.setdefault(census.pid, []).append(census)
    longest = max(lives.values(), key=len)
    return longest[0], longest[-1]


def _line(name: str, spread: dict[str, float], aim: str) -> str:
    if not spread:
        return f"{name}: not measured ({aim})"
    return (
        f"{name}: p50 {spread['p50']:.3f} s, p99 {spread['p99']:.3f} s, "
        f"longest {spread['max']:.3f} s ({aim})"
    )


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "p50": round(statistics.median(values), 4),
        "p99": round(percentile(values, 0.99), 4),
        "max": round(max(values), 4),
    }


def _outages(soak: Soak) -> list[float]:
    return [r.outage for r in soak.recoveries if r.outage is not None]


def _reconnects(soak: Soak) -> list[float]:
    return [r.reconnect for r in soak.recoveries if r.reconnect is not None and r.lost]


def _by_fault(soak: Soak) -> dict[str, list[Recovery]]:
    found: dict[str, list[Recovery]] = {}
    for recovery in sorted(soak.recoveries, key=lambda r: r.fault):
        found.setdefault(recovery.fault, []).append(recovery)
    return found
