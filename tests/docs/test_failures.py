"""Every failure is rendered once, so that the language can be read and edited as a whole."""

from __future__ import annotations

from tools import make_failures


def test_the_sentences_are_those_that_were_read() -> None:
    """A sentence without a sample, or one that changed, fails here."""
    assert make_failures.PAGE.read_text() == make_failures.page(), "python -m tools.make_failures"
