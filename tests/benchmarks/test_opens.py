"""The soak of opened and closed connections, a short one: the daemon is real and gives all back."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from benchmarks.opens import Holds, Opens
from tests.support.processes import sees_all


def test_a_short_soak_gives_everything_back() -> None:
    if not sees_all():
        pytest.skip("the daemon hides its memory from us: that takes CAP_SYS_PTRACE")
    # A process of its own: what starts its workers outlives a run.
    command = [sys.executable, "-m", "benchmarks.opens", "--count", "50", "--at-once", "10"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=55)
    assert done.returncode == 0, done.stderr
    found = re.search(
        r"descriptors (\d+) before, (\d+) after; threads (\d+) .* (\d+) a", done.stdout
    )
    assert found, done.stdout
    files_before, files_after, threads_before, threads_after = map(int, found.groups())
    assert 0 < files_after <= files_before
    assert 0 < threads_after <= threads_before


def test_the_slope_is_that_of_the_second_half() -> None:
    samples = [Holds(n, 1_000_000 + 5 * max(n, 500), 9, 3) for n in range(0, 1001, 100)]
    assert round(Opens(1000, 1.0, samples).slope, 6) == 5.0
    assert Opens(1000, 1.0, [Holds(0, 1, 9, 3), Holds(1000, 99, 9, 3)]).slope == 0.0
