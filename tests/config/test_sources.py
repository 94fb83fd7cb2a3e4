"""A profile on top of others, and files that are not to be trusted."""

from __future__ import annotations

import grp
import os
from pathlib import Path

import pytest

from tests.config.conftest import Folder
from tunnelctl.config.yaml.checked_file import MAX_BYTES

BASE = """\
defaults: {server_alive_interval: 5s}
hosts:
  b: {hostname: base.example.com, user: alice, reconnect: {min: 2s}, identity_file: keys/id}
  old: {}
forwards:
  web: {local: 80, to: 80, via: b}
  api: {local: 81, to: 81, via: b}
"""


def test_maps_merge_deeply_later_wins_and_null_removes(folder: Folder) -> None:
    folder.write(BASE, "base.yaml")
    profile = folder.load(
        "extends: [base.yaml]\nhosts:\n"
        "  b: {user: null, port: 2222, reconnect: {max: 9s}}\n  old: null\n"
        "forwards:\n  web: {local: 8080}\n  api:\n"
    ).profile
    (host,) = profile.hosts
    assert (host.hostname, host.user, host.port) == ("base.example.com", None, 2222)
    assert (host.reconnect.min, host.reconnect.max) == (2.0, 9.0)
    assert host.server_alive_interval == 5.0
    (web,) = profile.forwards
    assert (web.name, web.listen.port) == ("web", 8080)


def test_the_later_base_wins(folder: Folder) -> None:
    folder.write("hosts: {b: {port: 1, user: one}}", "one.yaml")
    folder.write("hosts: {b: {port: 2}}", "two.yaml")
    host = folder.load("extends: [one.yaml, two.yaml]").profile.host("b")
    assert (host.port, host.user) == (2, "one")


def test_a_base_can_extend_and_be_shared(folder: Folder) -> None:
    folder.write("hosts: {b: {port: 1}}", "root.yaml")
    folder.write("extends: root.yaml\nhosts: {b: {user: l}}", "left.yaml")
    folder.write("extends: root.yaml\nhosts: {b: {hostname: r}}", "right.yaml")
    host = folder.load("extends: [left.yaml, right.yaml]").profile.host("b")
    assert (host.port, host.user, host.hostname) == (1, "l", "r")


def test_paths_are_relative_to_the_file_they_stand_in(folder: Folder) -> None:
    folder.write("hosts: {b: {identity_file: id}}", "sub/base.yaml")
    folder.write("hosts: {c: {identity_file: id}}", "sub/deep/more.yaml")
    folder.write("extends: [base.yaml, deep/more.yaml]", "sub/both.yaml")
    profile = folder.load("extends: sub/both.yaml\nhosts: {d: {identity_file: id}}").profile
    files = {host.name: host.identity_file[0] for host in profile.hosts}
    assert files == {
        "b": str(folder.path / "sub/id"),
        "c": str(folder.path / "sub/deep/id"),
        "d": str(folder.path / "id"),
    }


def test_a_mistake_points_into_the_file_that_it_stands_in(folder: Folder) -> None:
    folder.write("# base\nhosts:\n  b: {prot: 1, port: x}\n", "base.yaml")
    mistakes = folder.mistakes("extends: [base.yaml]\nhosts: {b: {usr: 1, port: 1}}\n")
    assert mistakes == [
        "dev.yaml:2:13: hosts.b.usr: unknown key (did you mean user?)",
        "base.yaml:3:7: hosts.b.prot: unknown key (did you mean port?)",
    ]


def test_variables_are_replaced_in_each_file(folder: Folder) -> None:
    folder.write("hosts:\n  b: {user: $A}\n".replace("$A", '"$A"'), "base.yaml")
    loaded = folder.load('extends: "${BASE}"', {"A": "alice", "BASE": "base.yaml"})
    assert loaded.profile.host("b").user == "alice"
    assert loaded.variables == {"A", "BASE", "HOME"}


def test_a_circle_is_a_mistake(folder: Folder) -> None:
    folder.write("extends: dev.yaml\n", "base.yaml")
    (mistake,) = folder.mistakes("hosts: {b: {}}\nextends: [base.yaml]\n")
    assert mistake == "base.yaml:1:10: extends: dev.yaml extends itself"


def test_a_file_cannot_extend_itself(folder: Folder) -> None:
    (mistake,) = folder.mistakes("extends: ./dev.yaml\n")
    assert mistake == "dev.yaml:1:10: extends: dev.yaml extends itself"


def test_layers_have_an_end(folder: Folder) -> None:
    for number in range(40):
        folder.write(f"extends: l{number + 1}.yaml", f"l{number}.yaml")
    (mistake,) = folder.mistakes("extends: l0.yaml")
    assert mistake.endswith("extends: more than 16 files extend each other")


def test_a_base_that_is_not_there_is_said_where_it_is_named(folder: Folder) -> None:
    text = "extends: [nope.yaml]\nhosts: {b: {prot: 1}}\nforwards: {f: {via: gone}}\n"
    assert folder.mistakes(text) == [
        "dev.yaml:1:11: extends[0]: nope.yaml: the file cannot be read: No such file or directory",
        "dev.yaml:2:13: hosts.b.prot: unknown key (did you mean port?)",
    ]


def test_a_base_with_a_syntax_error_says_it(folder: Folder) -> None:
    folder.write("hosts: {\n", "base.yaml")
    (mistake,) = folder.mistakes("extends: base.yaml\nforwards: {f: {local: 1, to: 1, via: b}}\n")
    assert mistake.startswith("base.yaml:2:1: not valid YAML")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another group")
def test_a_file_that_a_group_of_others_may_write_is_refused(folder: Folder) -> None:
    path = folder.write("hosts: {b: {}}", "base.yaml")
    path.chmod(0o664)
    assert folder.load("extends: base.yaml").profile.name == "dev"  # a group of ours alone
    os.chown(path, -1, grp.getgrnam("daemon").gr_gid)
    (mistake,) = folder.mistakes("extends: base.yaml")
    assert f"other users may change the file; run: chmod go-w {path.name}" in mistake


@pytest.mark.parametrize("mode", [0o646, 0o666, 0o777])
def test_a_file_that_others_may_write_is_refused(folder: Folder, mode: int) -> None:
    path = folder.write("hosts: {b: {}}", "base.yaml")
    path.chmod(mode)
    (mistake,) = folder.mistakes("extends: base.yaml")
    assert f"other users may change the file; run: chmod go-w {path.name}" in mistake


def test_a_folder_that_others_may_write_is_refused(folder: Folder) -> None:
    folder.path.chmod(0o777)
    (mistake,) = folder.mistakes("hosts: {b: {}}")
    assert mistake.startswith("dev.yaml:1:1: other users may replace the file; run: chmod go-w ")
    folder.path.chmod(0o1777)  # sticky, as /tmp: nobody can replace what is ours
    assert folder.load("hosts: {b: {}}").profile.name == "dev"


def test_a_folder_above_that_others_may_write_is_refused(folder: Folder) -> None:
    """Who can replace a folder can replace what is in it."""
    above = folder.path.parent
    mode = above.stat().st_mode
    try:
        above.chmod(0o777)
        (mistake,) = folder.mistakes("hosts: {b: {}}")
        assert mistake.endswith(f"other users may replace the file; run: chmod go-w {above}")
        above.chmod(0o1777)
        assert folder.load("hosts: {b: {}}").profile.name == "dev"
    finally:
        above.chmod(mode)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(folder: Folder) -> None:
    os.chown(folder.write("hosts: {b: {}}", "base.yaml"), 4711, -1)
    (mistake,) = folder.mistakes("extends: base.yaml")
    assert "the file belongs to user id 4711; it must belong to you or to root" in mistake


def test_a_file_is_at_most_a_mebibyte(folder: Folder) -> None:
    text = "hosts: {b: {}}\n#"
    assert folder.load(text + "x" * (MAX_BYTES - len(text))).profile.name == "dev"
    assert folder.mistakes(text + "x" * MAX_BYTES) == [
        "dev.yaml:1:1: the file is larger than 1 MiB"
    ]


def test_only_a_regular_file_is_read(folder: Folder) -> None:
    os.mkfifo(folder.path / "pipe.yaml", 0o600)
    (folder.path / "sub").mkdir()
    assert folder.mistakes("extends: [pipe.yaml, sub, /dev/zero]") == [
        "dev.yaml:1:11: extends[0]: pipe.yaml: this is not a regular file",
        "dev.yaml:1:22: extends[1]: sub: this is not a regular file",
        "dev.yaml:1:27: extends[2]: /dev/zero: this is not a regular file",
    ]


def test_a_profile_may_be_a_link(folder: Folder, tmp_path: Path) -> None:
    target = tmp_path / "real.yaml"
    folder.write("hosts: {b: {}}", "base.yaml").rename(target)
    (folder.path / "base.yaml").symlink_to(target)
    assert folder.load("extends: base.yaml").profile.host("b").name == "b"
