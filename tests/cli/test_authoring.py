"""`init` writes a profile that works, `config` shows what one comes to, `schema` what it can be."""

from __future__ import annotations

import json
import stat

from tests.support.world import World


def test_init_writes_a_profile_that_is_valid_and_its_schema(world: World) -> None:
    path = world.ok("init").strip()
    assert path == str(world.configs / "default.yaml")
    text = (world.configs / "default.yaml").read_text()
    header, _, _ = text.partition("\n")
    assert header == "# yaml-language-server: $schema=./tunnelctl.schema.json"
    beside = json.loads((world.configs / "tunnelctl.schema.json").read_text())
    assert beside == json.loads(world.ok("schema"))
    assert "is valid" in world.ok("check")


def test_what_init_wrote_comes_up(world: World) -> None:
    world.ok("init", "first")
    assert "Forwarding" in world.ok("up", "first", "-d")
    world.ok("down", "first")


def test_init_for_a_host_replaces_nothing_by_itself(world: World) -> None:
    world.ok("init", "web", "--host", "web.example.com")
    path = world.configs / "web.yaml"
    assert not stat.S_IMODE(path.stat().st_mode) & 0o022
    path.write_text("mine")
    done = world.run("init", "web")
    assert (done.returncode, path.read_text()) == (2, "mine")
    assert "already exists (name another, or --force replaces it)" in done.stderr
    world.ok("init", "web", "--host", "web.example.com", "--force")
    assert "via: web.example.com" in path.read_text()
    assert world.run("init", "Web").returncode == 2
    assert world.run("init", "x", "--host", "-x").returncode == 2
    assert sorted(file.name for file in world.configs.iterdir()) == [
        "tunnelctl.schema.json",
        "web.yaml",
    ]


def test_config_says_everything(world: World) -> None:
    world.profile(
        "dev",
        "hosts: {b: {user: '${WHO}', password: {env: PW}, ssh_config: false}}\n"
        "forwards: {f: {local: 0, to: 'x:http', via: b}}\n",
    )
    environ = {"WHO": "alice", "PW": "hunter2"}
    done = world.run("config", "dev", "--json", environ=environ)
    document = json.loads(done.stdout)
    assert document["hosts"]["b"]["user"] == "alice"
    assert document["hosts"]["b"]["password"] == {"env": "PW"}
    assert document["forwards"]["f"]["to"] == "x:80"
    shown = world.run("config", "dev", environ=environ).stdout
    assert "hunter2" not in shown
    world.profile("again", shown)
    assert json.loads(world.ok("config", "again", "--json")) == document


def test_config_says_what_is_wrong(world: World) -> None:
    world.profile("dev", "hosts: {b: {prot: 1}}\n")
    done = world.run("config", "dev")
    assert done.returncode == 78
    assert "unknown key (did you mean port?)" in done.stderr
    assert world.run("config", "none").returncode == 66
