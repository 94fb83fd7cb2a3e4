"""Every target by its name. A target takes any bytes; whatever it raises is a fault of ours."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from fuzz import connection, packets
from fuzz.script import Script
from tunnelctl.config.profile.load import load_profile
from tunnelctl.config.yaml import yaml12
from tunnelctl.config.yaml.mistakes import KeyPath, Mark, Mistakes, ProfileInvalid
from tunnelctl.ssh.packets.kexinit import List, Proposal
from tunnelctl.ssh.server_key import known_hosts as known_hosts_file
from tunnelctl.wire.messages import ProtocolError, Reader
from tunnelctl.wire.socks import Reply, SocksError, SocksServer

# The longest handshake: version, command, port, address, user and name with their NULs.
_SOCKS_LONGEST = 8 + 256 + 256
# Bytes of a large profile, and seconds of CPU that are more than checking it can take.
_LARGE = 256 * 1024
_TOO_LONG = 5.0
_NAMES = ("db.internal", "[10.0.0.7]:2222", "::1")


def read_fields(data: bytes) -> None:
    """Fields of a message in any order: each within the message, and nothing read twice."""
    script = Script(data)
    message = script.take(script.number(2))
    reader, size = Reader(message), 0
    try:
        while not script.is_over:
            kind = script.number(1) % 4
            if kind == 0:
                reader.boolean()
                size += 1
            elif kind == 1:
                assert reader.u32() == int.from_bytes(message[size : size + 4], "big")
                size += 4
            else:
                start = size + 4
                field = reader.string() if kind == 2 else None
                text = reader.text() if kind == 3 else ""
                size = start + int.from_bytes(message[size:start], "big")
                assert field is None or field == message[start:size]
                assert field is not None or text == message[start:size].decode("utf-8", "replace")
            assert size <= len(message)
    except ProtocolError:
        return
    assert reader.rest() == message[size:]


def socks(data: bytes) -> None:
    """A SOCKS client: how its bytes are cut makes no difference, and few are kept."""
    script = Script(data)
    step = 1 + script.number(1)
    stream = script.take(len(data))
    whole = _socks_outcome(stream, len(stream) or 1)
    cut = _socks_outcome(stream, step)
    assert whole == cut, (whole, cut)


def _socks_outcome(stream: bytes, step: int) -> tuple[object, bytes, bytes]:
    """What was asked for, what was said, and what was left for the target."""
    server, said = SocksServer(), b""
    for start in range(0, len(stream), step):
        piece = stream[start : start + step]
        try:
            said += server.receive(piece)
        except SocksError as error:
            return "refused", said + error.reply, b""
        if server.request is not None:
            assert server.request.host
            assert 0 < server.request.port <= 0xFFFF
            assert all(server.reply(code) for code in Reply)
            return server.request, said, server.rest + stream[start + step :]
    assert len(stream) <= _SOCKS_LONGEST, "a handshake without an end is not kept for ever"
    return None, said, b""


def kexinit(data: bytes) -> None:
    """A KEXINIT: ten lists of names, whatever they are, or the protocol is broken."""
    try:
        proposal = Proposal.read(data)
    except ProtocolError:
        return
    assert len(proposal.lists) == len(List)
    assert all(name and "," not in name for names in proposal.lists for name in names)
    assert not proposal.signals & set(proposal.lists[List.KEX])
    assert proposal.size <= len(data)
    assert Proposal.read(data[: proposal.size]) == proposal
    assert not proposal.guessed_wrong(proposal)


def known_hosts(data: bytes) -> None:
    """A known_hosts file: a bad line costs that line alone."""
    text = data.decode("utf-8", "replace")
    for key in known_hosts_file.parse(text, "known_hosts"):
        assert key.blob
        for name in _NAMES:
            key.matches(name)


def yaml(data: bytes) -> None:
    """A profile's YAML: a tree or mistakes, each with its place."""
    mistakes = Mistakes()
    text = yaml12.decode(data, "dev.yaml", mistakes)
    node = None if text is None else yaml12.parse(text, "dev.yaml", mistakes, _as_it_is)
    assert node is not None or mistakes


def profile(data: bytes) -> None:
    """A profile that has a piece of it many times over: what it takes grows as its size does."""
    script = Script(data)
    head, piece = script.take(script.number(1)), script.take(1 + script.number(1))
    tail = script.take(len(data))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "dev.yaml"
        path.write_bytes(head + piece * (_LARGE // max(len(piece), 1)) + tail)
        path.chmod(0o600)
        started = time.thread_time()
        with contextlib.suppress(ProfileInvalid):
            load_profile(path, {"HOME": folder, "PATH": ""})
        took = time.thread_time() - started
    assert took < _TOO_LONG, f"{took:.1f} s"


def _as_it_is(text: str, mark: Mark, path: KeyPath) -> str:
    assert mark.line >= 1
    assert mark.column >= 1
    return text


TARGETS: Mapping[str, Callable[[bytes], None]] = MappingProxyType(
    {
        "connection": connection.run,
        "fields": read_fields,
        "packets": packets.run,
        "kexinit": kexinit,
        "socks": socks,
        "known_hosts": known_hosts,
        "yaml": yaml,
        "profile": profile,
    }
)
