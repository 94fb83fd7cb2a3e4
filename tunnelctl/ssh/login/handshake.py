"""From a connected socket to a session: version, key exchange, host key, login. Blocking.

Runs in a worker thread, under one absolute deadline. Owns the socket until it returns the
Transport; if it raises instead, the socket is closed and the Transport's thread has ended. Must
never send a byte of authentication to a server whose host key was not verified.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from enum import StrEnum

from tunnelctl import clock
from tunnelctl.errors import Failure
from tunnelctl.net import files
from tunnelctl.net.endings import shut_down
from tunnelctl.spec.algorithms import CIPHERS, HOST_KEY_ALGORITHMS, KEX_ALGORITHMS, MACS
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.spec.secret import ResolveSecret
from tunnelctl.ssh import sentences
from tunnelctl.ssh.failures import During, peer_failure
from tunnelctl.ssh.keys.certificates import fingerprint, is_certified, key_type_of, plain_key
from tunnelctl.ssh.keys.credentials import Logins
from tunnelctl.ssh.keys.key_files import RSA_BITS_MIN, key_type, too_short
from tunnelctl.ssh.login.auth import authenticate
from tunnelctl.ssh.login.client_transport import ClientTransport
from tunnelctl.ssh.milestones import Milestone, Passed, Trace, Warn, logged, untraced
from tunnelctl.ssh.packets import incompatible
from tunnelctl.ssh.packets.transport import Offer, SshTransport
from tunnelctl.ssh.questions import Ask, pausing
from tunnelctl.ssh.sentences import excerpt
from tunnelctl.ssh.server_key.verify import known_for, verify

# How long the Transport's thread may take to notice that its socket was shut down, in seconds. It
# waits only for the socket; this is a bound for a machine under heavy load.
_END_OF_THREAD = 10.0


class Stage(StrEnum):
    """The stages of a connection attempt: states of a host, and one before them."""

    QUEUED = "queued"
    CONNECTING = "connecting"
    AUTHENTICATING = "authenticating"


def handshake(
    host: Host,
    sock: socket.socket,
    environment: Environment,
    resolve_secret: ResolveSecret,
    on_stage: Callable[[Stage], None],
    deadline: float,
    ask: Ask | None = None,
    trace: Trace = untraced,
    logins: Logins | None = None,
    warn: Warn = logged,
    *,
    greeted: bool = False,
) -> SshTransport:
    """Log in to `host` over `sock`, before `deadline` (a time of `clock.monotonic`). `greeted`: our
    version line was already sent.

    The deadline is suspended while `ask` waits for a person, and while an agent signs. `logins` has
    the credentials of earlier logins; `warn` gets problems that did not stop the login. Calls
    `on_stage(Stage.AUTHENTICATING)` in this thread once the host key is accepted. The returned
    Transport is authenticated and still run by its own thread. To give up earlier, shut the socket
    down from another thread: every wait for the server then ends at once.

    Raises:
        Failure: what went wrong; nothing is left open.
    """
    with files.until(lambda: deadline):
        transport = _exchange_keys(host, sock, environment, deadline, trace, greeted=greeted)
    try:
        asked = None if ask is None else pausing(ask, transport)
        blob = transport.host_key_blob
        with files.until(lambda: transport.deadline):
            verify(host, blob, environment, asked, warn)
            trace(host, Milestone.HOST_KEY, Passed(f"{key_type(blob)} {fingerprint(blob)}"))
            on_stage(Stage.AUTHENTICATING)
            by = authenticate(transport, host, environment, resolve_secret, asked, logins, warn)
        trace(host, Milestone.AUTHENTICATION, Passed(by))
    except BaseException:
        _end(transport, sock)
        raise
    transport.deadline = None
    return transport


def read_host_key(
    host: Host, sock: socket.socket, environment: Environment, deadline: float
) -> bytes:
    """The key that `host` presents over `sock`, which is closed; nothing is authenticated or
    recorded. Our version line was already sent.

    It is the key that a `handshake` with the same host would get. Blocking, at most until
    `deadline` (a time of `clock.monotonic`).

    Raises:
        Failure: the handshake with the host failed.
    """
    with files.until(lambda: deadline):
        transport = _exchange_keys(host, sock, environment, deadline, greeted=True)
    _end(transport, sock)
    return transport.host_key_blob


def _exchange_keys(
    host: Host,
    sock: socket.socket,
    environment: Environment,
    deadline: float,
    trace: Trace = untraced,
    *,
    greeted: bool,
) -> ClientTransport:
    """Version and first key exchange. The server has proved that it owns the key it presents."""
    done = threading.Event()
    try:
        transport = ClientTransport(sock, _offer(host, environment), greeted=greeted)
    except BaseException:
        sock.close()
        raise
    try:
        transport.deadline = deadline
        transport.start_client(event=done)
        # Set when the keys are there, and when the thread ends: at the latest at the deadline.
        done.wait(max(0.0, deadline - clock.monotonic()) + _END_OF_THREAD)
        if transport.remote_version:
            trace(host, Milestone.VERSION, Passed(excerpt(transport.remote_version)))
        if not transport.initial_kex_done:
            raise _no_keys(host, transport)
        if bits := too_short(plain_key(transport.host_key_blob)):
            raise sentences.host_key_too_short(host, bits, RSA_BITS_MIN)
        agreed = Passed(transport.agreed, is_strict=transport.agreed_on_strict_kex)
        trace(host, Milestone.KEY_EXCHANGE, agreed)
    except BaseException:
        _end(transport, sock)
        raise
    return transport


def _no_keys(host: Host, transport: ClientTransport) -> Failure:
    # Either side may notice first: a server that finds nothing in common may disconnect before we
    # have compared its lists.
    if found := transport.nothing_in_common:
        return incompatible.failure(host, found, transport.remote_version)
    return peer_failure(host, transport.saved_exception, During.KEY_EXCHANGE, transport.said)


def _host_key_algorithms(host: Host, environment: Environment) -> tuple[str, ...]:
    """All allowed algorithms, those of keys that are known for the host first.

    Certificates come before all others if an authority is known for the host (OpenSSH
    sshconnect2.c, order_hostkeyalgs); otherwise they would prove no more than the key in them.
    """
    allowed = host.host_key_algorithms or HOST_KEY_ALGORITHMS
    keys = [name for name in allowed if not is_certified(name)]
    certificates = [name for name in allowed if is_certified(name)]
    known = known_for(host, environment)
    order = certificates if known.has_authority or not keys else []
    order += [name for name in keys if key_type_of(name) in known.key_types]
    return tuple(dict.fromkeys((*order, *keys)))


def _offer(host: Host, environment: Environment) -> Offer:
    return Offer(
        kex=host.kex_algorithms or KEX_ALGORITHMS,
        host_keys=_host_key_algorithms(host, environment),
        ciphers=host.ciphers or CIPHERS,
        macs=host.macs or MACS,
    )


def _end(transport: ClientTransport, sock: socket.socket) -> None:
    """End the thread, then close the socket, always in this order.

    If a descriptor is closed while the thread waits for it, its number may belong to another file
    by the time that the thread reads.
    """
    shut_down(sock)
    transport.packetizer.end()  # the thread is parked after a successful login
    if transport.is_alive():
        transport.join(_END_OF_THREAD)
    transport.close()
    sock.close()
