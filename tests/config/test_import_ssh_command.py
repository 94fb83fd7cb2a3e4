"""`import ssh-command`: command lines of ssh become a profile; the rest is reported."""

from __future__ import annotations

import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.config.importing import of_command, profile_of
from tests.config.sshconfigs import SSH, needs_ssh
from tunnelctl.config.exchange.from_ssh_command import import_ssh_command
from tunnelctl.config.exchange.ssh_command import parse
from tunnelctl.errors import Failure
from tunnelctl.spec.host import AddressFamily


def test_a_command_line_with_everything() -> None:
    imported = of_command(
        "ssh -fNT -o ExitOnForwardFailure=no -L 5432:db:5432 -R '*:8080:localhost:3000' "
        "-R 1081 -D1080 -L /tmp/a.sock:/run/b.sock -p 2222 -i '~/.ssh/a key' -J carol@gate:2200 "
        "-4 -b 10.0.0.9 "
        "-o ServerAliveInterval=30 -o 'Ciphers aes128-gcm@openssh.com' alice@bastion",
        permit=("10.0.0.0/8:443",),
    )
    assert imported.notes == []
    profile = profile_of(imported)
    (host,) = profile.hosts
    assert (host.hostname, host.port, host.user) == ("bastion", 2222, "alice")
    assert (host.address_family, host.bind_address) == (AddressFamily.INET, "10.0.0.9")
    assert host.server_alive_interval == 30
    assert host.ciphers == ("aes128-gcm@openssh.com",)
    assert host.identity_file[0].endswith("/.ssh/a key")
    assert not host.identities_only  # -i alone does not say so
    assert [(hop.hostname, hop.port, hop.user) for hop in host.proxy_jump] == [
        ("gate", 2200, "carol")
    ]
    assert {(f.type, str(f.listen), str(f.target), f.expose) for f in profile.forwards} == {
        ("local", "127.0.0.1:5432", "db:5432", False),
        ("local", "/tmp/a.sock", "/run/b.sock", False),
        ("remote", "*:8080", "localhost:3000", True),
        ("remote_dynamic", "localhost:1081", "None", False),
        ("dynamic", "127.0.0.1:1080", "None", False),
    }
    assert not any(rule.required for rule in profile.forwards)


def test_a_path_begins_where_ssh_would_begin_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the folder that the line is typed in; `~` and $HOME are what a shell makes of them."""
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    (home / "conf").touch()
    imported = import_ssh_command(
        (
            "ssh -i my-key.pem -i ~/.ssh/own -i $HOME/third -i sub/../fourth -F ~/conf "
            "-o CertificateFile=my-cert.pub -o 'UserKnownHostsFile hosts \"more hosts\" ~/known' "
            "-o IdentityAgent=agent.sock -o RevokedHostKeys=revoked "
            "-N -L ~/here.sock:db:80 -L ./there.sock:db:80 b",
        ),
        {"HOME": str(home), "PATH": "/nonexistent"},
    )
    assert imported.notes == []
    assert imported.hosts["b"] == {
        "identity_file": [
            f"{tmp_path}/my-key.pem",
            "~/.ssh/own",
            "~/third",
            f"{tmp_path}/fourth",
        ],
        "identities_only": False,
        "certificate_file": [f"{tmp_path}/my-cert.pub"],
        "user_known_hosts_file": [f"{tmp_path}/hosts", f"{tmp_path}/more hosts", "~/known"],
        "identity_agent": f"{tmp_path}/agent.sock",
        "revoked_host_keys": [f"{tmp_path}/revoked"],
        "ssh_config": f"{home}/conf",
    }
    listens = [rule["local"] for rule in imported.forwards.values()]
    assert listens == [f"{home}/here.sock", f"{tmp_path}/there.sock"]


@pytest.mark.parametrize(
    ("written", "key", "value"),
    [
        ("-F none", "ssh_config", False),
        ("-F conf", "ssh_config", "{here}/conf"),
        ("-o IdentityAgent=none", "identity_agent", "none"),
        ("-o IdentityAgent=SSH_AUTH_SOCK", "identity_agent", None),
        ("-o IdentityAgent=$OTHER", "identity_agent", "$OTHER"),
        ("-o IdentityFile=none", "identity_file", ["none"]),
        ("-o IdentityFile=%d/key", "identity_file", ["~/key"]),
    ],
)
def test_what_is_no_path_stays_what_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, key: str, value: object
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").touch()
    host = of_command(f"ssh -N -L 80:a:80 {written} b").hosts["b"]
    expected = value.format(here=tmp_path) if isinstance(value, str) else value
    assert host.get(key) == expected


def test_g_lets_others_in_but_where_an_address_was_given() -> None:
    profile = profile_of(of_command("ssh -g -L 80:a:80 -L 127.0.0.1:81:a:81 -D 82 -R 83:a:83 b"))
    listens = {str(rule.listen): rule.expose for rule in profile.forwards}
    assert listens == {"*:80": True, "127.0.0.1:81": False, "*:82": True, "localhost:83": False}


def test_g_is_about_a_port_that_is_a_service_name_too() -> None:
    (rule,) = profile_of(of_command("ssh -g -L http:a:80 b")).forwards
    assert str(rule.listen) == "*:80"


@pytest.mark.parametrize(
    ("words", "listens"),
    [
        ("-4 -L 80:a:80 -D 81 -L 82:/a.sock", ["127.0.0.1:80", "127.0.0.1:82", "127.0.0.1:81"]),
        ("-6 -L 80:a:80 -D 81", ["[::1]:80", "[::1]:81"]),
        ("-o AddressFamily=inet -L 80:a:80", ["127.0.0.1:80"]),
        ("-o AddressFamily=inet6 -D 80", ["[::1]:80"]),
        ("-o AddressFamily=any -D 80", ["localhost:80"]),
        ("-4 -L localhost:80:a:80 -L '*:81:a:81'", ["127.0.0.1:80", "0.0.0.0:81"]),
        ("-4 -g -L 80:a:80", ["0.0.0.0:80"]),
        ("-6 -g -L 80:a:80 -D :81", ["[::]:80", "[::]:81"]),
        ("-4 -L 127.0.0.2:80:a:80 -L name:81:a:81", ["127.0.0.2:80", "name:81"]),
        ("-4 -R 80:a:80 -L /b.sock:a:80", ["/b.sock", "localhost:80"]),  # -R: the server listens
    ],
)
def test_the_address_family_of_ssh_applies_to_listeners_too(words: str, listens: list[str]) -> None:
    imported = of_command(f"ssh {words} b")
    assert imported.notes == []
    assert [str(rule.listen) for rule in profile_of(imported).forwards] == listens


@pytest.mark.parametrize("words", ["-4 -L [::1]:80:a:80", "-6 -D 127.0.0.1:80"])
def test_a_listener_of_the_other_family_is_not_carried_over(words: str) -> None:
    imported = of_command(f"ssh {words} b")
    assert imported.forwards == {}
    assert "excludes this address" in imported.notes[0]


@needs_ssh
@pytest.mark.parametrize(
    "words",
    [
        "-4 -6",
        "-6 -4",
        "-o AddressFamily=inet6 -4",
        "-4 -o AddressFamily=inet6",
        "-o AddressFamily=inet -o AddressFamily=inet6",
        "-o GatewayPorts=no -g",
        "-g -o GatewayPorts=no",
        "-b 10.0.0.1 -b 10.0.0.2",
        "-o BindAddress=10.0.0.1 -b 10.0.0.2",
        "-b 10.0.0.1 -o BindAddress=10.0.0.2",
        "-c aes128-ctr -c aes256-ctr",
        "-o Ciphers=aes128-ctr -c aes256-ctr",
        "-m hmac-sha2-256 -m hmac-sha2-512",
        "-o MACs=hmac-sha2-256 -m hmac-sha2-512",
        "-l a -l b",
        "-o User=a -l b",
        "-p 1 -p 2",
        "-o Port=1 -p 2",
    ],
)
def test_of_two_options_the_one_counts_that_does_for_ssh(words: str) -> None:
    command = parse([*words.split(), "b"], "/")
    done = subprocess.run(
        [SSH, "-F", "none", "-G", "-T", *words.split(), "b"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True,
    )  # fmt: skip
    printed = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    first = {line.keyword: line.words()[0] for line in reversed(command.lines)}
    assert first == {keyword: printed[keyword] for keyword in first}


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("-C", "-C: nothing is compressed"),
        ("-A", "-A: the agent is not forwarded"),
        ("-W db:22", "-W db:22: standard input and output"),
        ("-o ControlMaster=auto", "-o ControlMaster=auto: every profile has a connection"),
        ("-o StrictHostKeyChecking=no", "StrictHostKeyChecking false: host keys are always"),
        ("-o UserKnownHostsFile=/dev/null", "UserKnownHostsFile /dev/null: host keys are always"),
        ("-o RekeyLimit='1G 1h'", "rekeylimit 1073741824 3600: new keys are made after bytes"),
        ("-R 1080", "say what they may with --permit HOST:PORT"),
        ("-L 127.0.0.1:80:x:1", "-L 127.0.0.1:80:x:1: local-80 listens there already"),
        ("-g -L 127.0.0.1:80:x:1", "-L 127.0.0.1:80:x:1: local-80 listens there already"),
        ("-L /tmp/%h:db:80", "it has tokens or variables"),
    ],
)
def test_what_is_not_carried_over_is_said_by_name(words: str, note: str) -> None:
    imported = of_command(f"ssh -N -L 80:db:80 {words} b")
    assert any(note in said for said in imported.notes), imported.notes
    assert f"#   {imported.notes[0]}" in imported.yaml("A test").splitlines()


def test_a_command_after_the_host_is_not_run_and_options_there_count() -> None:
    imported = of_command("ssh bastion -L 80:a:80 sleep 10 -L 81:a:81 &")
    assert imported.notes == ["sleep 10 -L 81:a:81: no command is run on the server"]
    assert list(imported.forwards) == ["local-80"]


def test_autossh_and_several_lines_with_comments() -> None:
    imported = of_command(
        "# the database\nAUTOSSH_GATETIME=0 autossh -M 20000 -f -N \\\n  -L 80:a:80 a\n\n"
        "/usr/bin/ssh -N -L 81:b:81 ssh://bob@b:2022"
    )
    assert [note.partition(":")[0] for note in imported.notes] == ["-M 20000"]
    assert imported.hosts["b"] == {"port": 2022, "user": "bob"}


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("scp a b:", "it is no command line of ssh or autossh"),
        ("ssh -N -L 80:a:80", "it names no host"),
        ("ssh b -L", "-L needs an argument"),
        ("ssh 'b", "No closing quotation"),
        ("ssh -p x b", "'x' is not a value of port"),
        ("ssh -L 80:a:80 -o Ciphers=none b", "ciphers"),
    ],
)
def test_what_is_no_command_line_is_refused(command: str, why: str) -> None:
    with pytest.raises(Failure, match=r".") as caught:
        of_command(command)
    assert why.lower() in str(caught.value).lower()
    assert command in str(caught.value)


@pytest.mark.parametrize(
    ("before", "password"),
    [
        ("nohup env LANG=C setsid /usr/bin/", None),
        ("sshpass -f /k/word ", {"file": "/k/word"}),
        ("sshpass -v -e ", {"env": "SSHPASS"}),
        ("SSHPASS=hunter2 exec sshpass -e auto", {"env": "SSHPASS"}),
        ("sshpass -phunter2 ", None),
        ("sudo sshpass -p 'hunter2' ", None),
    ],
)
def test_what_runs_ssh_is_seen_through_and_no_secret_is_repeated(
    before: str, password: dict[str, str] | None
) -> None:
    imported = of_command(f"{before}ssh -N -L 80:a:80 b")
    assert imported.hosts["b"].get("password") == password
    assert list(imported.forwards) == ["local-80"]
    assert "hunter2" not in imported.yaml("A test")
    if "-p" in before:
        assert any("a profile holds no password" in note for note in imported.notes)
    with pytest.raises(Failure, match="-L needs an argument") as caught:
        of_command(f"{before}ssh -N b -L")
    assert "hunter2" not in str(caught.value)


def test_one_host_with_two_settings_is_two_that_say_where_they_are() -> None:
    imported = of_command(
        "ssh -N -L 80:a:80 -p 1 b",
        "ssh -N -L 81:a:81 -L 82:a:82 -p 2 b",
        "ssh -N -L 83:a:83 -p 2 b",
        "ssh -N -L 84:a:84 -p 1 b",
    )
    hosts = {host.name: (host.hostname, host.port) for host in profile_of(imported).hosts}
    assert hosts == {"b": ("b", 1), "b-2": ("b", 2)}
    assert [rule["via"] for rule in imported.forwards.values()] == ["b", "b-2", "b-2", "b-2", "b"]
    (note,) = imported.notes
    assert "b-2: the settings of b in ssh_config are not used" in note


@pytest.mark.parametrize(
    ("words", "listen", "target"),
    [
        ("-L '/s p/a.sock:db:80'", "/s p/a.sock", "db:80"),
        ("-R '/s p/a.sock:/t p/b.sock'", "/s p/a.sock", "/t p/b.sock"),
        (r"-L '/s #\"/a\:b:/100%%'", '/s #"/a:b', "/100%"),
        ("-o 'LocalForward=\"/s p/a\" /t'", "/s p/a", "/t"),
        ("-o 'RemoteForward=8080 \"/s p/a\"'", "localhost:8080", "/s p/a"),
    ],
)
def test_a_path_of_a_command_line_may_have_blanks(words: str, listen: str, target: str) -> None:
    imported = of_command(f"ssh -N {words} b")
    assert imported.notes == []
    rules = profile_of(imported).forwards
    assert [(str(rule.listen), str(rule.target)) for rule in rules] == [(listen, target)]


_option = st.sampled_from(
    ["-L", "-R", "-D", "-p", "-l", "-i", "-J", "-o", "-F", "-N", "-g", "-C", "--", "-", "-é", "&"]
)
_value = st.sampled_from(
    ["80:a:80", "80", "*:80:a:80", "/a:/b", "a@b", "ssh://u@h:22", "[::1]:1:[::1]:2", "none", "",
     "Port=0", "User=a b", "=", "GatewayPorts=yes", "ProxyJump=a,b", "LocalForward=1 a:1", "$X"]
)  # fmt: skip
_word = _option | _value | st.text(max_size=8)


@given(st.lists(_word, max_size=8), st.sampled_from(["ssh", "autossh"]))
def test_any_command_line_is_a_profile_or_a_failure(words: list[str], program: str) -> None:
    with suppress(Failure):
        profile_of(of_command(shlex.join([program, *words]), permit=("db:1",)))
