"""One record is one line that harms no terminal."""

from __future__ import annotations

import logging
import sys

from tunnelctl.daemon.logs import OneLine


def test_control_characters_and_tracebacks_stay_in_the_line() -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, "", 1, "banner %s", ("\x1b[2J\r\n",), error)
    line = OneLine().format(record)
    assert line.isprintable()
    assert "banner \\x1b[2J\\r\\n" in line
    assert "ValueError: two\\nlines" in line
