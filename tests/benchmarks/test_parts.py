"""What the figures stand on: bytes that are all counted, clocks, medians and ratios."""

from __future__ import annotations

import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.effort import QUICK
from benchmarks.figures import SSH_GCM, TUNNELCTL, figures
from benchmarks.processes import cpu_seconds, private_memory, resident_memory
from benchmarks.report import report
from benchmarks.results import Results, Verdict
from benchmarks.traffic import BLOCK, connect, prepare, receive_blocks, send_blocks


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = connect(listener.getsockname()[1])
        other, _ = listener.accept()
    prepare(other)
    return one, other


def test_what_is_sent_is_what_is_received() -> None:
    one, other = pair()
    with one, other, ThreadPoolExecutor() as pool:
        received = pool.submit(receive_blocks, other)
        sent = send_blocks(one, 0.05)
        assert received.result() == sent
        assert sent >= BLOCK


def test_a_transfer_that_was_cut_is_no_figure() -> None:
    one, other = pair()
    with other:
        with one:
            one.sendall(bytes(100))
        with pytest.raises(ConnectionError):
            receive_blocks(other)


def test_processor_time_is_that_of_the_process_with_its_threads() -> None:
    before, own = cpu_seconds([os.getpid()]), time.process_time()
    thread = threading.Thread(target=lambda: sum(range(2_000_000)))
    thread.start()
    thread.join()
    used, own = cpu_seconds([os.getpid()]) - before, time.process_time() - own
    assert used == pytest.approx(own, abs=0.005)
    assert used > 0


def test_private_memory_is_a_part_of_what_is_resident() -> None:
    grown = os.urandom(8_000_000)
    assert len(grown) < private_memory([os.getpid()]) <= resident_memory([os.getpid()])


def results(ours: list[float], theirs: list[float]) -> Results:
    """Of one figure, over as many rounds."""
    found = Results({"versions": {}}, figures(QUICK), [TUNNELCTL, SSH_GCM])
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        found.add(number, TUNNELCTL, {"up": our})
        found.add(number, SSH_GCM, {"up": their})
    return found


def verdict(found: Results) -> Verdict:
    """On the aim that compares that figure with ssh gcm."""
    (one,) = (v for v in found.verdicts() if v.aim.figure == "up" and v.aim.peer == SSH_GCM)
    return one


def test_ratios_are_made_within_a_round() -> None:
    # The machine was ten times as fast in the last round.
    found = results([150, 160, 1400], [100, 100, 1000])
    assert found.median("up", TUNNELCTL) == 160
    assert found.ratio("up", SSH_GCM) == 1.5
    assert verdict(found).reached is True


def test_an_aim_that_is_missed_is_said_to_be() -> None:
    found = results([100], [100])
    assert verdict(found).reached is False
    line = next(line for line in report(found).splitlines() if "x ssh gcm |" in line)
    assert line.split("|")[-2].strip() == "no"


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    found = results([], [])
    found.add(0, TUNNELCTL, {"up": 100})
    assert verdict(found).reached is None
    assert found.median("up", SSH_GCM) is None
    line = next(line for line in report(found).splitlines() if "x ssh gcm |" in line)
    assert line.split("|")[-2].strip() == "not measured"
