"""A flood of the same news is told, but not one by one."""

from __future__ import annotations

from tunnelctl.state.throttle import LogThrottle, Throttle


def test_a_flood_is_told_now_and_then_and_nothing_is_lost() -> None:
    throttle = Throttle()
    answers = [throttle.ask(10 + index / 1000) for index in range(3000)]
    told = [answer for answer in answers if answer is not None]
    assert 5 <= len(told) <= 9
    assert told[:5] == [0] * 5
    last = throttle.ask(20.0)
    assert last is not None
    assert sum(told) + last + len(told) == 3000


def test_what_comes_now_and_then_is_told_each_time() -> None:
    throttle = Throttle()
    assert [throttle.ask(10.0 + 2 * index) for index in range(20)] == [0] * 20


def test_the_log_has_the_first_and_then_one_a_minute() -> None:
    log = LogThrottle()
    remarks = [log.remark("lines", float(second)) for second in range(3600)]
    told = [remark for remark in remarks if remark is not None]
    assert told[: LogThrottle.AT_ONCE] == [""] * LogThrottle.AT_ONCE
    assert 55 <= len(told) - LogThrottle.AT_ONCE <= 62
    assert told[-1] == "; the log has not 59 lines before it"
