"""`known_hosts_command`: a program that prints known_hosts lines about the host that is asked for.

Owns when it is asked and what it is told (ssh_config(5) KnownHostsCommand and TOKENS; OpenSSH
sshconnect.c, load_hostkeys_command). Blocking, at most the host's `connect_timeout`. Must never
take a program that failed for one that knows nothing: then no host key counts.
"""

from __future__ import annotations

import base64

from tunnelctl.net.processes.command import CommandError, output_of
from tunnelctl.spec.environment import Environment
from tunnelctl.spec.host import Host
from tunnelctl.ssh.keys.files import key_type
from tunnelctl.ssh.server_key import sentences
from tunnelctl.ssh.tokens import KNOWN_AS, OF_KEY, Values, expand

# Where its lines are from, as messages say it.
PRINTED = "the output of known_hosts_command"
_KEY = "known_hosts_command"
_SECONDS = 10.0
_MAX_BYTES = 1024 * 1024
_NOTHING_SHOWN = "NONE"


def printed_about(
    host: Host, name: str, shown: bytes | None, fingerprint: str, environment: Environment
) -> str:
    """What the host's program prints about `name`. It runs in `environment`.

    `shown` is the key or certificate that the server shows, with its fingerprint; None before
    there is one, when that is empty and only the order of the algorithms is asked for.

    Raises:
        Failure: config-invalid for words that cannot be given to it, handshake-failed when it
            cannot be run or ends otherwise than with 0.
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
