"""Whether a server ends links without channels, as UnusedConnectionTimeout and ChannelTimeout of
sshd_config(5), `dropbear -I` and the idle timeouts of other servers do.

OpenSSH and Dropbear close such a connection without a message, as they do when a session is killed.
The policy is therefore recognized by the message of servers that send one, or by several links in a
row that end after the same time. Pure. Must never count a link as unused that had a channel when it
ended.
"""

from __future__ import annotations

import re
from enum import Enum, auto

# Seconds. Without a message, only an end well above the tolerance is evidence: young links that end
# one after another are simply lost.
LEAST_SECONDS = 8.0
# On a bad network, two links may be lost at the same age by coincidence.
_TIMES = 3
# Servers count their timeouts in whole seconds, and a busy server is a little late.
_TOLERANCE_SECONDS = 1.0
_TOLERANCE_SHARE = 0.01
_WORDS = re.compile(r"\b(idle|inactiv|unused)|no (open )?channels?\b", re.IGNORECASE)


class LinkEndKind(Enum):
    """The cause of a link's end."""

    UNUSED = auto()  # the server ends unused links
    PERHAPS_UNUSED = auto()  # possibly; only more such ends can show it
    OTHER = auto()


class UnusedEnds:
    """The record of one host's server. All times are seconds without a channel."""

    def __init__(self) -> None:
        self._before = 0.0
        self._times = 0  # number of links in a row that ended after about that time

    def judge(self, unused: float | None, said: str) -> LinkEndKind:
        """Why a link ended; call it once for each link that ended.

        `unused` is how long the link had no channel when the server closed it cleanly; None if it
        had one, or ended in another way. `said` is the message of the server, or empty.
        """
        if unused is None:
            return LinkEndKind.OTHER
        if _WORDS.search(said):
            return LinkEndKind.UNUSED
        if unused < LEAST_SECONDS:
            return LinkEndKind.OTHER
        self._times = self._times + 1 if _is_about(self._before, unused) else 1
        self._before = unused
        return LinkEndKind.UNUSED if self._times >= _TIMES else LinkEndKind.PERHAPS_UNUSED


def _is_about(before: float, now: float) -> bool:
    return abs(now - before) <= _TOLERANCE_SECONDS + _TOLERANCE_SHARE * max(before, now)
