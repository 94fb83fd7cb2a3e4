"""The packet filter of this machine, read and never changed.

Runs `nft` and `iptables-save`, whose output nftables.py and iptables.py parse; there is no result
if the user may not run them. Reports only the configuration; the reader decides whether a rule
really matches a packet.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Collection, Iterable

from tunnelctl.doctor import iptables, nftables, sentences
from tunnelctl.doctor.chains import Chain, Passage, Verdict
from tunnelctl.forward.listener import is_own
from tunnelctl.net.threads import in_thread
from tunnelctl.spec.endpoint import Endpoint

_READERS: tuple[tuple[tuple[str, ...], Callable[[str], Iterable[Chain]]], ...] = (
    (("nft", "-j", "list", "ruleset"), nftables.chains),
    (("iptables-save",), iptables.chains),
    (("ip6tables-save",), iptables.chains),
)
_PATH = "/usr/sbin:/sbin:/usr/bin:/bin"
_SECONDS = 3.0
_RULE_MAX = 120  # characters of a rule that are shown
_REFUSING = frozenset({Verdict.REJECT})
_STOPPING = frozenset({Verdict.DROP, Verdict.REJECT})


async def against(target: Endpoint, *, refused: bool = False) -> str:
    """The rule that may block a connection to `target`; empty if none is known.

    With `refused` only a rule that rejects.
    """

    def look() -> str:
        stays = target.is_loopback or is_own(target.host)
        passages = tuple(Passage) if stays else (Passage.OUT,)
        # Most firewalls accept local traffic by its interface (lo).
        by_default = not stays and not refused
        verdicts = _REFUSING if refused else _STOPPING
        return _look(target.port, passages, verdicts, by_default=by_default)

    return await in_thread(look, "read the firewall")


async def before(port: int) -> str:
    """The rule that may block other machines from a TCP port here; empty if none is known."""
    return await in_thread(
        lambda: _look(port, (Passage.IN,), _STOPPING, by_default=True), "read the firewall"
    )


def find(
    port: int,
    chains: Iterable[Chain],
    passages: Collection[Passage] = tuple(Passage),
    verdicts: Collection[Verdict] = _STOPPING,
    *,
    by_default: bool = False,
) -> str:
    """The first rule for the TCP port with one of `verdicts`, as text.

    With `by_default` also a chain whose policy drops, if none of its rules names the port. Empty if
    there is neither.
    """
    met = [chain for chain in chains if chain.passages & set(passages)]
    named = [rule for chain in met for rule in chain.rules if rule.names(port)]
    for rule in named:
        if rule.verdict in verdicts:
            return rule.text[:_RULE_MAX]
    if by_default and not named:
        dropping = next((chain.name for chain in met if chain.drops_the_rest), "")
        if dropping:
            return sentences.drops_by_default(dropping, port)
    return ""


def _look(
    port: int, passages: Collection[Passage], verdicts: Collection[Verdict], *, by_default: bool
) -> str:
    for command, read in _READERS:
        if found := find(port, read(_listing(command)), passages, verdicts, by_default=by_default):
            return found
    return ""


def _listing(words: tuple[str, ...]) -> str:
    program = shutil.which(words[0], path=_PATH)
    if program is None:
        return ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(  # noqa: S603 - our own words, no shell
            (program, *words[1:]),
            env={"PATH": _PATH},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        ).stdout
    return ""
