"""`known_hosts_command`: a program that prints known_hosts lines about a host.

Owns when it is run and its arguments (ssh_config(5) KnownHostsCommand and TOKENS; OpenSSH
sshconnect.c, load_hostkeys_command). Blocking, at most the host's `connect_timeout`. Must never
treat a program that failed as one that knows no keys: then no host key counts.
"""

from __future__ import annotations

import base64

from tunnelctl.net.processes.command import CommandError, output_of
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.key_files import key_type
from tunnelctl.ssh.server_key import sentences
from tunnelctl.ssh.tokens import KNOWN_AS, OF_KEY, Values, expand

# The source of its lines in messages.
PRINTED = "the output of known_hosts_command"
_KEY = "known_hosts_command"
_SECONDS = 10.0
_MAX_BYTES = 1024 * 1024
_NOTHING_SHOWN = "NONE"


def printed_about(
    host: Host, name: str, shown: bytes | None, fingerprint: str, environment: Environment
) -> str:
    """The output of the host's program about `name`. It runs in `environment`.

    `shown` is the key or certificate that the server presents, with its fingerprint. None, with an
    empty fingerprint, before there is one, when only the order of the algorithms is requested.

    Raises:
        Failure: config-invalid for arguments that cannot be passed to it, handshake-failed if it
            cannot be run or its exit status is not 0.
    """
    key = ("ORDER", _NOTHING_SHOWN, _NOTHING_SHOWN, _NOTHING_SHOWN)
    if shown is not None:
        key = ("HOSTNAME", key_type(shown), fingerprint, base64.b64encode(shown).decode())
    values: Values = {
        "H": (name, KNOWN_AS),
        "k": (host.name if host.host_key_alias is None else host.host_key_alias, KNOWN_AS),
        **{token: (value, OF_KEY) for token, value in zip("ItfK", key, strict=True)},
    }
    words = expand(host, _KEY, host.known_hosts_command, values)
    seconds = min(_SECONDS, host.connect_timeout)
    try:
        status, printed = output_of(words, environment, _MAX_BYTES, seconds)
    except CommandError as error:
        raise sentences.known_hosts_command_failed(host, str(error)) from None
    if status != 0:
        raise sentences.known_hosts_command_failed(host, f"it exited with {status}")
    return printed.decode(errors="replace")
