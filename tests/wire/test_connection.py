"""Two ends of RFC 4254 talking to each other without a network, and one end facing a bad peer."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tunnelctl.wire import messages
from tunnelctl.wire.channel import Channel, ChannelHandler
from tunnelctl.wire.connection import Connection, IncomingOpen
from tunnelctl.wire.messages import Message, OpenFailure, ProtocolError, Reader
from tunnelctl.wire.window import PACKET_MAX, WINDOW, RoundTrip


class Client(ChannelHandler):
    """Remembers what happened to its channel."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.received = b""
        self.errors = 0
        self.channel: Channel | None = None

    def opened(self) -> None:
        self.log.append("opened")

    def open_failed(self, reason: int, description: str) -> None:
        self.log.append(f"refused {reason} {description}")

    def data(self, data: memoryview) -> None:
        self.received += bytes(data)
        assert self.channel is not None
        self.channel.consumed(len(data))

    def stderr(self, data: bytes) -> None:
        self.errors += len(data)

    def eof(self) -> None:
        self.log.append("eof")

    def closed(self) -> None:
        self.log.append("closed")

    def window_opened(self) -> None:
        self.log.append("window")


class End:
    """One end: an Acceptor that accepts everything, with a queue of messages to the other."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.connection = Connection(self.sent.append, self, RoundTrip(lambda: 0.0))
        self.accepted: list[Client] = []
        self.incoming: list[IncomingOpen] = []
        self.answers_at_once = True

    def channel_open(self, incoming: IncomingOpen) -> None:
        self.incoming.append(incoming)
        if self.answers_at_once:
            self.accept()

    def accept(self) -> None:
        client = Client()
        client.channel = self.incoming.pop(0).accept(client)
        self.accepted.append(client)

    def global_request(self, name: str, data: Reader) -> bytes | None:
        return data.rest() if name == "echo" else None


def deliver(a: End, b: End) -> None:
    """Carry messages both ways until nothing is left."""
    while a.sent or b.sent:
        for source, sink in ((a, b), (b, a)):
            queued, source.sent[:] = list(source.sent), []
            for message in queued:
                assert sink.connection.receive(memoryview(message))


def opened_pair() -> tuple[End, End, Client, Client]:
    here, there = End(), End()
    client = Client()
    client.channel = here.connection.open_channel("direct-tcpip", b"", client)
    deliver(here, there)
    return here, there, client, there.accepted[0]


def channel_of(client: Client) -> Channel:
    assert client.channel is not None
    return client.channel


def receive(end: End, message: bytes) -> None:
    end.connection.receive(memoryview(message))


def test_a_handler_that_handles_nothing_meets_every_event() -> None:
    here, there = End(), End()
    here.connection.open_channel("session", b"", ChannelHandler())
    deliver(here, there)
    server = channel_of(there.accepted[0])
    server.send_data(b"output")
    there.sent.append(extended_data(server.remote_id, b"an error"))
    server.on_window_adjust(1)
    server.send_eof()
    server.close()
    deliver(here, there)
    assert here.connection.channels == {}


def test_standard_error_is_told_and_given_back_at_once() -> None:
    here, _, client, _ = opened_pair()
    channel = channel_of(client)
    sent = 0
    while sent < WINDOW:
        receive(here, extended_data(channel.local_id, bytes(PACKET_MAX)))
        sent += PACKET_MAX
    assert client.errors == sent
    granted = sum(Reader(memoryview(message), 5).u32() for message in here.sent)
    assert granted > WINDOW / 2


@pytest.mark.parametrize("ends", [messages.channel_eof, messages.channel_close])
def test_no_window_is_granted_to_a_peer_that_has_ended(ends: Callable[[int], bytes]) -> None:
    here, there = End(), End()
    channel = here.connection.open_channel("direct-tcpip", b"", ChannelHandler())
    deliver(here, there)
    for _ in range(WINDOW // PACKET_MAX):
        receive(here, messages.channel_data(channel.local_id, bytes(PACKET_MAX)))
    receive(here, ends(channel.local_id))
    here.sent.clear()
    channel.consumed(WINDOW)
    assert here.sent == []


def extended_data(recipient: int, data: bytes) -> bytes:
    """SSH_MSG_CHANNEL_EXTENDED_DATA of the only kind that RFC 4254 section 5.2 knows."""
    head = struct.pack(">BII", Message.CHANNEL_EXTENDED_DATA, recipient, 1)
    return head + messages.string(data)


def test_half_close_is_kept_both_ways_and_the_number_is_freed() -> None:
    here, there, client, server = opened_pair()
    channel_of(client).send_data(b"question")
    channel_of(client).send_eof()
    deliver(here, there)
    assert (server.received, server.log) == (b"question", ["eof"])
    channel_of(server).send_data(b"answer")
    channel_of(server).send_eof()
    channel_of(server).close()
    deliver(here, there)
    assert client.received == b"answer"
    assert client.log == ["opened", "eof", "closed"]
    assert not here.connection.channels
    assert not there.connection.channels


def test_nothing_is_sent_after_our_close() -> None:
    here, _, client, _ = opened_pair()
    channel_of(client).close()
    here.sent.clear()
    assert channel_of(client).send_data(b"late") == 0
    channel_of(client).send_eof()
    channel_of(client).consumed(WINDOW)
    channel_of(client).close()
    assert here.sent == []


def test_no_data_is_sent_after_our_eof() -> None:
    here, _, client, _ = opened_pair()
    channel_of(client).send_eof()
    here.sent.clear()
    assert channel_of(client).send_data(b"late") == 0
    assert here.sent == []


def test_data_that_comes_after_our_close_reaches_nobody() -> None:
    here, there, client, server = opened_pair()
    channel_of(server).send_data(b"on its way")
    channel_of(client).close()
    deliver(here, there)
    assert client.received == b""
    assert server.log == ["closed"]


def test_an_open_that_was_given_up_is_closed_when_it_is_confirmed() -> None:
    here, there = End(), End()
    there.answers_at_once = False
    client = Client()
    channel = here.connection.open_channel("direct-tcpip", b"", client)
    deliver(here, there)
    channel.close()
    there.accept()
    deliver(here, there)
    assert there.accepted[0].log == ["closed"]
    assert client.log == []
    assert not here.connection.channels
    assert not there.connection.channels


def test_a_refusal_keeps_its_reason_and_text() -> None:
    here, there = End(), End()
    there.answers_at_once = False
    first, second = Client(), Client()
    for client in (first, second):
        here.connection.open_channel("direct-tcpip", b"", client)
    deliver(here, there)
    there.incoming[1].reject(OpenFailure.ADMINISTRATIVELY_PROHIBITED, "no")
    there.incoming[0].reject(OpenFailure.CONNECT_FAILED, "Connection refused")
    deliver(here, there)
    assert first.log == ["refused 2 Connection refused"]
    assert second.log == ["refused 1 no"]
    assert not here.connection.channels


def test_replies_to_requests_come_to_those_who_asked_in_order() -> None:
    here, there = End(), End()
    replies: list[bytes | None] = []
    here.connection.request("echo", b"one", replies.append)
    here.connection.request("unknown", b"", replies.append)
    here.connection.request("echo", b"two", replies.append)
    deliver(here, there)
    assert replies == [b"one", None, b"two"]


def test_a_lost_connection_ends_every_channel_and_request_once() -> None:
    here, _, client, _ = opened_pair()
    replies: list[bytes | None] = []
    here.connection.request("echo", b"", replies.append)
    here.connection.lose()
    here.connection.lose()
    assert client.log == ["opened", "closed"]
    assert replies == [None]


def test_what_is_asked_of_a_lost_connection_is_refused_at_once() -> None:
    here, _, _, _ = opened_pair()
    here.connection.lose()
    here.sent.clear()
    client = Client()
    client.channel = here.connection.open_channel("direct-tcpip", b"", client)
    replies: list[bytes | None] = []
    here.connection.request("echo", b"", replies.append)
    assert (client.log, replies) == (["closed"], [None])
    assert not here.connection.channels
    assert here.sent == []


def test_no_bytes_are_no_news() -> None:
    here, _, client, _ = opened_pair()
    number = channel_of(client).local_id
    client.data = lambda data: pytest.fail("told of nothing")  # type: ignore[method-assign]  # a double's
    receive(here, messages.channel_data(number, b""))


def test_a_server_that_asks_for_signs_of_life_on_a_channel_gets_one() -> None:
    here, _, client, server = opened_pair()
    channel = channel_of(server)
    keepalive = bytes((Message.CHANNEL_REQUEST,)) + messages.u32(channel.remote_id)
    receive(here, keepalive + messages.string("keepalive@openssh.com") + b"\1")
    assert here.sent == [messages.channel_failure(channel_of(client).remote_id)]


@given(st.lists(st.integers(1, 3 * PACKET_MAX), max_size=60))
def test_the_sender_never_overruns_the_window_and_all_bytes_arrive(sizes: list[int]) -> None:
    here, there, client, server = opened_pair()
    sent = b""
    for index, size in enumerate(sizes):
        data = bytes((index % 251,)) * size
        done = channel_of(client).send_data(data)
        sent += data[:done]
        assert channel_of(client).sending.window >= 0
        if index % 3 == 0:
            deliver(here, there)
    deliver(here, there)
    assert server.received == sent


# What a bad peer may send.


def _bad_messages(local_id: int) -> list[tuple[str, bytes]]:
    number = messages.u32(local_id)
    return [
        ("data for a channel that is not open", messages.channel_data(99, b"x")),
        ("a window past 2^32-1", messages.channel_window_adjust(local_id, 0xFFFF_FFFF)),
        ("a second confirmation", messages.channel_open_confirmation(local_id, 7, 1, 1)),
        ("a refusal of an open channel", messages.channel_open_failure(local_id, 1, "no")),
        ("a reply that nobody asked for", bytes((Message.REQUEST_SUCCESS,))),
        ("a channel reply nobody asked for", bytes((Message.CHANNEL_SUCCESS,)) + number),
        ("a message that is cut short", bytes((Message.CHANNEL_EOF, 0, 0))),
        ("data that is longer than it says", messages.channel_data(local_id, b"x") + b"y"),
        ("data that is shorter than it says", messages.channel_data(local_id, b"xyz")[:-1]),
        ("an open with packets of no size", messages.channel_open("x", 1, 1, 0, b"")),
    ]


@pytest.mark.parametrize(
    "message", [pytest.param(m, id=name) for name, m in _bad_messages(local_id=0)]
)
def test_a_peer_that_breaks_the_protocol_is_named(message: bytes) -> None:
    here, _, _, _ = opened_pair()
    with pytest.raises(ProtocolError):
        receive(here, message)


def test_more_data_than_the_window_is_a_protocol_error() -> None:
    here, _, client, _ = opened_pair()
    channel = channel_of(client)
    client.data = lambda data: None  # type: ignore[method-assign]  # a reader that never reads
    packet = messages.channel_data(channel.local_id, bytes(PACKET_MAX))
    # OpenSSH tolerates a tenth more than the window (channels.c), and so do we.
    for _ in range((WINDOW + WINDOW // 10) // PACKET_MAX):
        receive(here, packet)
    with pytest.raises(ProtocolError, match="window"):
        receive(here, packet)


def test_data_after_eof_is_a_protocol_error() -> None:
    here, _, client, _ = opened_pair()
    number = channel_of(client).local_id
    receive(here, messages.channel_eof(number))
    with pytest.raises(ProtocolError):
        receive(here, messages.channel_data(number, b"x"))


def test_a_closed_channel_is_not_open_any_more() -> None:
    here, _, client, _ = opened_pair()
    number = channel_of(client).local_id
    receive(here, messages.channel_close(number))
    with pytest.raises(ProtocolError):
        receive(here, messages.channel_data(number, b"x"))


@given(st.lists(st.binary(min_size=1, max_size=64), max_size=30))
def test_arbitrary_messages_raise_nothing_but_protocol_errors(payloads: list[bytes]) -> None:
    here, _, _, _ = opened_pair()
    for payload in payloads:
        try:
            here.connection.receive(memoryview(payload))
        except ProtocolError:
            return


@given(
    st.lists(
        st.tuples(st.sampled_from(list(range(80, 101))), st.integers(0, 3), st.binary(max_size=40)),
        max_size=40,
    )
)
def test_messages_that_look_right_raise_nothing_but_protocol_errors(
    parts: list[tuple[int, int, bytes]],
) -> None:
    here, _, client, _ = opened_pair()
    for kind, number, rest in parts:
        try:
            receive(here, bytes((kind,)) + messages.u32(number) + rest)
        except ProtocolError:
            return
        assert channel_of(client).receiving.window.open <= WINDOW


@pytest.mark.parametrize("off", [0, 1])
def test_a_message_that_the_peer_does_not_know_is_refused(off: int) -> None:
    """RFC 4253 section 11.4. TinySSH counts one packet too many (`off`)."""
    numbers = iter(range(7, 99))
    end = End()

    def ask(message: bytes, numbered: Callable[[int], None]) -> None:
        numbered(next(numbers))
        end.sent.append(message)

    connection = Connection(end.sent.append, end, RoundTrip(lambda: 0.0), ask)
    replies: list[tuple[str, bytes | None]] = []
    requests = [
        connection.request(name, b"", lambda reply, name=name: replies.append((name, reply)))  # type: ignore[misc]  # a lambda's default
        for name in ("a", "b", "c")
    ]
    client = Client()
    connection.open_channel("direct-tcpip", b"", client)
    connection.unimplemented(7 + off)
    connection.receive(memoryview(bytes((Message.REQUEST_SUCCESS,)) + b"yes"))
    connection.unimplemented(9 + off)
    assert replies == [("a", None), ("b", b"yes"), ("c", None)]
    assert [request.is_unknown for request in requests] == [True, False, True]
    connection.unimplemented(10 + off)
    assert client.log == ["refused 3 it knows no channels"]
    connection.unimplemented(50)  # of something that asked for nothing


def test_a_sign_of_life_is_asked_for_in_two_ways_and_each_but_once() -> None:
    end = End()
    signs: list[int] = []
    for number in range(3):
        end.connection.ask_for_sign(lambda number=number: signs.append(number))  # type: ignore[misc]  # a lambda's default
    kinds = [message[0] for message in end.sent]
    assert kinds == [Message.GLOBAL_REQUEST, Message.CHANNEL_OPEN]
    assert not end.connection.channels
    assert not end.connection.is_at_open
    refusal = messages.channel_open_failure(0, 3, "what is that")
    assert end.connection.receive(memoryview(refusal))
    assert not end.connection.is_at_open  # a server that leaves now leaves no forward
    assert end.connection.receive(memoryview(bytes((Message.REQUEST_FAILURE,))))
    assert signs == [1, 0]
    with pytest.raises(ProtocolError):
        end.connection.receive(memoryview(refusal))
