"""Host keys: what known_hosts says, compared with OpenSSH's own tools where they can say it."""

from __future__ import annotations

import base64
import dataclasses
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.support.here import here
from tests.support.keys import KeyKind, write_key
from tests.support.nobody import as_nobody, needs_root
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host, StrictHostKeyChecking
from tunnelctl.ssh.keys.certificates import fingerprint
from tunnelctl.ssh.server_key.known_hosts import parse
from tunnelctl.ssh.server_key.verify import Known, known_for, record, verify

SSH_KEYGEN = shutil.which("ssh-keygen")


class Key:
    """A new key and its written forms."""

    def __init__(self, directory: Path, name: str, kind: KeyKind = KeyKind.ED25519) -> None:
        self.path = directory / name
        self.line = write_key(self.path, kind)
        self.type, encoded = self.line.split()
        self.blob = base64.b64decode(encoded)


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return Key(tmp_path, "key")


@pytest.fixture
def other(tmp_path: Path) -> Key:
    return Key(tmp_path, "other")


@pytest.fixture
def known_hosts(tmp_path: Path) -> Path:
    return tmp_path / "known_hosts"


@pytest.fixture
def host(known_hosts: Path) -> Host:
    return Host(
        name="bastion",
        hostname="Bastion.example.com",
        port=2222,
        user_known_hosts_file=(str(known_hosts),),
    )


def refused(host: Host, key: Key, code: Code) -> Failure:
    with pytest.raises(Failure) as caught:
        verify(host, key.blob, here())
    assert caught.value.code is code, caught.value
    assert not caught.value.retryable
    return caught.value


def test_a_fingerprint_is_that_of_ssh_keygen(key: Key) -> None:
    assert SSH_KEYGEN, "openssh-client is not installed"
    shown = subprocess.run(
        [SSH_KEYGEN, "-lf", str(key.path)], capture_output=True, text=True, check=True
    )
    assert fingerprint(key.blob) in shown.stdout


def test_an_unknown_key_is_refused_with_the_command_that_accepts_it(host: Host, key: Key) -> None:
    failure = refused(host, key, Code.HOST_KEY_UNKNOWN)
    assert key.type in failure.message
    assert fingerprint(key.blob) in failure.message
    assert "bastion (Bastion.example.com:2222)" in failure.message
    assert (
        f"tunnelctl trust Bastion.example.com:2222 --fingerprint {fingerprint(key.blob)}"
        in failure.hint
    )


def test_a_file_that_cannot_be_read_is_named_where_the_key_may_be_in_it(
    host: Host, key: Key, tmp_path: Path
) -> None:
    folder, loop = tmp_path / "folder", tmp_path / "a loop"
    folder.mkdir()
    loop.symlink_to(loop)
    files = (str(tmp_path / "none"), str(folder), str(loop))
    failure = refused(
        dataclasses.replace(host, user_known_hosts_file=files), key, Code.HOST_KEY_UNKNOWN
    )
    assert f"{folder}, which may have it, cannot be read: Is a directory" in failure.message
    assert f"{loop}, which may have it, cannot be read: Too many levels" in failure.message
    assert f"ls -ld '{loop}'" in failure.hint
    assert "tunnelctl trust" in failure.hint
    assert str(tmp_path / "none") not in failure.message


def test_the_command_is_the_short_one_where_nothing_is_special(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: Key
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    failure = refused(Host("h", "h.example"), key, Code.HOST_KEY_UNKNOWN)
    assert failure.hint.endswith(f"tunnelctl trust h.example --fingerprint {fingerprint(key.blob)}")
    failure = refused(Host("h", "fe80::1", 22), key, Code.HOST_KEY_UNKNOWN)
    assert f"tunnelctl trust '[fe80::1]' --fingerprint {fingerprint(key.blob)}" in failure.hint


def test_where_no_key_is_kept_a_pin_is_what_helps(key: Key) -> None:
    """`tunnelctl trust` would record it in /dev/null, and the host be as unknown as before."""
    host = Host("h", "h.example", user_known_hosts_file=("/dev/null",))
    failure = refused(host, key, Code.HOST_KEY_UNKNOWN)
    assert f"host_key: {fingerprint(key.blob)} to hosts.h in the profile" in failure.hint
    assert "tunnelctl trust" not in failure.hint


@pytest.mark.parametrize(
    "patterns",
    [
        "[bastion.example.com]:2222",
        "[BASTION.example.com]:2222",
        "other,[bastion.example.com]:2222",
        "[*.example.com]:2222",
        "[bastion.example.com]:222?",
        "*",
        "!elsewhere,*",
        "bastion.example.com",  # without the port: a match is good enough
    ],
)
def test_the_ways_to_write_a_host(host: Host, key: Key, known_hosts: Path, patterns: str) -> None:
    known_hosts.write_text(f"# a comment\n\n{patterns} {key.line} and a comment\n")
    verify(host, key.blob, here())
    assert known_for(host, here()).key_types == (key.type,)


@pytest.mark.parametrize(
    "patterns",
    [
        "[bastion.example.com]:2223",
        "!*bastion.example.com*,*",
        "*,!*.example.com*",
        "[bastion.example.co]:2222",
        "bastion?example.com:2222",
        "[b]astion.example.com",
    ],
)
def test_what_does_not_speak_of_the_host(
    host: Host, key: Key, known_hosts: Path, patterns: str
) -> None:
    known_hosts.write_text(f"{patterns} {key.line}\n")
    refused(host, key, Code.HOST_KEY_UNKNOWN)
    assert known_for(host, here()).key_types == ()


def test_hashed_names_as_ssh_keygen_writes_them(host: Host, key: Key, known_hosts: Path) -> None:
    assert SSH_KEYGEN, "openssh-client is not installed"
    known_hosts.write_text(f"[bastion.example.com]:2222 {key.line}\nelse.where {key.line}\n")
    subprocess.run([SSH_KEYGEN, "-H", "-f", str(known_hosts)], capture_output=True, check=True)
    assert "bastion" not in known_hosts.read_text()
    verify(host, key.blob, here())
    refused(dataclasses.replace(host, port=2223), key, Code.HOST_KEY_UNKNOWN)


def test_an_alias_stands_for_the_name_and_the_port(host: Host, key: Key, known_hosts: Path) -> None:
    known_hosts.write_text(f"the-bastion {key.line}\n")
    refused(host, key, Code.HOST_KEY_UNKNOWN)
    verify(dataclasses.replace(host, host_key_alias="the-bastion"), key.blob, here())


def test_several_files_count(host: Host, key: Key, known_hosts: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.write_text(f"[bastion.example.com]:2222 {key.line}\n")
    files = (str(known_hosts), str(second))
    verify(dataclasses.replace(host, user_known_hosts_file=files), key.blob, here())


def test_the_default_files_are_those_of_ssh(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: Key
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "known_hosts2").write_text(f"h.example {key.line}\n")
    verify(Host("h", "h.example"), key.blob, here())


def test_a_bad_line_costs_only_itself(host: Host, key: Key, known_hosts: Path) -> None:
    bad = [
        b"[bastion.example.com]:2222",
        b"[bastion.example.com]:2222 ssh-ed25519",
        b"[bastion.example.com]:2222 ssh-ed25519 not*base64",
        b"[bastion.example.com]:2222 ssh-rsa " + key.line.split()[1].encode(),
        b"@unheard-of [bastion.example.com]:2222 " + key.line.encode(),
        b"|1|broken " + key.line.encode(),
        b"|1|!!!|!!! " + key.line.encode(),
        b"\xff\xfe\x00 \x80",
    ]
    good = f"[bastion.example.com]:2222 {key.line}".encode()
    known_hosts.write_bytes(b"\n".join([*bad, good]))
    verify(host, key.blob, here())
    assert [found.line for found in parse(known_hosts.read_text(errors="replace"), "f")][-1] == 9


def test_a_changed_key_shows_both_and_where_the_old_one_is(
    host: Host, key: Key, other: Key, known_hosts: Path
) -> None:
    known_hosts.write_text(f"# one\n[bastion.example.com]:2222 {key.line}\n")
    failure = refused(host, other, Code.HOST_KEY_CHANGED)
    assert fingerprint(key.blob) in failure.message
    assert fingerprint(other.blob) in failure.message
    assert f"{known_hosts}:2" in failure.message
    assert f"ssh-keygen -R '[bastion.example.com]:2222' -f {known_hosts}" in failure.hint
    assert f"--fingerprint {fingerprint(other.blob)}" in failure.hint


def test_what_the_hint_says_helps(host: Host, key: Key, other: Key, known_hosts: Path) -> None:
    assert SSH_KEYGEN, "openssh-client is not installed"
    known_hosts.write_text(f"[bastion.example.com]:2222 {key.line}\nelse.where {key.line}\n")
    command = refused(host, other, Code.HOST_KEY_CHANGED).hint.partition(": ")[2].split(";")[0]
    subprocess.run(command, shell=True, check=True, capture_output=True)
    refused(host, other, Code.HOST_KEY_UNKNOWN)
    assert record(host, other.blob, here()) == known_hosts
    verify(host, other.blob, here())


def test_a_wildcard_is_removed_by_hand(host: Host, key: Key, other: Key, known_hosts: Path) -> None:
    known_hosts.write_text(f"[*]:2222 {key.line}\n")
    failure = refused(host, other, Code.HOST_KEY_CHANGED)
    assert f"delete line 1 of {known_hosts}" in failure.hint


def test_a_key_of_another_type_is_a_changed_key(
    host: Host, key: Key, known_hosts: Path, tmp_path: Path
) -> None:
    known_hosts.write_text(f"[bastion.example.com]:2222 {key.line}\n")
    ecdsa = Key(tmp_path, "ecdsa", KeyKind.ECDSA)
    failure = refused(host, ecdsa, Code.HOST_KEY_CHANGED)
    assert "ecdsa-sha2-nistp256" in failure.message
    assert "ssh-ed25519" in failure.message


@pytest.mark.parametrize("strict", list(StrictHostKeyChecking))
def test_a_revoked_key_is_always_refused(
    host: Host, key: Key, known_hosts: Path, strict: StrictHostKeyChecking
) -> None:
    known_hosts.write_text(f"[bastion.example.com]:2222 {key.line}\n@revoked * {key.line}\n")
    pinned = dataclasses.replace(
        host, host_key=(fingerprint(key.blob),), strict_host_key_checking=strict
    )
    for given in (host, pinned):
        failure = refused(given, key, Code.HOST_KEY_CHANGED)
        assert "@revoked" in failure.message
        assert f"{known_hosts}:2" in failure.message


def test_the_key_of_an_authority_is_no_host_key(host: Host, key: Key, known_hosts: Path) -> None:
    known_hosts.write_text(f"@cert-authority *.example.com {key.line}\n")
    failure = refused(host, key, Code.HOST_KEY_UNKNOWN)
    assert "no certificate of the authority" in failure.message
    assert known_for(host, here()).key_types == ()


def test_pins_replace_known_hosts(host: Host, key: Key, other: Key, known_hosts: Path) -> None:
    known_hosts.write_text(f"[bastion.example.com]:2222 {other.line}\n")
    pinned = dataclasses.replace(
        host,
        host_key=("SHA256:" + "A" * 43, fingerprint(key.blob) + "="),
        strict_host_key_checking=StrictHostKeyChecking.ACCEPT_NEW,
    )
    verify(pinned, key.blob, here())
    failure = refused(pinned, other, Code.HOST_KEY_CHANGED)
    assert fingerprint(other.blob) in failure.message
    assert fingerprint(key.blob) in failure.message


def test_accept_new_records_a_stranger_and_no_changed_key(
    host: Host, key: Key, other: Key, tmp_path: Path
) -> None:
    file = tmp_path / "new" / "dir" / "known_hosts"
    trusting = dataclasses.replace(
        host,
        user_known_hosts_file=(str(file),),
        strict_host_key_checking=StrictHostKeyChecking.ACCEPT_NEW,
    )
    verify(trusting, key.blob, here())
    assert file.read_text() == f"[bastion.example.com]:2222 {key.line}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    verify(trusting, key.blob, here())
    refused(trusting, other, Code.HOST_KEY_CHANGED)
    assert file.read_text().count("\n") == 1


def test_recording_twice_writes_once(host: Host, key: Key, known_hosts: Path) -> None:
    record(host, key.blob, here())
    record(host, key.blob, here())
    assert known_hosts.read_text().count("\n") == 1


def test_a_last_line_without_an_end_is_kept_apart(
    host: Host, key: Key, other: Key, known_hosts: Path
) -> None:
    known_hosts.write_text(f"else.where {other.line}")
    record(host, key.blob, here())
    assert known_hosts.read_text() == (
        f"else.where {other.line}\n[bastion.example.com]:2222 {key.line}\n"
    )


def test_records_at_the_same_time_are_all_kept(host: Host, key: Key, known_hosts: Path) -> None:
    hosts = [dataclasses.replace(host, port=port) for port in range(3000, 3040)]
    threads = [threading.Thread(target=record, args=(each, key.blob, here())) for each in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in hosts:
        verify(each, key.blob, here())
    assert known_hosts.read_text().count("\n") == len(hosts)


@pytest.fixture
def nowhere(host: Host, tmp_path: Path) -> Host:
    """A host whose known_hosts cannot be written: not even by root, as read-only disks are."""
    (tmp_path / "file").touch()
    return dataclasses.replace(
        host,
        user_known_hosts_file=(str(tmp_path / "file" / "known_hosts"),),
        strict_host_key_checking=StrictHostKeyChecking.ACCEPT_NEW,
    )


def test_what_cannot_be_written_is_said(nowhere: Host, key: Key) -> None:
    with pytest.raises(Failure) as caught:  # `tunnelctl trust` wants nothing else
        record(nowhere, key.blob, here())
    assert caught.value.code is Code.PERMISSION_DENIED
    assert nowhere.user_known_hosts_file[0] in caught.value.message


def test_a_new_key_that_cannot_be_written_is_accepted_with_a_warning(
    nowhere: Host, key: Key, other: Key, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        verify(nowhere, key.blob, here())
    said = f"cannot record its host key in {nowhere.user_known_hosts_file[0]}"
    assert sum(said in message for message in caplog.messages) == 1  # not at each login
    # From then on it is the known one, as far as this process can say.
    failure = refused(nowhere, other, Code.HOST_KEY_CHANGED)
    assert "in the memory of this process" in failure.message
    assert "tunnelctl down --all" in failure.hint


def test_a_key_that_a_person_accepts_may_be_one_that_cannot_be_written(
    nowhere: Host, key: Key
) -> None:
    asking = dataclasses.replace(nowhere, strict_host_key_checking=StrictHostKeyChecking.YES)
    verify(asking, key.blob, here(), lambda _: "yes")
    verify(asking, key.blob, here())


def test_what_accept_new_accepted_is_not_known_where_unknown_keys_are_refused(
    nowhere: Host, key: Key
) -> None:
    verify(nowhere, key.blob, here())
    strict = dataclasses.replace(nowhere, strict_host_key_checking=StrictHostKeyChecking.YES)
    refused(strict, key, Code.HOST_KEY_UNKNOWN)


def test_a_key_that_is_written_since_replaces_one_that_could_not_be(
    nowhere: Host, key: Key, other: Key
) -> None:
    verify(nowhere, key.blob, here())
    file = Path(nowhere.user_known_hosts_file[0])
    file.parent.unlink()
    file.parent.mkdir()
    file.write_text(f"[bastion.example.com]:2222 {other.line}\n")
    for policy in StrictHostKeyChecking:
        host = dataclasses.replace(nowhere, strict_host_key_checking=policy)
        assert str(file) in refused(host, key, Code.HOST_KEY_CHANGED).message
        verify(host, other.blob, here())


@pytest.mark.parametrize("alias", ["a b", "a,b", "*", "!a", "@revoked", "", "|1|x|y"])
def test_an_alias_that_is_no_name_is_never_written(
    host: Host, key: Key, known_hosts: Path, alias: str
) -> None:
    with pytest.raises(Failure) as caught:
        record(dataclasses.replace(host, host_key_alias=alias), key.blob, here())
    assert caught.value.code is Code.CONFIG_INVALID
    assert not known_hosts.exists()


@pytest.mark.parametrize(
    ("patterns", "name"),
    [
        ("a.example", "a.example"),
        ("*.example", "a.example"),
        ("*.example,!a.example", "a.example"),
        ("!a.example,*.example", "a.example"),
        ("!b.example,*.example", "a.example"),
        ("?.example", "a.example"),
        ("??.example", "a.example"),
        ("[a]*", "a.example"),
        ("a.example,b.example", "b.example"),
        ("A.Example", "a.example"),
        ("*", "a.example"),
        ("!*", "a.example"),
        ("a.example*", "a.example"),
        ("**.**", "a.example"),
    ],
)
def test_patterns_match_as_in_openssh(tmp_path: Path, key: Key, patterns: str, name: str) -> None:
    assert SSH_KEYGEN, "openssh-client is not installed"
    file = tmp_path / "patterns"
    file.write_text(f"{patterns} {key.line}\n")
    theirs = subprocess.run(
        [SSH_KEYGEN, "-F", name, "-f", str(file)], capture_output=True, check=False
    )
    (line,) = parse(file.read_text(), str(file))
    assert line.matches(name) == (theirs.returncode == 0)


@needs_root
def test_a_user_without_a_name_and_a_home_knows_no_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its home is `/`, where no file of ours is; nothing fails for good because of that."""
    monkeypatch.delenv("HOME")
    known = as_nobody(lambda: known_for(Host("b", "b.example"), Environment()))
    assert known == Known((), False)
