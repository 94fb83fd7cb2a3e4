"""The log of a host that fails for hours: the first cause, then summaries, ever more rarely."""

from __future__ import annotations

from tunnelctl.state.outage import Outage
from tunnelctl.state.snapshot import HostState

_MINUTE, _HOUR = 60, 3600


class Log:
    """One host's; each try is a minute after the one before."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, str]] = []  # second, remark
        self.outage = Outage()
        self.now = 0

    def tell(self, state: HostState, code: str = "", why: str = "") -> None:
        remark = self.outage.told(state, code, why, float(self.now), f"at {self.now}")
        if remark is not None:
            self.lines.append((self.now, remark))

    def fail(self, tries: int, code: str = "timed-out", why: str = "no answer") -> None:
        for _ in range(tries):
            self.tell(HostState.CONNECTING)
            self.tell(HostState.BACKOFF, code, why)
            self.now += _MINUTE


def test_first_then_after_1_5_15_minutes_then_hourly_with_a_count() -> None:
    log = Log()
    log.fail(3 * 60 + 1)
    moments = [at for at, _ in log.lines]
    # The way to the first failure, and that.
    assert moments == [0, 0, 60, 300, 900, _HOUR, 2 * _HOUR, 3 * _HOUR]
    assert log.lines[1][1] == ""
    assert log.lines[2][1] == "; 2 failed tries since at 0"
    assert log.lines[-1][1] == "; 181 failed tries since at 0"


def test_the_first_cause_is_kept_and_another_one_is_told_at_once() -> None:
    log = Log()
    log.fail(1, "timed-out", "no answer")
    log.now = 10
    log.fail(1, "name-not-found", "no such name")
    assert log.lines[-1] == (10, "; 2 failed tries since at 0, at first: no answer")
    # Two that take turns are not told each time.
    before = len(log.lines)
    for number in range(40):
        log.now = 11 + number
        log.tell(HostState.BACKOFF, ("timed-out", "name-not-found")[number % 2], "x")
    assert len(log.lines) == before


def test_the_end_is_told_and_then_all_is_news() -> None:
    log = Log()
    log.fail(30)
    log.tell(HostState.CONNECTING)
    log.tell(HostState.UP)
    assert log.lines[-1] == (log.now, "; after 30 failed tries since at 0")
    began = len(log.lines)
    log.fail(1)
    assert [remark for _, remark in log.lines[began:]] == ["", ""]


def test_who_asks_for_the_host_reads_what_comes_of_it() -> None:
    log = Log()
    log.fail(3)
    log.outage.forget()
    began = len(log.lines)
    log.fail(1)
    assert [remark for _, remark in log.lines[began:]] == ["", ""]


def test_a_try_that_comes_late_is_one_line_and_catches_up() -> None:
    log = Log()
    log.fail(1)
    log.now = 10 * _HOUR + 5
    log.fail(2)
    assert [at for at, _ in log.lines][2:] == [10 * _HOUR + 5]


def test_a_night_of_it_is_small() -> None:
    log = Log()
    log.fail(12 * 60)
    assert len(log.lines) < 20
