"""Ends the session that the last holder of a fleet's profile still has on a server (`evict: true`).

A server frees the port of a dead machine when it misses it; here its successor ends that session at
once. The holder leaves its token, and the process of its session there, in a file of the account
under a lock; a successor with a higher token ends that process. Must never end a process that is
not an sshd of the same user, nor one that was started since, nor act for a token that is not higher
than the one in the file.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shlex
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from tunnelctl.errors import Failure
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.ssh.link.link import Link
from tunnelctl.ssh.link.remote_command import run
from tunnelctl.state.documents.fleet_status import FleetStatus, Role
from tunnelctl.supervisor import sentences

_log = logging.getLogger("tunnelctl")

_WITHIN = 15.0  # seconds
# Every shell that an account may have replaces itself by the one that reads the script.
_SHELL: Final = "exec /bin/sh -s"
# POSIX sh. /proc where there is one, because slim machines have no ps. The process is known by its
# number, its start and the name of the machine, because a home may be shared by several.
_SCRIPT: Final = r"""
umask 077
folder=${XDG_STATE_HOME:-$HOME/.local/state}/tunnelctl/fleet
mkdir -p "$folder" && cd "$folder" || exit
user=$(id -u) node=$(uname -n)

look() { # at process $1
    process=$1 command= parent= owner= started=
    [ -n "$1" ] || return
    if [ -r "/proc/$1/stat" ]; then
        read -r command <"/proc/$1/comm"
        while read -r key value rest; do
            [ "$key" = Uid: ] && owner=$value
        done <"/proc/$1/status"
        stat=$(cat "/proc/$1/stat")
        set -- ${stat##*) }
        parent=$2 started=${20}
    else
        command=$(ps -o comm= -p "$1")
        command=${command##*/}
        set -- $(ps -o ppid= -o uid= -o lstart= -p "$1")
        parent=$1 owner=$2
        [ $# -lt 3 ] || { shift 2; started=$(printf %s "$@"); }
    fi
} 2>/dev/null

is_session() { # of this user
    case $command in
    sshd | sshd-session) [ "$owner" = "$user" ] && [ -n "$started" ] ;;
    *) false ;;
    esac
}

is_same() {
    look "$last"
    is_session && [ "$started" = "$began" ]
}

if command -v flock >/dev/null; then
    exec 9>"$name.lock"
    flock 9
else
    tries=0
    until mkdir "$name.held" 2>/dev/null || [ $((tries += 1)) -gt 5 ]; do sleep 1; done
    trap 'rmdir "$name.held"' EXIT
fi

look "$PPID"
for _ in 1 2 3; do is_session || look "$parent"; done
is_session || { echo "tunnelctl: nosshd"; exit; }
mine="$token $process $started $node"

highest= last= began= there=
[ ! -r "$name" ] || read -r highest last began there <"$name"
case $highest in *[!0-9]* | "") highest=0 last= ;; esac
case $last in *[!0-9]*) last= ;; esac
[ "$highest" -le "$token" ] || { echo "tunnelctl: newer $highest"; exit; }

ended=
if [ "$highest" -lt "$token" ] && [ -n "$last" ] && [ "$there" = "$node" ] && is_same; then
    kill "$last" && ended=$last
    tries=0
    while is_same && [ $((tries += 1)) -lt 20 ]; do sleep 0.1 2>/dev/null || sleep 1; done
    ! is_same || kill -9 "$last"
fi
echo "$mine" >"$name.new" && mv -f "$name.new" "$name" && echo "tunnelctl: claimed $ended"
"""
_VERDICT = re.compile(rb"^tunnelctl: (claimed|newer|nosshd) ?(\d*)\s*$", re.MULTILINE)


@dataclass(slots=True)
class Eviction:
    """For all profiles of a daemon; off without a fleet that has `evict: true`."""

    is_on: bool = False
    fleet_of: Callable[[str], FleetStatus | None] = lambda profile: None

    def concerns(self, profile: str) -> bool:
        """Whether the sessions of this profile are recorded on their servers."""
        return self.is_on and self.fleet_of(profile) is not None

    async def claim(
        self, link: Link, profile: str, host: str, warn: Callable[[Failure], None]
    ) -> None:
        """Record the session of a link that serves, and end that of an earlier holder. `warn` gets
        why this was not possible."""
        fleet = self.fleet_of(profile)
        if fleet is None or fleet.role is not Role.HOLDER or fleet.token is None:
            return
        name = "+".join(quote(part, safe="") for part in (fleet.name, profile, host))
        try:
            ended = await claimed(link, name, fleet.token, host)
        except Failure as failure:
            warn(failure)
            return
        if ended is not None:
            _log.info("%s/%s: ended session %d of the last holder", profile, host, ended)


async def claimed(link: Link, name: str, token: int, host: str) -> int | None:
    """Run the script on the server of a link, and return the number of the process that was ended,
    if there was one. `name` is that of the file, `token` this machine's.

    Raises:
        Failure: permission-denied; nothing was recorded.
    """
    script = f"name={shlex.quote(name)} token={token}\n{_SCRIPT}"
    try:
        async with asyncio.timeout(_WITHIN):
            said = await run(link, _SHELL, script.encode())
    except TimeoutError:
        raise sentences.eviction_silent(host, _WITHIN) from None
    if said is None:
        raise sentences.eviction_without_session(host)
    verdict = _VERDICT.search(said)
    if verdict is None and link.closed.done():
        return None
    if verdict is None:
        raise sentences.eviction_without_shell(host, said.decode(errors="replace"))
    if verdict[1] == b"nosshd":
        raise sentences.eviction_without_sshd(host)
    return int(verdict[2]) if verdict[1] == b"claimed" and verdict[2] else None
