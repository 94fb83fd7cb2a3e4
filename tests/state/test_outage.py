"""The log of a host that fails for hours: the first cause, then summaries, ever more rarely."""

from __future__ import annotations

from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.host.outage import Outage

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


def test_links_that_are_lost_and_made_anew_without_a_wait_are_summarised() -> None:
    log = Log()
    log.tell(HostState.UP)
    for _ in range(30):
        log.now += _MINUTE
        log.tell(HostState.CONNECTING, "session-lost", "closed")
        log.tell(HostState.UP)
    assert log.lines[:3] == [(0, ""), (60, ""), (60, "")]
    assert log.lines[3] == (120, "; went down 2 times since at 60")
    assert len(log.lines) < 12


def test_the_end_is_told_and_then_all_is_news() -> None:
    log = Log()
    log.fail(30)
    log.tell(HostState.CONNECTING)
    log.tell(HostState.UP)
    assert log.lines[-1] == (log.now, "; after 30 failed tries since at 0")
    log.now += 5 * _MINUTE
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


def flap(log: Log, times: int, code: str = "session-lost") -> None:
    """Each time up for a minute, less what it takes to come back."""
    for _ in range(times):
        log.tell(HostState.BACKOFF, code, "the link ended")
        log.now += 1
        log.tell(HostState.CONNECTING)
        log.tell(HostState.AUTHENTICATING)
        log.tell(HostState.UP)
        log.now += _MINUTE - 1


def test_a_host_that_flaps_is_told_as_one_that_fails() -> None:
    log = Log()
    flap(log, 3 * 60 + 1)
    moments = [0, 60, 300, 900, _HOUR, 2 * _HOUR, 3 * _HOUR]
    # Of each loss that is told it is told as well that the host came back.
    assert [at for at, _ in log.lines] == [at + late for at in moments for late in (0, 1)]
    assert [remark for _, remark in log.lines[:4]] == ["", "", "; went down 2 times since at 0", ""]
    assert log.lines[-2][1] == "; went down 181 times since at 0"


def test_what_was_not_logged_of_a_host_that_flapped_is_counted_later() -> None:
    log = Log()
    flap(log, 4)
    log.now += 5 * _MINUTE
    began = len(log.lines)
    flap(log, 1)
    before = "; 2 more until at 180 were not logged"
    assert [remark for _, remark in log.lines[began:]] == [before, ""]


def test_another_cause_of_a_host_that_flaps_is_told_at_once() -> None:
    log = Log()
    flap(log, 3)
    began = len(log.lines)
    flap(log, 2, "peer-silent")
    assert [remark for _, remark in log.lines[began:]] == ["; went down 4 times since at 0", ""]


def test_an_outage_of_a_host_that_flaps_is_told_when_it_lasts() -> None:
    log = Log()
    flap(log, 3)
    began, down = len(log.lines), log.now
    log.tell(HostState.BACKOFF, "session-lost", "the link ended")
    log.fail(1, "session-lost", "the link ended")
    assert log.lines[began:] == []
    log.fail(1, "session-lost", "the link ended")
    assert log.outage.is_quiet is False
    assert log.lines[began:] == [(down + _MINUTE, "; went down 4 times since at 0")]
    log.tell(HostState.UP)
    assert log.lines[-1] == (log.now, f"; after 3 failed tries since at {down}")


def test_a_night_of_flapping_is_small() -> None:
    log = Log()
    flap(log, 12 * 60)
    assert len(log.lines) < 40


def test_a_night_of_it_is_small() -> None:
    log = Log()
    log.fail(12 * 60)
    assert len(log.lines) < 20
