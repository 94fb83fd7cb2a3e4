"""A pytest plugin: the fixture `tunnelctl_open` (docs/python.md).

Owns the tunnels of a test session. Must import nothing heavy: pytest loads it for every run,
whether a test needs it or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

import tunnelctl
from tunnelctl.api.tunnels import TIMEOUT

if TYPE_CHECKING:
    from tunnelctl.api.request import FilePath


class TunnelctlOpen:
    """The type of the fixture `tunnelctl_open`: `tunnelctl.open` for a test session."""

    def __init__(self, at_end: ExitStack) -> None:
        self._at_end = at_end
        self._open: dict[object, tunnelctl.Tunnels] = {}

    def __call__(
        self,
        profile: str | None = None,
        *,
        file: FilePath | None = None,
        forwards: Sequence[str] = (),
        host: str | None = None,
        timeout: float = TIMEOUT,
        drain: float = 0.0,
        environ: Mapping[str, str] | None = None,
    ) -> tunnelctl.Tunnels:
        """Open tunnels, or return those that were opened with the same arguments before: a login
        takes longer than most tests. Those that a test has closed are opened anew.

        `drain` is 0 by default: a pool that a test left open delays nobody.

        Raises as `tunnelctl.open`.
        """
        variables = None if environ is None else frozenset(environ.items())
        asked = (profile, file, tuple(forwards), host, variables)
        if asked not in self._open or self._open[asked].is_closed:
            self._open[asked] = self._at_end.enter_context(
                tunnelctl.open(
                    profile,
                    file=file,
                    forwards=forwards,
                    host=host,
                    timeout=timeout,
                    drain=drain,
                    environ=environ,
                )
            )
        return self._open[asked]


@pytest.fixture(scope="session")
def tunnelctl_open() -> Iterator[TunnelctlOpen]:
    """Opens the tunnels of a profile; they are closed at the end of the session."""
    with ExitStack() as at_end:
        yield TunnelctlOpen(at_end)
