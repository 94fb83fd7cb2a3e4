"""Whether a server ends links that no channel is open on, as sshd_config(5) UnusedConnectionTimeout
and ChannelTimeout, `dropbear -I` and the idle timeouts of other servers do.

OpenSSH and Dropbear close the connection without a word, as they do when a session is killed. So it
is known by the words of a server that has some, or by a second link that ends after about the same
time. Pure; must never take a link for unused that carried a channel when it ended.
"""

from __future__ import annotations

import re

from tunnelctl.errors import Code, Failure

# Seconds. Without a word, only an end well after the tolerance shows a habit: a young link that is
# lost twice is lost.
LEAST_SECONDS = 8.0
# sshd counts in whole seconds and looks when it wakes; a server that is busy looks later.
_TOLERANCE_SECONDS = 2.0
_TOLERANCE_SHARE = 0.05
_WORDS = re.compile(r"\b(idle|inactiv|unused)|no (open )?channels?\b", re.IGNORECASE)


class UnusedEnds:
    """What is known of one host's server. All times are seconds without a channel."""

    def __init__(self) -> None:
        self._before: float | None = None

    def is_one(self, unused: float | None, said: str) -> bool:
        """Whether a link ended since nothing used it; to be asked of each link that ended.

        `unused` is how long it had no channel when the server ended it in order, None where it had
        one, or was lost in another way. `said` is the server's word on it, or empty.
        """
        if unused is None:
            return False
        if _WORDS.search(said):
            return True
        if unused < LEAST_SECONDS:
            return False
        before, self._before = self._before, unused
        return before is not None and _is_about(before, unused)


def unused_failure(title: str, unused: float, *, needed: bool) -> Failure:
    """What status says of such a server; `needed`: a forward listens there, and needs the link."""
    return Failure(
        Code.SESSION_LOST,
        f"{title} ends a link that has no open connection for {unused:.0f} s",
        "as sshd's UnusedConnectionTimeout does: a listener there needs the link, so it is made "
        "anew each time; session_type: default keeps a session open, where a shell is allowed"
        if needed
        else "as sshd's UnusedConnectionTimeout does; it is connected to when a client comes",
    )


def _is_about(before: float, now: float) -> bool:
    return abs(now - before) <= _TOLERANCE_SECONDS + _TOLERANCE_SHARE * max(before, now)
