"""Commands that take several profiles, wildcards, and parts of profiles."""

from __future__ import annotations

import json

import pytest

from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World

TWO_HOSTS = """\
version: 1
hosts: {a: {embedded: true}, b: {embedded: true}}
forwards:
  one: {local: 0, to: "hello:80", via: a}
  two: {local: 0, to: "hello:80", via: b}
"""


@pytest.fixture
def three(world: World) -> World:
    """A world with the profiles dev, dev-two and other, all of them up."""
    for name in ("dev", "dev-two", "other"):
        world.profile(name, TWO_HOSTS)
    world.ok("up", "-d", "dev*", "other")
    return world


def up(world: World) -> list[str]:
    profiles = world.status()["profiles"]
    return [profile["name"] for profile in profiles if profile["wanted"] == "up"]


def names(table: str) -> list[str]:
    return [line.split()[0] for line in table.splitlines()[1:]]


def test_ps(three: World) -> None:
    assert names(three.ok("ps", "dev*/two", "other")) == [
        *("dev/two", "dev-two/two", "other/one", "other/two")
    ]
    assert names(three.ok("ps", "*/a")) == ["dev/one", "dev-two/one", "other/one"]
    (shown,) = json.loads(three.ok("ps", "--json", "dev/one"))["profiles"]
    assert [rule["name"] for rule in shown["forwards"]] == ["one"]
    for unknown in ("nothing", "no*", "dev/three"):
        done = three.run("ps", unknown)
        assert done.returncode == 66
        assert done.stdout == ""


def test_down(three: World) -> None:
    done = three.run("down", "dev*")
    assert done.stderr == "tunnelctl: dev is down\ntunnelctl: dev-two is down\n"
    assert up(three) == ["other"]
    done = three.run("down", "dev*")  # they exist
    assert (done.returncode, done.stderr) == (0, "tunnelctl: no profile that matches dev* is up\n")
    assert three.run("down", "no*").returncode == 66
    three.ok("down", "*")
    assert up(three) == []


def test_restart_of_a_host(world: World, sshd: OpenSSHServer) -> None:
    line = sshd.host_yaml()
    world.profile(
        "dev",
        f"version: 1\nhosts:\n  a: {line}\n  b: {line}\nforwards:\n"
        "  one: {local: 0, to: 9, via: a, probe: none}\n"
        "  two: {local: 0, to: 9, via: b, probe: none}\n",
    )
    world.ok("up", "dev", "-d")
    world.ok("restart", "dev/a")
    eventually(lambda: world.host("dev", "a")["reconnects"] == 1, "it is connected anew")
    assert world.host("dev", "b")["reconnects"] == 0
    world.ok("restart", "d*")
    eventually(lambda: world.host("dev", "a")["reconnects"] == 2, "both are connected anew")
    eventually(lambda: world.host("dev", "b")["reconnects"] == 1, "both are connected anew")
    for unknown in ("dev/c", "no*", "other"):
        assert world.run("restart", unknown).returncode == 66


def test_reload_check_doctor(three: World) -> None:
    three.profile("dev", TWO_HOSTS.replace("via: b}", "via: b, required: false}"))
    said = three.ok("reload", "--dry-run", "dev*").splitlines()
    assert [line.partition(":")[0] for line in said] == ["dev", "dev-two"]
    assert three.run("reload", "no*").returncode == 66
    assert three.ok("check", "dev*").count("is valid") == 2
    assert three.run("check", "no*").returncode == 66
    assert three.run("doctor", "no*").returncode == 66
    done = three.ok("doctor", "--json", "dev-*")
    assert json.loads(done)["profile"] == "dev-two"


def test_logs(three: World) -> None:
    def about(*words: str) -> set[tuple[str, str]]:
        lines = map(json.loads, three.ok("logs", "--json", "-n", "5000", *words).splitlines())
        return {(line["profile"], line["name"]) for line in lines}

    assert about("dev/one") == {("dev", "one")}
    assert {profile for profile, _ in about("dev*")} == {"dev", "dev-two"}
    assert about("dev*/a", "other/two") == {("dev", "a"), ("dev-two", "a"), ("other", "two")}
    assert ("", "") in about()
    assert three.run("logs", "..").returncode == 2


def test_a_name_that_means_nothing_is_66_wherever_it_is_given(three: World) -> None:
    for command in ("ps", "logs", "restart", "reload", "down", "up"):
        done = three.run(command, "othre")
        assert (done.returncode, done.stdout) == (66, ""), command
        assert "did you mean other?" in done.stderr, command
    for words in (["logs", "dev/nothing"], ["logs", "no*"], ["logs", "-f", "othre"]):
        assert three.run(*words).returncode == 66, words
    for words in (["port", "othre/one"], ["answer", "othre/a"]):
        assert "did you mean other?" in three.run(*words).stderr, words


def test_logs_of_what_has_gone_are_there(three: World) -> None:
    three.ok("down", "other")
    (three.configs / "other.yaml").unlink()
    assert "profile other stopped" in three.ok("logs", "other")
