"""Whether a server ends links that no channel is open on, as sshd_config(5) UnusedConnectionTimeout
and ChannelTimeout, `dropbear -I` and the idle timeouts of other servers do.

OpenSSH and Dropbear close the connection without a word, as they do when a session is killed. So
the habit is known by the words of a server that has some, or by several links in a row that end
after the same time. Pure; must never take a link for unused that carried a channel when it ended.
"""

from __future__ import annotations

import re
from enum import Enum, auto

# Seconds. Without a word, only an end well after the tolerance shows a habit: young links that are
# lost one after another are lost.
LEAST_SECONDS = 8.0
# Two links that were lost at the same age are a coincidence that a bad network brings about.
_TIMES = 3
# Timers of servers count in whole seconds; a server that is busy is late by a little.
_TOLERANCE_SECONDS = 1.0
_TOLERANCE_SHARE = 0.01
_WORDS = re.compile(r"\b(idle|inactiv|unused)|no (open )?channels?\b", re.IGNORECASE)


class Verdict(Enum):
    """Why a link ended."""

    UNUSED = auto()  # its server ends those that nothing uses
    PERHAPS_UNUSED = auto()  # it may be that, which only more such ends can show
    OTHER = auto()


class UnusedEnds:
    """What is known of one host's server. All times are seconds without a channel."""

    def __init__(self) -> None:
        self._before = 0.0
        self._times = 0  # that a link ended after about that time, in a row

    def judge(self, unused: float | None, said: str) -> Verdict:
        """Why a link ended; to be asked once of each link that ended.

        `unused` is how long it had no channel when the server ended it in order, None where it had
        one, or was lost in another way. `said` is the server's word on it, or empty.
        """
        if unused is None:
            return Verdict.OTHER
        if _WORDS.search(said):
            return Verdict.UNUSED
        if unused < LEAST_SECONDS:
            return Verdict.OTHER
        self._times = self._times + 1 if _is_about(self._before, unused) else 1
        self._before = unused
        return Verdict.UNUSED if self._times >= _TIMES else Verdict.PERHAPS_UNUSED


def _is_about(before: float, now: float) -> bool:
    return abs(now - before) <= _TOLERANCE_SECONDS + _TOLERANCE_SHARE * max(before, now)
