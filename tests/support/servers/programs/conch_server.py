"""Twisted Conch's server for unix users on 127.0.0.1; its user need not be one of the system.

python conch_server.py PORT HOST_KEY AUTHORIZED_KEYS USER PASSWORD [older]

`older`: addresses are tuples, as they were; Conch of today fails for a forward of port 0 without.
"""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import Any

from twisted.conch.checkers import InMemorySSHKeyDB, SSHPublicKeyChecker
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.unix import UnixConchUser
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.interfaces import IListeningPort

_PORT, _HOST_KEY, _AUTHORIZED_KEYS, _USER, _PASSWORD, *_OPTIONS = sys.argv[1:]


class User(UnixConchUser):  # type: ignore[misc]  # twisted need not be installed
    """Conch's own forwards, as whoever runs this."""

    def __init__(self) -> None:
        super().__init__(pwd.getpwuid(os.geteuid()).pw_name)

    def _runAsUser(self, f: Any, *args: Any, **kw: Any) -> Any:
        """Conch becomes the user for it; here that is who we are."""
        made = f(*args, **kw)
        is_older = "older" in _OPTIONS and IListeningPort.providedBy(made)
        return Port(made) if is_older else made


class Port:
    """A listening port as Conch's global_tcpip_forward takes it, which reads a tuple."""

    def __init__(self, port: Any) -> None:
        self._port = port

    def getHost(self) -> tuple[str, str, int]:
        """The address of the listener."""
        address = self._port.getHost()
        return ("TCP", address.host, address.port)

    def stopListening(self) -> Any:
        """See IListeningPort."""
        return self._port.stopListening()


class Realm:
    """Everybody who logged in is the one user."""

    def requestAvatar(self, name: bytes, mind: Any, *interfaces: Any) -> Any:
        """See twisted.cred.portal.IRealm."""
        user = User()
        return interfaces[0], user, user.logout


host_key = Key.fromFile(_HOST_KEY)
keys = [Key.fromString(line) for line in Path(_AUTHORIZED_KEYS).read_bytes().splitlines()]
SSHFactory.publicKeys = {host_key.sshType(): host_key.public()}
SSHFactory.privateKeys = {host_key.sshType(): host_key}
SSHFactory.portal = Portal(
    Realm(),
    [
        SSHPublicKeyChecker(InMemorySSHKeyDB({_USER.encode(): keys})),
        InMemoryUsernamePasswordDatabaseDontUse(**{_USER: _PASSWORD.encode()}),
    ],
)
network: Any = reactor
network.listenTCP(int(_PORT), SSHFactory(), interface="127.0.0.1")
network.run()
