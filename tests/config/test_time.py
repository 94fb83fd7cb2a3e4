"""What checking a profile costs grows as the profile does, whatever is in it."""

from __future__ import annotations

import operator
import time
from pathlib import Path

import pytest
import yaml

from tests.config.conftest import Folder
from tests.config.sshconfigs import SSH, configure, needs_ssh
from tests.support.hostile_files import HOSTILE_FILES
from tunnelctl.config.openssh import lookup as sshconfig
from tunnelctl.config.profile.load import ProfileInvalid, load_profile
from tunnelctl.config.yaml import yaml12

# Seconds of this thread's CPU for 1 MiB. On a quiet machine none takes 0.6 s, and with PyYAML's
# parser in Python none 3 s; what is quadratic takes from 10 s to hours.
_AT_MOST = 5.0
_AT_MOST_IN_PYTHON = 20.0


def cpu_seconds(path: Path, home: Path) -> float:
    """What it takes to find out that a profile cannot be used."""
    started = time.thread_time()
    with pytest.raises(ProfileInvalid) as caught:
        load_profile(path, {"HOME": str(home)})
    assert len(str(caught.value)) < 200_000
    return time.thread_time() - started


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_a_file_is_checked_in_a_time_like_its_size(folder: Folder, name: str) -> None:
    assert cpu_seconds(folder.write(HOSTILE_FILES[name]), folder.home) < _AT_MOST


@pytest.mark.parametrize(
    "name",
    [
        "a list that ends as a map",
        "commas",
        "opened lists",
        "escaped quotes before the end",
        "ones",
        "anchors",
        "hosts",
        "lists of deep maps",
        "directives",
    ],
)
def test_so_with_the_parser_in_python(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(yaml12, "_LOADER", yaml.SafeLoader)
    assert cpu_seconds(folder.write(HOSTILE_FILES[name]), folder.home) < _AT_MOST_IN_PYTHON


def test_files_that_extend_each_other_in_every_way(folder: Folder) -> None:
    """Sixteen layers, each of which names the next one sixteen times."""
    hosts = "".join(f"  h{number}: {{port: {number + 1}}}\n" for number in range(900))
    for layer in range(15):
        bases = ", ".join([f"l{layer + 1}.yaml"] * 16)
        folder.write(f"extends: [{bases}]\nhosts:\n{hosts}", f"l{layer}.yaml")
    folder.write("hosts: {h0: {prot: 1}}", "l15.yaml")
    assert cpu_seconds(folder.path / "l0.yaml", folder.home) < 16 * _AT_MOST


def test_a_file_names_few_others(folder: Folder) -> None:
    text = "extends: [" + "a.yaml, " * 17 + "]\nhosts: {b: {}}\n"
    assert folder.mistakes(text) == ["dev.yaml:1:10: extends: names more than 16 files"]


def test_a_ssh_config_of_many_names_is_looked_through_once(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "config"
    config.write_text("".join(f"Host web{n} *.web{n} !x{n}\n" for n in range(30_000)))
    monkeypatch.setattr(sshconfig, "SYSTEM_FILE", str(config))
    forwards = "".join(f"  f{n}: {{local: 0, to: 1, via: wbe{n}, x: 1}}\n" for n in range(4_000))
    path = folder.write(f"hosts: {{h: {{}}}}\nforwards:\n{forwards}")
    assert cpu_seconds(path, folder.home) < 2 * _AT_MOST


@needs_ssh
def test_of_many_names_no_client_is_run(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sshconfig, "_CLIENTS", 4)
    monkeypatch.setattr(sshconfig, "_CLIENTS_WITH_MATCH", 5)
    (tmp_path / "bin").mkdir()
    runs, client = tmp_path / "runs", tmp_path / "bin" / "ssh"
    client.write_text(f'#!/bin/sh\necho >> {runs}\nexec {SSH} "$@"\n')
    client.chmod(0o700)
    environ = {"PATH": f"{client.parent}:/usr/bin:/bin"}

    def hosts(count: int) -> str:
        return "hosts:\n" + "".join(f"  h{n}: {{}}\n" for n in range(count))

    def clients_for(count: int) -> int:
        runs.write_text("")
        loaded = folder.load(hosts(count), environ).profile.hosts
        assert {host.server_alive_interval for host in loaded} == {33.0}
        return len(runs.read_text())

    configure(folder, "Host *\n  ServerAliveInterval 33\n")
    assert clients_for(4) >= 4
    assert clients_for(5) == 0
    configure(folder, "Host *\n  ServerAliveInterval 33\nMatch exec true\n  User me\n")
    assert clients_for(5) >= 5
    said = folder.mistakes(hosts(6), environ)
    assert "it has a Match, and more than 5 names are looked up" in said[0]


def test_a_hop_of_many_hosts_is_made_once(folder: Folder) -> None:
    ends = "".join(f"  h{n}: {{fallback: g, proxy_jump: [e, f]}}\n" for n in range(3))
    first, *others = folder.load(f"hosts:\n{ends}  e: {{}}\n  f: {{}}\n  g: {{}}\n").profile.hosts
    for other in others:
        assert all(map(operator.is_, other.fallback, first.fallback))
        assert other.proxy_jump[1] is first.proxy_jump[1]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        (
            "hosts:\n" + "".join(f"  h{n}: {{}}\n" for n in range(1001)),
            "dev.yaml:1:1: hosts: a profile has at most 1,000 hosts, and this one has 1,001 hosts",
        ),
        (
            "forwards:\n" + "".join(f"  f{n}: {{}}\n" for n in range(4001)),
            "dev.yaml:1:1: forwards: a profile has at most 4,000 forwards, "
            "and this one has 4,001 forwards",
        ),
        (
            "x-a: [" + "1," * 50_000 + "]",
            "dev.yaml:1:100001: a profile has at most 50,000 keys and",
        ),
        (
            f"defaults: {{host_key: [{'x,' * 100}]}}\nhosts:\n"
            + "".join(f"  h{n}: {{}}\n" for n in range(900)),
            "dev.yaml:1:11: a profile has at most 50,000 keys and values, with the defaults of",
        ),
        (
            "hosts: {h: {proxy_jump: [" + "b," * 17 + "]}}",
            "dev.yaml:1:25: hosts.h.proxy_jump: has 17 hops; the maximum is 16",
        ),
        (
            "hosts: {h: {fallback: [" + "h," * 17 + "]}}",
            "dev.yaml:1:23: hosts.h.fallback: has 17 names; the maximum is 16",
        ),
    ],
)
def test_how_large_a_profile_can_be(folder: Folder, text: str, mistake: str) -> None:
    (said,) = folder.mistakes(text)
    assert said.startswith(mistake)


def test_how_far_hosts_can_be_behind_each_other(folder: Folder) -> None:
    hosts = "".join(f"  h{n}: {{proxy_jump: h{n + 1}}}\n" for n in range(18))
    text = f"defaults: {{ssh_config: false}}\nhosts:\n{hosts}  h18: {{}}\n"
    assert any("leads through more than 16 hops" in said for said in folder.mistakes(text))
    text = text.replace("proxy_jump", "fallback")
    assert any("more than 16 hosts stand in" in said for said in folder.mistakes(text))
