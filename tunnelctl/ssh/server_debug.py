"""SSH_MSG_DEBUG messages of servers (RFC 4253 section 11.3) in the log: the first lines of a host,
then one a minute with the number of suppressed ones.

Owns the limit for each host, over all its links: a server gets no new limit by ending a link. Must
never let one host fill the log.
"""

from __future__ import annotations

import logging
from typing import Final

from tunnelctl import clock
from tunnelctl.state.throttle import Throttle

_log = logging.getLogger("tunnelctl.ssh")

# How OpenSSH reports a listener that GatewayPorts moved to another address (serverloop.c and
# channels.c).
LISTENS_ELSEWHERE: Final = "Forwarding listen address"

AT_ONCE = 20
_SECONDS_A_LINE = 60.0
# Profiles come and go; a forgotten host may log its first lines again.
_HOSTS_KEPT = 1024
_throttles: dict[str, Throttle] = {}


def log_said(host: str, text: str, level: int) -> None:
    """Log at `level` a line of `host`, named as in messages; `text` is escaped and short."""
    if not _log.isEnabledFor(level):
        return
    held_back = _throttle(host).ask(clock.monotonic())
    if held_back is not None:
        more = f" ({held_back} more before it)" if held_back else ""
        _log.log(level, "%s says: %s%s", host, text, more)


def _throttle(host: str) -> Throttle:
    throttle = _throttles.pop(host, None) or Throttle(AT_ONCE, _SECONDS_A_LINE)
    _throttles[host] = throttle  # the most recent ones are last
    if len(_throttles) > _HOSTS_KEPT:
        del _throttles[next(iter(_throttles))]
    return throttle
