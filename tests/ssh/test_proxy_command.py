"""`proxy_command`: programs as the connection to a real server, and how they and we end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ssh.reach import reach
from tests.support.clients import download
from tests.support.here import here
from tests.support.processes import command_line, descendants
from tests.support.services import SourceService, Stream
from tests.support.sshd import OpenSSHServer
from tests.support.tunnel import tunnel_to
from tests.support.waiting import eventually_async
from tunnelctl.errors import Code, Failure
from tunnelctl.spec.host import USERS_SHELL, Host
from tunnelctl.ssh.connect import fetch_host_key
from tunnelctl.ssh.reach import proxy_command
from tunnelctl.ssh.reach.proxy_command import words_for
from tunnelctl.ssh.turns import TakenTurn

BULK = 120_000_000  # bytes
SOCAT = ("socat", "STDIO", "TCP:%h:%p")

needs_socat = pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")


def shell(script: str, **changes: Any) -> Host:
    """A host whose connection is a shell script; nothing is asked of the host itself."""
    command = ("sh", "-c", script, "sh", "%h", "%p")
    return Host("far", "far.example", user="me", proxy_command=command, **changes)


@needs_socat
async def test_bulk_through_a_program(sshd: OpenSSHServer) -> None:
    stream = Stream(BULK, seed=3)
    with SourceService(stream) as source:
        async with tunnel_to(sshd.host(proxy_command=SOCAT)) as tunnel:
            assert tunnel.link.info.address == f"127.0.0.1:{sshd.port}"
            got = await asyncio.to_thread(download, await tunnel.local(source.port))
            assert (got.size, got.sha256, got.end) == (BULK, stream.sha256, "fin")
            await _close(tunnel.link)
    assert not _children("socat")


async def _close(link: Any) -> None:
    link.close()
    await link.wait_thread()


def _children(program: str) -> list[int]:
    return [pid for pid in descendants(os.getpid()) if program in command_line(pid)]


@needs_socat
async def test_a_program_that_dies_takes_the_link_with_it(sshd: OpenSSHServer) -> None:
    async with reach() as r:
        link = await r.link(sshd.host(proxy_command=SOCAT))
        (pid,) = _children("socat")
        os.kill(pid, signal.SIGKILL)
        failure = await link.closed
        assert failure.code is Code.SESSION_LOST
        assert failure.retryable


@needs_socat
async def test_the_key_of_a_host_behind_a_program(sshd: OpenSSHServer) -> None:
    kind, _ = await fetch_host_key(sshd.host(proxy_command=SOCAT), here(), lambda _: "")
    assert f"{kind} " in sshd.host_keys[0]


@needs_socat
async def test_a_program_and_then_a_hop(sshd: OpenSSHServer) -> None:
    hop = sshd.host(name="hop", proxy_command=SOCAT)
    async with reach() as r:
        link = await r.link(sshd.host(proxy_jump=(hop,)))
        assert len(_children("socat")) == 1
        link.close()
        await link.wait_thread()
        assert not _children("socat")


async def test_how_it_failed_is_told_in_its_own_words() -> None:
    async with reach() as r:
        host = shell(r"printf 'first\n\033[31mno way\a to '$1:$2'\n\n' >&2; exit 3")
        failure = await r.fails(Code.HANDSHAKE_FAILED, host)
    assert failure.message == (
        r"far (far.example:22): proxy_command sh ended with exit status 3: "
        r"\x1b[31mno way\x07 to far.example:22"
    )
    # By hand it may work, in that shell's environment.
    assert failure.hints[1].command.startswith("tunnelctl restart")
    assert failure.retryable


async def test_what_it_says_is_bounded() -> None:
    async with reach() as r:
        host = shell("yes talkative | tr -d '\\n' | head -c 1000000 >&2; kill -9 $$")
        failure = await r.fails(Code.HANDSHAKE_FAILED, host)
    assert "was ended by SIGKILL: " in failure.message
    assert len(failure.message) < 400


async def test_a_program_that_is_not_there() -> None:
    async with reach() as r:
        host = Host("far", "far.example", proxy_command=("/nonexistent/program", "%h"))
        failure = await r.fails(Code.CONFIG_INVALID, host)
    assert "cannot start /nonexistent/program: No such file" in failure.message
    assert not failure.retryable


@pytest.mark.parametrize(
    "script",
    [
        "sleep 100; true",
        "trap '' TERM; echo not yet >&2; while :; do sleep 100; done",
    ],
    ids=["hangs", "hangs and will not go"],
)
async def test_a_program_that_hangs_is_ended_with_all_it_started(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proxy_command, "PATIENCE", 0.5)
    before = descendants(os.getpid())
    async with reach() as r:
        failure = await r.fails(Code.TIMED_OUT, shell(script))
    assert "proxy_command sh: no output for 0.5 s" in failure.message
    assert ("sh said: not yet" in failure.message) == ("not yet" in script)
    assert descendants(os.getpid()) == before


async def test_whoever_waits_at_a_terminal_is_told_and_has_a_shorter_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`trust`, and what `doctor` asks for a key with."""
    monkeypatch.setattr(proxy_command, "AT_A_TERMINAL", 1.0)
    told: list[Failure] = []
    host = shell("sleep 100; true", connect_timeout=0.3)
    with pytest.raises(Failure, match="proxy_command sh: no output for 1 s") as caught:
        await fetch_host_key(host, here(), lambda _: "", told.append)
    assert caught.value.code is Code.TIMED_OUT
    assert caught.value.hint.startswith("run the proxy_command of far by hand")
    assert "proxy_command sh: no output for 0.3" in told[0].message
    assert told[0].message.endswith("s (limit 1 s)")
    assert "check for a browser window" in told[0].hint


@needs_socat
async def test_the_time_limit_counts_from_the_first_byte(
    sshd: OpenSSHServer, tmp_path: Path
) -> None:
    """Somebody logs in with a browser meanwhile. Others have their turn, and it runs once."""
    browser = tmp_path / "browser"
    os.mkfifo(browser)
    silent = asyncio.Event()

    class Told:
        async def work(self) -> None:
            """See Place."""

        def give_back(self) -> None:
            """See Place."""
            silent.set()

    @asynccontextmanager
    async def turn(_host: Host) -> AsyncIterator[TakenTurn]:
        yield Told()

    words = ("sh", "-c", f"read -r _ < {browser}; exec socat STDIO TCP:%h:%p")
    async with reach() as r:
        host = sshd.host(proxy_command=words, connect_timeout=3.0)
        linking = asyncio.create_task(r.link(host, turn=turn))
        await silent.wait()
        assert not linking.done()
        assert len(_children(str(browser))) == 1
        browser.write_text("\n")
        await linking


async def test_what_has_spoken_and_hangs_is_timed_out() -> None:
    before = descendants(os.getpid())
    async with reach() as r:
        failure = await r.fails(
            Code.TIMED_OUT, shell("printf S; sleep 100; true", connect_timeout=0.3)
        )
    assert "no answer within 0.3 s" in failure.message
    assert descendants(os.getpid()) == before


async def test_what_the_host_says_is_not_put_down_to_the_program() -> None:
    async with reach() as r:
        failure = await r.fails(Code.INCOMPATIBLE_PEER, shell("echo SSH-1.5-old; sleep 100"))
    assert failure.message.startswith("far (far.example:22): ")


async def test_a_program_gets_the_environment_and_nothing_else_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "prod")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    seen = tmp_path / "seen"
    other = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(other, True)
    async with reach() as r:
        script = f"{{ env; for fd in /proc/$$/fd/*; do readlink $fd; done; }} > {seen}; exit 1"
        await r.fails(Code.HANDSHAKE_FAILED, shell(script))
    os.close(other)
    told = seen.read_text().splitlines()
    assert "AWS_PROFILE=prod" in told
    assert [line for line in told if line.startswith(f"PATH={tmp_path}:")]
    # Both ends of its standard input and output are one socket; standard error is a pipe.
    assert len({line for line in told if line.startswith("socket:")}) == 1
    assert "/dev/null" not in told


async def test_its_own_session(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    async with reach() as r:
        await r.fails(Code.HANDSHAKE_FAILED, shell(f"cat /proc/$$/stat > {seen}; exit 1"))
    pid, _, _, _, group, session = seen.read_text().split()[:6]
    assert pid == group == session


@needs_socat
async def test_nobody_waits_for_a_program_that_is_being_ended(
    sshd: OpenSSHServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one resists, the loop does not stand still."""
    monkeypatch.setattr(proxy_command, "PATIENCE", 0.2)
    async with reach() as r:
        resisting = asyncio.create_task(
            r.fails(Code.TIMED_OUT, shell("trap '' TERM; sleep 100; :"))
        )
        await eventually_async(lambda: _children("sleep"), "it runs")
        await r.link(sshd.host(proxy_command=SOCAT))
        assert not resisting.done()
        await resisting


# The shell of ssh_config


@pytest.mark.parametrize("shell", ["/bin/bash", "", None])
async def test_a_line_of_ssh_config_is_run_by_the_users_shell(
    shell: str | None, tmp_path: Path
) -> None:
    """As OpenSSH's client runs it (sshconnect.c, ssh_proxy_connect), which is asked here too."""
    seen = tmp_path / "seen"
    line = f"""sh -c 'echo "$1" >> {seen}; exit 1' x "$0" """.strip()
    environment = here().without("SHELL") if shell is None else here(SHELL=shell)
    command = ["ssh", "-F", "/dev/null", "-o", f"ProxyCommand={line}", "far.example"]
    await asyncio.to_thread(
        subprocess.run, command, env=environment.to_bytes(), capture_output=True, check=False
    )
    words = (USERS_SHELL, "-c", f"exec {line}")
    async with reach(environment) as r:
        await r.fails(Code.HANDSHAKE_FAILED, Host("far", "far.example", proxy_command=words))
    by_ssh, by_us = seen.read_text().split()
    assert by_us == by_ssh == (shell or "/bin/sh")


async def test_a_shell_that_is_not_there() -> None:
    words = (USERS_SHELL, "-c", "exec true")
    async with reach(here(SHELL="/nonexistent/shell")) as r:
        failure = await r.fails(
            Code.CONFIG_INVALID, Host("far", "far.example", proxy_command=words)
        )
    assert "cannot start /nonexistent/shell: No such file" in failure.message
    assert "set SHELL to" in failure.hint


# Words


def test_tokens_stand_for_the_host() -> None:
    host = Host("alias", "10.0.0.7", 2222, proxy_command=("nc", "%h:%p", "100%%", "%r@%n", "-%%h-"))
    assert words_for(host, "me") == ["nc", "10.0.0.7:2222", "100%", "me@alias", "-%h-"]
    host = replace(host, host_key_alias="known", proxy_command=("nc", "%k"))
    assert words_for(host, "me") == ["nc", "known"]


@pytest.mark.parametrize(
    ("host", "user"),
    [
        (Host("a", "-oProxyCommand=evil", proxy_command=("nc", "%h")), "me"),
        (Host("a", "h;touch X", proxy_command=("sh", "-c", "nc %h")), "me"),
        (Host("a", "$(id)", proxy_command=("sh", "-c", "nc %h")), "me"),
        (Host("a b", "host", proxy_command=("nc", "%n")), "me"),
        (Host("a", "host\n", proxy_command=("nc", "%h")), "me"),
        (Host("a", "host", proxy_command=("ssh", "%r")), "-l"),
        (Host("a", "host", proxy_command=("ssh", "%r")), "me`id`"),
        (Host("a", "host", proxy_command=("ssh", "%r")), "CORP\\alice"),
        (Host("a", "host", proxy_command=("ssh", "%r")), "svc$"),
        (Host("a", "host", proxy_command=("ssh", "%r")), "john doe"),
        (Host("a", "host", proxy_command=("ssh", "%r")), "#x"),
        (Host("a", "host", proxy_command=("ssh", "%r")), "~root"),
        (Host("a", "host", proxy_command=("ssh", "%r")), "=ls"),
        (Host("a", "host", proxy_command=("ssh", "%r")), "x*"),
        (Host("a", "host", proxy_command=("nc", "%x")), "me"),
        (Host("a", "host", proxy_command=("nc", "%")), "me"),
    ],
)
def test_what_could_mean_something_else_is_refused(host: Host, user: str) -> None:
    with pytest.raises(Failure) as caught:
        words_for(host, user)
    assert caught.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize("shell", ["sh", "bash", "zsh", "fish"])
@pytest.mark.parametrize(
    "user", ["alice:target", "alice#target", "alice%node1", "müller", "a/b", "user=x", "a@b,c"]
)
def test_a_user_that_a_shell_takes_as_it_is_may_stand_in_a_line_for_one(
    user: str, shell: str
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    host = Host("a", "host", proxy_command=(shell, "-c", "exec printf '%%s\\n' %r x%r"))
    done = subprocess.run(words_for(host, user), capture_output=True, check=True)
    assert done.stdout.decode().split() == [user, f"x{user}"]


def test_what_is_not_used_need_not_be_safe() -> None:
    assert words_for(Host("a b", "host", proxy_command=("nc", "%h")), "-me") == ["nc", "host"]
