"""The benchmark of outages, with one peer: the kills, the client that waits and the report."""

from __future__ import annotations

import re
import subprocess
import sys

from benchmarks import outage


def test_a_client_that_waits_is_served_after_each_of_three_outages() -> None:
    # A process of its own: what starts its workers outlives a run.
    command = [sys.executable, "-m", "benchmarks.outage", "--rounds", "1", "--peer", "tunnelctl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr
    assert "| tunnelctl | reset | waits |" in done.stdout
    assert re.search(r"^- tunnelctl: \d+\.\d\d \d+\.\d\d \d+\.\d\d$", done.stdout, re.MULTILINE)


def test_a_client_that_was_never_served_is_no_median() -> None:
    served, never = (outage.Outage("looks complete", "refused", back) for back in (0.5, None))
    report = outage.report({"ssh": [[never]], "autossh": [[served, never]]})
    assert "| ssh | looks complete | refused | never |" in report
    assert "0.5 s (0.5 to 0.5), 1 times never" in report
    assert "- autossh: 0.50 never" in report
