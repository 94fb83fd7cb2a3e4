"""A login name is what ssh takes before the @, wherever one is written."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from tests.config.conftest import Folder
from tests.config.importing import USERS, of_command, profile_of
from tests.config.sshconfigs import SSH, WAYS, configure, needs_ssh
from tests.support.sshd import sshd_version
from tunnelctl.config.profile.named import host_named
from tunnelctl.errors import Failure

REFUSED = ["a;b", "-x", "x -y", "`x`", "$(x)", "a|b", "x\\", 'a"b', "a'b", "<x>", "a\nb"]
SSH_SINCE_10_1 = bool(SSH) and sshd_version(SSH) >= (10, 1)
IN_A_LIST = [user for user in USERS if "," not in user]


@needs_ssh
@pytest.mark.parametrize("user", [*USERS, *REFUSED])
def test_what_is_taken_is_what_ssh_takes_and_prints(folder: Folder, user: str) -> None:
    done = subprocess.run(
        [SSH, "-G", "-F", "/dev/null", f"{user}@b"], capture_output=True, check=False, text=True
    )
    if user in USERS:
        # Since OpenSSH 10.6 ssh takes these from a file only.
        from_file_only = "contains invalid characters" in done.stderr and set(user) & set("\\$")
        assert from_file_only or f"user {user}\n" in done.stdout
        assert host_named(f"{user}@b", {}, ssh_config=False).user == user
    else:  # ssh itself says so since OpenSSH 9.6
        with pytest.raises(Failure, match=r"is not a user name|control character"):
            host_named(f"{user}@b", {}, ssh_config=False)


@pytest.mark.parametrize("user", USERS)
def test_a_profile_takes_it_for_a_host_and_a_hop(folder: Folder, user: str) -> None:
    written = user.replace("$", "$$").replace("'", "''")
    assert folder.host(f"user: '{written}'").user == user
    for jump in (f"{user}@gate", f"{user}@gate:22", f"{user}@[::1]:22"):
        (hop,) = folder.host(f"proxy_jump: ['{jump.replace('$', '$$')}']").proxy_jump
        assert (hop.user, hop.port) == (user, 22)


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize("user", USERS)
def test_ssh_config_gives_it_as_it_is(folder: Folder, environ: dict[str, str], user: str) -> None:
    configure(folder, f'Host b\n  User "{user}"\nMatch user gate-user\n  Port 9\n')
    # ssh replaces its tokens there since OpenSSH 10.1; our own reader, which is for those who have
    # no ssh or very many hosts, does not.
    said = user.replace("%n", "b") if SSH_SINCE_10_1 and environ["PATH"] != "/nonexistent" else user
    assert folder.host("", environ).user == said
    assert folder.host("user: gate-user", environ).port == 9


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize("user", [user for user in IN_A_LIST if not user.startswith("#")])
def test_blocks_are_chosen_by_the_user_of_the_profile(
    folder: Folder, environ: dict[str, str], user: str
) -> None:
    configure(folder, f'Match user "{user.replace("*", "?")}"\n  Port 9\n')
    assert folder.host(f"user: '{user.replace('$', '$$')}'", environ).port == 9
    assert folder.host("user: another", environ).port == 22


@pytest.mark.parametrize("environ", WAYS)
@pytest.mark.parametrize("user", [user for user in IN_A_LIST if not set(user) & set("# ")])
def test_a_hop_of_ssh_config_has_it(folder: Folder, environ: dict[str, str], user: str) -> None:
    configure(folder, f"Host b\n  ProxyJump {user}@gate\n")
    (hop,) = folder.host("", environ).proxy_jump
    assert (hop.user, hop.hostname) == (user, "gate")


@pytest.mark.parametrize("user", USERS)
def test_an_import_writes_it(user: str) -> None:
    for words in (["-l", user, "b"], [f"{user}@b"]):
        imported = of_command(shlex.join(["ssh", "-N", "-L", "80:db:80", *words]))
        assert profile_of(imported).hosts[0].user == user
