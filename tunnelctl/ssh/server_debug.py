"""What servers say in SSH_MSG_DEBUG (RFC 4253 section 11.3), as the log has it: a host's first
lines, then one a minute with the number of those before it that were left out.

Owns how much each host may still say, whatever link it says it over: a server that ends the link
and is connected to again gets nothing new. Must never let one host fill the log.
"""

from __future__ import annotations

import logging

from tunnelctl import clock
from tunnelctl.state.throttle import Throttle

_log = logging.getLogger("tunnelctl.ssh")

AT_ONCE = 20
_SECONDS_A_LINE = 60.0
# Profiles come and go; a host that is forgotten may say its first lines again.
_HOSTS_KEPT = 1024
_throttles: dict[str, Throttle] = {}


def log_said(host: str, text: str, level: int) -> None:
    """Log at `level` what `host`, named as people know it, says; `text` is harmless and short."""
    if not _log.isEnabledFor(level):
        return
    held_back = _throttle(host).ask(clock.monotonic())
    if held_back is not None:
        more = f" ({held_back} more before it)" if held_back else ""
        _log.log(level, "%s says: %s%s", host, text, more)


def _throttle(host: str) -> Throttle:
    throttle = _throttles.pop(host, None) or Throttle(AT_ONCE, _SECONDS_A_LINE)
    _throttles[host] = throttle  # the last ones are those that spoke last
    if len(_throttles) > _HOSTS_KEPT:
        del _throttles[next(iter(_throttles))]
    return throttle
