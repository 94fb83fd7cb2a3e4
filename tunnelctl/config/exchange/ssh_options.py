"""Options of ssh(1), and keywords of ssh_config(5), that a profile cannot express.

Owns the three cases: always so, ignored (and reported), or impossible (and refused, if somebody can
leave it out).
"""

from __future__ import annotations

# No command, no terminal, no agent or X11 on the server; nothing is read from the terminal.
ALREADY_SO = frozenset("NfTnqvxakte")
_OWN_CONNECTION = "every profile has a connection of its own"
_OWN_LOG = "what happens is in tunnelctl logs"
_BEST_SIGNATURE = "each key signs with the best that it has and the server takes, never with SHA-1"
_COMPRESSION = "nothing is compressed, so that no secret can be guessed from a packet's length"
_NO_AGENT = "the agent is not forwarded; only a session on the server would have it"
_NO_X11 = "X11 is not forwarded; only a session on the server would have it"
_NO_GSSAPI = "GSSAPI is not supported; the other ways to log in are tried"
# Ignored, or applied more strictly: the tunnel works without it.
WISHES = {
    "C": _COMPRESSION,
    "M": _OWN_CONNECTION,
    "S": _OWN_CONNECTION,
    "E": _OWN_LOG,
    "y": _OWN_LOG,
    "compression": _COMPRESSION,
    **dict.fromkeys(("controlmaster", "controlpath", "controlpersist"), _OWN_CONNECTION),
    **dict.fromkeys(("A", "forwardagent"), _NO_AGENT),
    **dict.fromkeys(("X", "Y", "forwardx11"), _NO_X11),
    **dict.fromkeys(("K", "gssapiauthentication"), _NO_GSSAPI),
    **dict.fromkeys(("pubkeyacceptedalgorithms", "requiredrsasize"), _BEST_SIGNATURE),
}
_NO_COMMAND = "no command is run on the server"
_NO_DEVICE = "network devices are not forwarded"
# The text for those without a text of their own.
NO_COUNTERPART = "it has no counterpart here"
# Without it something would be missing.
REFUSED = {
    "B": "use -b ADDRESS",
    "I": "keys of a token come from an agent: ssh-add -s",
    "O": "there is no master; see tunnelctl ps and tunnelctl down",
    "W": "standard input and output are not forwarded",
    "s": "no subsystem is asked for",
    "remotecommand": _NO_COMMAND,
    **dict.fromkeys(("localcommand", "permitlocalcommand"), "hooks of a profile run commands here"),
    **dict.fromkeys(("w", "tunnel", "tunneldevice"), _NO_DEVICE),
}
# Values that describe what is always so; `*` is every value.
_NO = ("no", "false", "none", "off")
_YES = ("yes", "true")
_HARMLESS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "addkeystoagent",
            "canonicalizehostname",
            "clearallforwardings",
            "compression",
            "controlmaster",
            "controlpath",
            "controlpersist",
            "forwardagent",
            "forwardx11",
            "gssapiauthentication",
            "gssapidelegatecredentials",
            "hostbasedauthentication",
            "identityfile",
            "permitlocalcommand",
            "proxycommand",
            "proxyjump",
            "proxyusefdpass",
            "tunnel",
            "verifyhostkeydns",
            "visualhostkey",
        ),
        _NO,
    ),
    **dict.fromkeys(
        (
            "exitonforwardfailure",
            "kbdinteractiveauthentication",
            "passwordauthentication",
            "pubkeyauthentication",
        ),
        _YES,
    ),
    **dict.fromkeys(
        (
            "batchmode",
            "checkhostip",
            "connectionattempts",
            "escapechar",
            "fingerprinthash",
            "forkafterauthentication",
            "forwardx11trusted",
            "hashknownhosts",
            "ipqos",
            "loglevel",
            "numberofpasswordprompts",
            "requesttty",
            "sendenv",
            "setenv",
            "stdinnull",
            "streamlocalbindunlink",
            "syslogfacility",
            "tcpkeepalive",
            "updatehostkeys",
        ),
        ("*",),
    ),
    "sessiontype": ("none",),
}


def is_already_so(keyword: str, value: str) -> bool:
    """Whether a keyword in lower case has a value that describes what is so for every tunnel."""
    values = _HARMLESS.get(keyword, ())
    return "*" in values or value.strip().lower() in values
