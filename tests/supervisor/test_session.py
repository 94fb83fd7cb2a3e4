"""What servers print in a session: told and kept, and nothing depends on it."""

from __future__ import annotations

from tests.supervisor.scene import SOON, Scene, local, remote, scene
from tests.support.sshd import OpenSSHServer
from tests.support.urls import URL, UrlServer
from tests.support.waiting import eventually_async
from tunnelctl.spec.host import SessionType
from tunnelctl.state.documents.snapshot import HostState
from tunnelctl.state.documents.status_events import SAYS, EventKind
from tunnelctl.supervisor.speech import LINES_KEPT

SISH = (
    "Press Ctrl-C to close the session.",
    "Starting SSH Forwarding service for http:80.",
    f"HTTPS: {URL}",
)


def told(s: Scene) -> list[str]:
    """The lines of a session that events told."""
    said = [e for e in s.events if e.message.startswith(SAYS)]
    assert all((e.kind, e.name, e.state) == (EventKind.HOST, "server", "up") for e in said)
    return [event.message.removeprefix(SAYS) for event in said]


async def test_a_forward_that_waits_for_a_session_and_the_url_that_it_tells() -> None:
    with UrlServer(on_stderr=b"a warning\n") as server:
        async with scene() as s:
            host = server.host_with(name="server", session_type=SessionType.AUTO)
            await s.up(s.profile(remote("web", 80, 9), host=host))
            await eventually_async(lambda: len(told(s)) == 4, "all is told")
            assert told(s) == [*SISH, "a warning"]
            assert s.host_status().said == (*SISH, "a warning")
        # In the order of ssh(1), with nothing that would look like a terminal or an agent.
        assert server.requests[:3] == ["tcpip-forward", "session", "shell"]
        assert not {"pty-req", "env", "auth-agent-req@openssh.com"} & {*server.requests}


async def test_the_link_outlives_its_session() -> None:
    with UrlServer(b"bye", ends=True) as server:
        async with scene() as s:
            host = server.host_with(name="server", session_type=SessionType.DEFAULT)
            await s.up(s.profile(remote("web", 80, 9), host=host))
            await eventually_async(lambda: told(s)[-1:] == ["bye"], "it said good-bye")
            s.supervisor.hurry("to see that it answers")
            await eventually_async(
                lambda: server.requests.count("keepalive@openssh.com") > 0, "it is asked"
            )
            assert s.host_status().state is HostState.UP
            assert s.host_status().reconnects == 0


async def test_a_talkative_server_fills_neither_log_nor_memory() -> None:
    many = b"".join(b"line %d\n" % n for n in range(3000))
    with UrlServer(*(many[at : at + 30_000] for at in range(0, len(many), 30_000))) as server:
        async with scene() as s:
            host = server.host_with(name="server", session_type=SessionType.DEFAULT)
            await s.up(s.profile(remote("web", 80, 9), host=host))

            def has_come() -> bool:
                return (s.host_status().said or ("",))[-1] == "line 2999"

            await eventually_async(has_come, "all of it came")
            assert len(s.host_status().said or ()) == LINES_KEPT
            assert len(told(s)) < LINES_KEPT + 20


async def test_openssh_has_a_session_only_where_one_is_asked_for(sshd: OpenSSHServer) -> None:
    sshd.reconfigure('ForceCommand echo "for you"; echo and you >&2')
    async with scene() as s:
        for session_type, said in (
            (SessionType.NONE, None),
            (SessionType.AUTO, None),
            (SessionType.DEFAULT, {"for you", "and you"}),
        ):
            host = sshd.host(session_type=session_type, reconnect=SOON)
            await s.up(s.profile(local(port=0), host=host))
            if said is not None:
                await eventually_async(lambda: len(told(s)) == 2, "both streams are told")
                assert {*told(s)} == said
            status = s.host_status()
            assert (status.said and {*status.said}) == said
            await s.supervisor.down("dev", 0)


async def test_a_server_that_gives_no_session_still_serves(sshd: OpenSSHServer) -> None:
    sshd.reconfigure("MaxSessions 0")
    async with scene() as s:
        host = sshd.host(session_type=SessionType.DEFAULT)
        await s.up(s.profile(local(), host=host))
        await eventually_async(
            lambda: any("grants no session" in event.message for event in s.events), "it is told"
        )
        assert s.host_status().state is HostState.UP
