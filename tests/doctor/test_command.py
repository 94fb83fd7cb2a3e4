"""`tunnelctl doctor` as it is typed: what it prints, its JSON and its exit code."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from pathlib import Path

import jsonschema

from tests.doctor.walks import dropping
from tests.support.ports import free_port
from tests.support.services import EchoService
from tests.support.sshd import OpenSSHServer
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.errors import Code
from tunnelctl.ssh.milestones import Milestone

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["api_version", "profile", "steps"],
    "properties": {
        "api_version": {"const": 1},
        "profile": {"type": "string"},
        "steps": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["step", "subject", "result", "code", "message", "hint", "seconds"],
                "properties": {
                    "step": {"type": "string", "pattern": "^[a-z-]+$"},
                    "subject": {"type": "string", "minLength": 1},
                    "result": {"enum": ["ok", "warning", "failed", "skipped"]},
                    "code": {"enum": [None, *map(str, Code)]},
                    "message": {"type": "string", "minLength": 1},
                    "hint": {"type": "string"},
                    "seconds": {"type": "number", "minimum": 0},
                },
            },
        },
    },
}

GOOD = """\
ok  dev     profile         HOME/configs/dev.yaml is valid: 1 host, 2 forwards
ok  dev     daemon          no daemon is running, so nothing is up
ok  server  keys            KEY (ssh-ed25519)
ok  server  names           127.0.0.1
ok  server  connection      127.0.0.1:SSH
ok  server  version         SSH-2.0-OpenSSH_VERSION
ok  server  key-exchange    KEX, aes128-gcm@openssh.com, strict key exchange
ok  server  host-key        ssh-ed25519 SHA256:…
ok  server  authentication  USER@127.0.0.1 by KEY (ssh-ed25519 SHA256:…)
ok  db      listener        127.0.0.1:0 is free
ok  db      permission      server connects to 127.0.0.1:ECHO
ok  db      target          127.0.0.1:ECHO answers
ok  hook    permission      server listens on localhost:0
ok  hook    target          127.0.0.1:ECHO answers
"""

BAD = """\
ok       dev     profile     HOME/configs/dev.yaml is valid: 1 host, 2 forwards
ok       dev     daemon      no daemon is running, so nothing is up
ok       server  keys        KEY (ssh-ed25519)
ok       server  names       127.0.0.1
FAILED   server  connection  server (127.0.0.1:SSH): connection refused by 127.0.0.1:SSH
                             - check that an SSH server runs there and that SSH is its port
skipped  server  version     connection failed; so too key-exchange, host-key, authentication
FAILED   db      listener    127.0.0.1:ECHO is in use by pid PID (python)
                             - stop what uses it, or choose another in the profile
skipped  db      permission  server is not connected; so too target
skipped  hook    permission  server is not connected
ok       hook    target      127.0.0.1:ECHO answers
"""


def told(text: str, world: World, sshd: OpenSSHServer, echo: EchoService) -> str:
    """The text with what differs from run to run replaced."""
    words = {
        str(sshd.identity): "KEY",
        str(world.home): "HOME",
        str(sshd.port): "SSH",
        str(echo.port): "ECHO",
        f"pid {os.getpid()}": "pid PID",
        f"{sshd.user}@": "USER@",
    }
    for word, name in words.items():
        text = text.replace(word, name)
    text = re.sub(r"(curve|mlkem768x)25519-sha256", "KEX", text)
    text = re.sub(r"SHA256:[\w+/]+", "SHA256:…", text)
    text = re.sub(r"\((python|pytest)[\w.]*\)", "(python)", text)
    return re.sub(r"OpenSSH_[^\n]+", "OpenSSH_VERSION", text)


def test_a_good_way(world: World, sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        world.tunnel(sshd, db=f"local: 0, to: {echo.port}", hook=f"remote: 0, to: {echo.port}")
        shown = world.ok("doctor", "dev")
        assert told(shown, world, sshd, echo) == GOOD
        assert world.processes() == []  # no daemon was started for it


def test_a_way_with_two_faults(world: World, sshd: OpenSSHServer) -> None:
    sshd.stop()
    with EchoService() as echo:
        world.tunnel(sshd, db=f"local: {echo.port}, to: 1", hook=f"remote: 0, to: {echo.port}")
        done = world.run("doctor", "dev")
        assert told(done.stdout, world, sshd, echo) == BAD
    assert done.returncode == 69  # of the first that failed
    assert done.stderr == ""


def test_the_json_has_the_same_and_its_shape(world: World, sshd: OpenSSHServer) -> None:
    world.tunnel(sshd, db="local: 0, to: 1")
    done = world.run("doctor", "dev", "--json")
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["profile"] == "dev"
    steps = {(each["subject"], each["step"]): each for each in document["steps"]}
    assert {("server", str(milestone)) for milestone in Milestone} <= set(steps)
    assert steps["db", "target"]["code"] == "target-refused"
    assert done.returncode == 1


def test_signs_and_colours_where_they_can_be_shown(world: World, sshd: OpenSSHServer) -> None:
    world.tunnel(sshd, db="local: 0, to: 1")
    shown = world.run("doctor", "dev", environ={"FORCE_COLOR": "1", "LC_ALL": "C.UTF-8"}).stdout
    assert "\x1b[32m✓\x1b[0m  dev" in shown
    plain = {"FORCE_COLOR": "1", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    shown = world.run("doctor", "dev", environ={**plain, "PYTHONIOENCODING": "ascii"}).stdout
    assert "\x1b[32mok    \x1b[0m  dev" in shown


def test_a_profile_that_is_wrong_has_a_step_for_every_mistake(world: World) -> None:
    world.profile("dev", "hosts: {b: {prot: 1}}\nforwards: {f: {local: x, to: 1, via: b}}\n")
    done = world.run("doctor", "dev", "--json")
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    assert {(each["step"], each["code"]) for each in document["steps"]} == {
        ("profile", "config-invalid")
    }
    assert "hosts.b.prot: unknown key (did you mean port?)" in done.stdout
    assert len(document["steps"]) == 2
    assert done.returncode == 78


def test_a_profile_that_is_not_there(world: World) -> None:
    assert world.run("doctor", "none").returncode == 66
    assert world.run("doctor").returncode == 66  # which means `default`


def test_several_profiles_and_a_file(world: World, sshd: OpenSSHServer) -> None:
    path = world.tunnel(sshd, socks="dynamic: 0")
    world.tunnel(sshd, name="two", socks="dynamic: 0")
    shown = world.ok("doctor", "dev", "two")
    assert shown.count("authentication") == 2
    assert "authentication" in world.ok("doctor", "-f", str(path))


def test_what_the_daemon_holds_is_no_fault(world: World, sshd: OpenSSHServer) -> None:
    with EchoService() as echo:
        world.tunnel(
            sshd,
            db=f"local: 0, to: {echo.port}",
            hook=f"remote: {free_port()}, to: {echo.port}",
        )
        world.ok("up", "dev", "-d")
        before = world.status()
        shown = world.ok("doctor", "dev")
        assert "the profile is up" in shown
        assert f"the daemon listens on {world.forward('dev', 'db')['listen']} for it" in shown
        assert "server listens for the running tunnel" in shown
        after = world.status()
        assert [host["since"] for host in after["profiles"][0]["hosts"]] == [
            host["since"] for host in before["profiles"][0]["hosts"]
        ]
        world.ok("down", "dev")


def test_what_no_file_here_says_is_what_the_daemon_runs(world: World, sshd: OpenSSHServer) -> None:
    world.alias("bastion", sshd)
    with EchoService() as echo:
        port = free_port()
        world.ok("up", "-d", "-L", f"{port}:127.0.0.1:{echo.port}", "bastion")
        world.ok("expose", "-d", str(echo.port), "--via", "bastion")
        shown = world.ok("doctor", "bastion", f"expose-{echo.port}")
        assert shown.count("the profile is up") == 2
        assert f"the daemon listens on localhost:{port} for it" in shown
        assert "bastion listens for the running tunnel" in shown
        # So do the others that read a profile by its name, and wildcards.
        assert world.ok("doctor", "bas*") == world.ok("doctor", "bastion")
        assert "is valid" in world.ok("check", "bastion")
        assert f"{port}" in world.ok("config", "bastion")
        assert f"{port}:127.0.0.1:{echo.port}" in world.ok("export", "ssh", "bastion")
        done = world.run("doctor", "bastoin")
        assert (done.returncode, "did you mean bastion?" in done.stdout) == (66, True)


def test_a_file_here_is_not_what_the_daemon_runs_under_its_name(
    world: World, sshd: OpenSSHServer
) -> None:
    with EchoService() as echo:
        port = free_port()
        path = world.tunnel(sshd, db=f"local: {port}, to: {echo.port}")
        other = path.rename(world.home / "dev.yaml")
        world.ok("up", "-d", "-f", str(other))
        world.tunnel(sshd, db=f"local: {port}, to: {echo.port}")
        done = world.run("doctor", "dev")
        assert f"the daemon has another profile of this name, from {other}" in done.stdout
        assert f"tunnelctl doctor -f {other}" in done.stdout
        assert "the forward dev/db of this daemon" in done.stdout
        assert done.returncode == 73
        assert "the profile is up" in world.ok("doctor", "-f", str(other))


def test_ctrl_c_ends_it_at_once(world: World) -> None:
    with dropping() as port:
        host = f"{{hostname: 127.0.0.1, port: {port}, connect_timeout: 50s}}"
        world.profile("dev", f"hosts: {{server: {host}}}\n")
        doctor = world.start("doctor", "dev")
        try:
            # It has begun to connect: the kernel has its SYN.
            eventually(lambda: _is_dialling(doctor.pid, port), "doctor connects")
            doctor.send_signal(signal.SIGINT)
            _, said = doctor.communicate(timeout=20)
        finally:
            doctor.kill()
            doctor.communicate()
    assert (doctor.returncode, said.strip()) == (130, "tunnelctl: interrupted")


def _is_dialling(pid: int, port: int) -> bool:
    """Whether the process has a socket that waits for an answer from the port (proc_net(5))."""
    syn_sent = f":{port:04X} 02 "
    lines = [line for line in Path("/proc/net/tcp").read_text().splitlines() if syn_sent in line]
    inodes = {line.split()[9] for line in lines}
    with contextlib.suppress(FileNotFoundError):
        links = [os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()]
        return any(f"socket:[{inode}]" in links for inode in inodes)
    return False
