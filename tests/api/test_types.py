"""A caller's program passes `mypy --strict`, and a wrong one does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import tunnelctl

RIGHT = """
import asyncio
import tunnelctl
from tunnelctl.pytest_plugin import TunnelctlOpen

def port_of(tunnelctl_open: TunnelctlOpen) -> int:
    return tunnelctl_open("dev", drain=0.5)["db"].port

with tunnelctl.open("dev", timeout=5.0) as tunnels:
    host: str = tunnels["db"].host
    port: int = tunnels["db"].port
    status: tunnelctl.ProfileDocument = tunnels.status()
    rtt: float | None = status["hosts"][0]["rtt_ms"]

async def main(forwards: list[str]) -> list[str]:
    async with tunnelctl.open_async(forwards=forwards, host="bastion") as tunnels:
        return [address.address for address in tunnels.values()]

asyncio.run(main(["-L", "5432:db:5432"]))
try:
    with tunnelctl.connect_daemon() as daemon:
        for event in daemon.events("dev"):
            kind: str = event["kind"]
except tunnelctl.Failure as failure:
    print(failure.code.upper(), failure.message.upper(), failure.hint.upper())
"""
WRONG = """
import tunnelctl

with tunnelctl.open("dev", timeout="5") as tunnels:
    port: str = tunnels["db"].port
    tunnels.status()["host"]
tunnelctl.opens()
"""


def _mypy(program: str, tmp_path: Path) -> tuple[int, str]:
    """Checks it as its author would: against the package as it is installed, by its py.typed."""
    file = tmp_path / "program.py"
    file.write_text(program)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", file.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.long
def test_a_program_is_checked_by_our_types(tmp_path: Path) -> None:
    assert _mypy(RIGHT, tmp_path) == (0, "")
    status, said = _mypy(WRONG, tmp_path)
    assert status == 1
    wrong = [line.split(":")[1] for line in said.splitlines() if ": error:" in line]
    assert wrong == ["4", "5", "6", "7"], said


def test_a_type_checker_may_read_the_package() -> None:
    assert Path(tunnelctl.__file__).with_name("py.typed").exists()


def test_every_public_name_is_there_and_documented() -> None:
    for name in tunnelctl.__all__:
        value = getattr(tunnelctl, name)
        assert isinstance(value, str) or value.__doc__, name
    assert set(tunnelctl.__all__) <= set(dir(tunnelctl))
    with pytest.raises(AttributeError, match="no attribute 'opens'"):
        tunnelctl.opens  # type: ignore[attr-defined]  # noqa: B018 - that it is not there
