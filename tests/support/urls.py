"""A server as sish, localhost.run and their like are: a forward's public URL is told in a session.

Anybody may log in. The forward is granted only once a shell was asked for, as some of them do, and
whoever opens anything but a session is shown the door, as sish does to those who ask for a
connection that it does not know. Nothing is forwarded.
"""

from __future__ import annotations

from pathlib import Path

from tests.support.hostile import Peer, ScriptedServer
from tunnelctl.wire import messages
from tunnelctl.wire.messages import Message, Reader

URL = "https://three-words.example.com"
# As sish does it: colours, and one line that is no whole line yet.
TEXT = (
    b"\x1b[41mPress Ctrl-C to close the session.\x1b[0m\r\n",
    b"Starting SSH Forwarding service for http:80.\r\n\x1b[44mHT",
    b"TPS\x1b[0m: " + URL.encode() + b"\r\n\r\n",
)
_OURS = 7


class UrlServer(ScriptedServer):
    """`requests` are what was asked for, in order; `more` is said after the URL."""

    def __init__(self, *more: bytes, on_stderr: bytes = b"", ends: bool = False) -> None:
        self.requests: list[str] = []
        self._more = more
        self._on_stderr = on_stderr
        self._ends = ends
        super().__init__(self._talk)

    def alias(self, home: Path, name: str) -> None:
        """Have `ssh NAME` of the user with that home reach it."""
        folder = home / ".ssh"
        folder.mkdir(mode=0o700, exist_ok=True)
        known = folder / f"known_{name}"
        known.write_text(f"[127.0.0.1]:{self.port} {self.host_key}\n")
        config = folder / "config"
        with config.open("a") as file:
            file.write(
                f"Host {name}\n  HostName 127.0.0.1\n  Port {self.port}\n  User me\n"
                f"  IdentityAgent none\n  UserKnownHostsFile {known}\n"
            )
        config.chmod(0o600)

    def _talk(self, peer: Peer) -> None:
        waiting: list[bytes] | None = []  # replies, until somebody listens
        number = 0
        while True:
            payload = peer.receive()
            reader = Reader(payload, 1)
            if payload[0] == Message.GLOBAL_REQUEST:
                name, wants_reply = reader.text(), reader.boolean()
                self.requests.append(name)
                is_granted = name == "tcpip-forward"
                kind = Message.REQUEST_SUCCESS if is_granted else Message.REQUEST_FAILURE
                if wants_reply and waiting is None:
                    peer.send(bytes((kind,)))
                elif wants_reply and waiting is not None:
                    waiting.append(bytes((kind,)))
            elif payload[0] == Message.CHANNEL_OPEN:
                kind_of_channel = reader.text()
                self.requests.append(kind_of_channel)
                if kind_of_channel != "session":
                    return
                number = reader.u32()
                peer.send(messages.channel_open_confirmation(number, _OURS, 1 << 20, 1 << 15))
            elif payload[0] == Message.CHANNEL_REQUEST:
                reader.u32()
                self.requests.append(reader.text())
                peer.send(*(waiting or ()))
                waiting = None
                self._say(peer, number)

    def _say(self, peer: Peer, number: int) -> None:
        for part in (*TEXT, *self._more):
            peer.send(messages.channel_data(number, part))
        if self._on_stderr:
            head = bytes((Message.CHANNEL_EXTENDED_DATA,)) + messages.u32(number) + messages.u32(1)
            peer.send(head + messages.string(self._on_stderr))
        if self._ends:
            peer.send(messages.channel_eof(number), messages.channel_close(number))
