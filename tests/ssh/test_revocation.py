"""Keys that are revoked in a file of their own, in both forms that OpenSSH has for it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ssh.clients import fails, logged_in
from tests.support.certificates import Authority, blob_of, ssh_keygen
from tests.support.here import here
from tests.support.keys import KeyKind, write_key
from tests.support.sshd import OpenSSHServer
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import Host
from tunnelctl.ssh.server_key.revocation import is_revoked
from tunnelctl.ssh.server_key.verify import verify

HOST = Host("b", "b.example")
# What makes a file that revokes public keys; they are given by their files.
Form = Callable[..., Path]


def as_text(file: Path, *publics: Path) -> Path:
    lines = (f"{public.read_text().strip()} a comment\n" for public in publics)
    file.write_text("# revoked\n\n" + "".join(lines))
    return file


def as_list(file: Path, *publics: Path) -> Path:
    ssh_keygen("-q", "-k", "-f", str(file), *map(str, publics))
    return file


FORMS = pytest.mark.parametrize("form", [as_text, as_list])


def _public(directory: Path, name: str) -> Path:
    write_key(directory / name, KeyKind.ED25519)
    return directory / f"{name}.pub"


@FORMS
def test_a_server_with_a_revoked_key_is_refused(
    sshd: OpenSSHServer, tmp_path: Path, form: Form
) -> None:
    revoked = _public(tmp_path, "mine")
    host = sshd.host(revoked_host_keys=(str(form(tmp_path / "revoked", revoked)),))
    with logged_in(host) as transport:
        assert transport.is_authenticated()
    revoked.write_text("".join(f"{key}\n" for key in sshd.host_keys))
    form(tmp_path / "revoked", revoked)
    failure = fails(Code.HOST_KEY_CHANGED, host)
    assert f"is revoked by {tmp_path / 'revoked'}" in failure.message


def test_one_of_several_files_is_enough(tmp_path: Path) -> None:
    """OpenSSH sshconnect.c, check_host_key: one after the other, in whichever form each is."""
    key, other = _public(tmp_path, "key"), _public(tmp_path, "other")
    known = tmp_path / "known_hosts"
    known.write_text(f"b.example {key.read_text()}b.example {other.read_text()}")
    files = (as_text(tmp_path / "text", _public(tmp_path, "x")), as_list(tmp_path / "krl", key))
    names = tuple(map(str, files))
    for revoking in (names, names[::-1]):
        host = Host(
            "b", "b.example", user_known_hosts_file=(str(known),), revoked_host_keys=revoking
        )
        verify(host, blob_of(other), here())
        with pytest.raises(Failure, match=f"is revoked by {tmp_path / 'krl'}") as caught:
            verify(host, blob_of(key), here())
        assert caught.value.code is Code.HOST_KEY_CHANGED


@FORMS
def test_a_pin_and_a_certificate_do_not_help(tmp_path: Path, form: Form) -> None:
    authority = Authority(tmp_path / "ca")
    key = _public(tmp_path, "host")
    certificate = blob_of(authority.sign(tmp_path / "host"))
    for revoked in (key, authority.public):
        file = form(tmp_path / "revoked", revoked)
        assert is_revoked(HOST, str(file), certificate, here())
    assert not is_revoked(
        HOST, str(form(tmp_path / "revoked", key)), blob_of(_public(tmp_path, "k")), here()
    )


def test_a_list_revokes_certificates_by_their_number(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    _public(tmp_path, "host")
    certificate = authority.sign(tmp_path / "host", "-z", "7")
    blob = blob_of(certificate)
    numbers = tmp_path / "numbers"
    for number, expected in (("8", False), ("5-9", True)):
        numbers.write_text(f"serial: {number}\n")
        file = str(tmp_path / "list")
        ssh_keygen("-q", "-k", "-f", file, "-s", str(authority.public), str(numbers))
        assert is_revoked(HOST, file, blob, here()) is expected
    assert not is_revoked(HOST, file, blob_of(tmp_path / "host.pub"), here())


@FORMS
def test_no_key_counts_where_the_file_cannot_be_read(tmp_path: Path, form: Form) -> None:
    key = _public(tmp_path, "key")
    known = tmp_path / "known_hosts"
    known.write_text(f"b.example {key.read_text()}")
    file = form(tmp_path / "revoked", _public(tmp_path, "other"))
    readable = str(form(tmp_path / "readable", _public(tmp_path, "third")))
    host = Host("b", "b.example", user_known_hosts_file=(str(known),))
    host = dataclasses.replace(host, revoked_host_keys=(readable, str(file)))
    verify(host, blob_of(key), here())
    if form is as_list:
        file.write_bytes(file.read_bytes()[:-7])
    else:
        file.unlink()
    with pytest.raises(Failure, match=r"so no host key is accepted: ") as caught:
        verify(host, blob_of(key), here())
    assert caught.value.code is Code.KEY_UNREADABLE


def test_a_list_without_ssh_keygen_is_not_guessed_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = as_list(tmp_path / "revoked", _public(tmp_path, "other"))
    assert shutil.which("ssh-keygen")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match="ssh-keygen is not installed"):
        is_revoked(HOST, str(file), blob_of(tmp_path / "other.pub"), here())
