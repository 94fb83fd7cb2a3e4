"""Forwards that the page opens without a profile: the command `up -L … HOST` itself.

The dashboard runs the command that the page shows, so both do the same and say the same. Must never
pass on anything but forwards and the name of a host: other options of ssh run programs.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Mapping
from typing import Any

from tunnelctl.dashboard import sentences
from tunnelctl.spec.environment import Environment

_OPTIONS = ("-L", "-R", "-D")
_FORWARDS = 20
_CHARACTERS = 1024  # of one word
_LINES = 20  # of what the command says
_WAIT = "20s"  # until it is ready; it keeps trying after that


def words_of(order: Mapping[str, Any]) -> list[str]:
    """The arguments of `tunnelctl` for `{"forwards": [["-L", "5432:db:5432"], …], "host": …}`.

    Raises:
        Failure: USAGE, it is invalid.
    """
    forwards, host = order.get("forwards"), order.get("host")
    if set(order) != {"forwards", "host"} or not isinstance(forwards, list):
        raise sentences.not_forwards_and_host()
    if not 0 < len(forwards) <= _FORWARDS:
        raise sentences.too_many_forwards(_FORWARDS)
    words = ["up", "-d"]
    for forward in forwards:
        if not isinstance(forward, list) or len(forward) != 2 or forward[0] not in _OPTIONS:
            raise sentences.not_a_forward()
        words += [forward[0], _word(forward[1], "SPEC")]
    return [*words, _word(host, "host")]


def _word(value: object, name: str) -> str:
    if not isinstance(value, str) or not value.isprintable() or not 0 < len(value) <= _CHARACTERS:
        raise sentences.not_an_argument(name, _CHARACTERS)
    if value.startswith("-") or value != value.strip():
        raise sentences.reads_as_an_option(name)
    return value


async def opened(words: list[str], environment: Environment) -> dict[str, Any]:
    """Run `tunnelctl` with these words to its end: `command`, `exit_code`, and what it `said`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tunnelctl", *words, "--wait-timeout", _WAIT),
        env=environment.to_bytes(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # it has no terminal: nobody would answer there
    )
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:  # the browser left; what was ordered stays wanted
        process.kill()
        await process.wait()
        raise
    lines = said.decode(errors="replace").splitlines()
    return {
        "command": f"tunnelctl {shlex.join(words)}",
        "exit_code": process.returncode,
        "said": lines[-_LINES:],
    }
