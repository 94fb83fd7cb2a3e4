"""Files of a login that do not answer, or have no end: named within the time that there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh.clients import fails, logged_in
from tests.support.here import here
from tests.support.memory import MIB, bounded_memory
from tests.support.silent_files import dead_disk, readers, silent_pipe, written_to
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code, Failure
from tunnelctl.net import files
from tunnelctl.spec.host import StrictHostKeyChecking
from tunnelctl.ssh.server_key import known_hosts

_TRIES = 3
# Why a login fails whose file of that kind is silent.
KINDS = {
    "user_known_hosts_file": Code.TIMED_OUT,
    "global_known_hosts_file": Code.TIMED_OUT,
    "revoked_host_keys": Code.TIMED_OUT,
    "identity_file": Code.KEY_UNREADABLE,
}
ANY = ("user_known_hosts_file", "global_known_hosts_file", "revoked_host_keys")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test waits for the seconds that a person's disk is given."""
    monkeypatch.setattr(files, "_SECONDS", 0.3)


@pytest.fixture
def disk(quick: None, tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that is away."""
    with dead_disk(tmp_path / "disk"):
        yield tmp_path / "disk"


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_away_is_named(sshd: OpenSSHServer, disk: Path, kind: str) -> None:
    path = disk / "file"
    host = sshd.host(**{kind: (str(path),)})
    for _ in range(_TRIES):
        failure = fails(KINDS[kind], host)
        assert str(path) in failure.message
        assert "disk that is away" in failure.message
    assert readers(path) <= 2  # of what it has, and of whether it is there


def test_a_login_goes_without_a_certificate_on_it(sshd: OpenSSHServer, disk: Path) -> None:
    host = sshd.host(certificate_file=(str(disk / "cert"),))
    for _ in range(_TRIES):
        with logged_in(host) as transport:
            assert transport.is_authenticated()
    assert readers(disk / "cert") <= 2


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_that_nobody_writes_to_is_named(
    sshd: OpenSSHServer, tmp_path: Path, kind: str
) -> None:
    with silent_pipe(tmp_path / "pipe") as path:
        host = sshd.host(**{kind: (str(path),)})
        for _ in range(_TRIES):
            failure = fails(KINDS[kind], host)
            assert str(path) in failure.message
            assert "a pipe without a writer" in failure.message
        assert readers(path) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_that_somebody_writes_to_is_read(
    sshd: OpenSSHServer, tmp_path: Path, kind: str
) -> None:
    """As ssh does it. It is looked at as often as the file that would be there."""
    content = sshd.known_hosts.read_bytes() if "known" in kind else b"# none"
    if kind == "identity_file":
        content = Path(sshd.host().identity_file[0]).read_bytes()
    with silent_pipe(tmp_path / "pipe") as path, written_to(path, content):
        host = sshd.host(**{kind: (str(path),)})
        with logged_in(host) as transport:
            assert transport.is_authenticated()


def test_one_without_an_end_costs_little(sshd: OpenSSHServer, tmp_path: Path) -> None:
    changes = {"user_known_hosts_file": ("/dev/zero",), "identity_agent": "none"}
    none = {"global_known_hosts_file": (str(tmp_path / "none"),), **changes}
    with bounded_memory(100 * MIB):
        # As one that cannot be read: nothing is known.
        fails(Code.HOST_KEY_UNKNOWN, sshd.host(**none))
        failure = fails(Code.KEY_UNREADABLE, sshd.host(revoked_host_keys=("/dev/zero",)))
        assert (
            "cannot read revoked_host_keys /dev/zero, so no host key is accepted: it is larger than"
            in failure.message
        )
        # It is written to, and not read for what it has.
        accepted = {"strict_host_key_checking": StrictHostKeyChecking.ACCEPT_NEW, **none}
        with logged_in(sshd.host(**accepted)) as transport:
            assert transport.is_authenticated()


def test_a_key_is_not_recorded_on_a_disk_that_is_away(sshd: OpenSSHServer, disk: Path) -> None:
    host = sshd.host(user_known_hosts_file=(str(disk / "known_hosts"),))
    with pytest.raises(Failure, match="disk that is away") as caught:
        known_hosts.append(host, "ssh-ed25519", b"key", here())
    assert caught.value.code is Code.PERMISSION_DENIED
