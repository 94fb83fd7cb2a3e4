"""The benchmark of many hosts, with a few: the daemon, the outage and the picture are real."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from benchmarks import scale

# As on any machine that is busy with other tests; a whole run says what it really takes.
_WITHIN = 30.0


def test_a_few_hosts_come_up_and_come_back_and_are_drawn() -> None:
    measured = scale.measure(hosts=5, forwards=12, away=0.5, clients=3)
    assert 0 < measured.up < _WITHIN
    assert 0 < measured.ps < measured.up + _WITHIN
    assert 0 < measured.back < _WITHIN
    assert measured.clients == 3
    assert measured.refused == 0
    # Each tried at least once, none before its server was gone, all over more than a moment.
    assert len(measured.tries) >= 5
    assert all(at >= 0 for at in measured.tries)
    assert sum(scale.spans(measured.tries)) == len(measured.tries)
    assert measured.busiest == max(scale.spans(measured.tries))
    said = scale.text(measured)
    assert "5 hosts, 12 forwards" in said
    picture = ElementTree.fromstring(scale.svg(measured))
    bars = [e for e in picture.iter() if e.tag.endswith("rect")]
    assert len(bars) == sum(count > 0 for count in scale.spans(measured.tries))
