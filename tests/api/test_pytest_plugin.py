"""The fixture `tunnelctl_open`; docs/python.md has a test that uses it, which is run."""

from __future__ import annotations

import inspect
import shutil
from contextlib import ExitStack
from pathlib import Path

import tunnelctl
from tests.support.ports import is_listening
from tunnelctl.pytest_plugin import TunnelctlOpen


def test_the_same_arguments_are_the_same_tunnels_until_the_end(hello: Path) -> None:
    other = Path(shutil.copy(hello, hello.with_name("other.yaml")))
    with ExitStack() as session:
        tunnelctl_open = TunnelctlOpen(session)
        tunnels = tunnelctl_open(file=hello)
        assert tunnelctl_open(file=hello) is tunnels
        assert tunnelctl_open(file=other) is not tunnels
        ports = [tunnelctl_open(file=file)["hello"].port for file in (hello, other)]
        assert all(map(is_listening, ports))
    assert not any(map(is_listening, ports))


def test_tunnels_that_a_test_closed_are_opened_anew(hello: Path) -> None:
    with ExitStack() as session:
        tunnelctl_open = TunnelctlOpen(session)
        for _ in range(2):
            with tunnelctl_open(file=hello) as tunnels:
                assert is_listening(tunnels["hello"].port)


def test_it_takes_the_arguments_of_open() -> None:
    taken = dict(inspect.signature(TunnelctlOpen.__call__).parameters)
    del taken["self"]
    assert list(taken) == list(inspect.signature(tunnelctl.open).parameters)
