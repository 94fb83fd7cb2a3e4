"""Whatever stands in an ssh_config: our own reader takes and refuses what `ssh -G` does."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.config.conftest import Folder
from tests.config.sshconfigs import ME, by_client, by_own_reader, needs_ssh, ssh_says
from tunnelctl.config.openssh.lines import SshConfigError
from tunnelctl.config.openssh.reader import Asked, Options

KEYWORDS_AND_VALUES = {
    "Host": ("prod", "*", "!prod", "st?ging", "'a b'", '"staging"', "STAGING", "[s]taging"),
    "Match": (
        *("all", "host prod", "host staging,x", "originalhost=st*", "user me", "!user me all"),
        *("final host h.example.com", "canonical", "localuser *,!root", "host PROD*", "final"),
        *("!host prod user x,y", 'host "staging"', "host a b", "user", "tagget x"),
    ),
    "HostName": ("h.example.com", "%h.example.com", "%%h", "H.Example.COM", '"a"', "%n"),
    "User": ("me", "you", '"a b"', "CORP\\x", "a#b", "a'b'", "me\u00a0", "x y", '""'),
    "Port": ("1", "65536", "022", "ssh", "x", '"7"', "8 # c"),
    "IdentityFile": ("~/a", "%d/b", "'a b'", "none", "a\\ b", "/%h/%r/%p", "x y"),
    "UserKnownHostsFile": ("/a", "/a b", '"/a b"', "none", "/%%h ~/x", "none /a", "a\\ b c"),
    "ServerAliveInterval": ("0", "5", "1m", "1h30m", "none", "5x", "-1", "1d"),
    "ProxyJump": ("gate", "a@b:1,c", "none", "[::1]:2", "g # x", "NONE"),
    "ProxyCommand": ("nc %h %p", "= x", '"a', "none", "a # b"),
    "KexAlgorithms": ("^ecdh-sha2-nistp256", "-ecdh*", "+diffie-hellman-group1-sha1", ""),
    "IgnoreUnknown": ("foo", "f*,!foo", "*", "FOO"),
    "Foo": ("x", "'x", "x y", ""),
    "BatchMode": ("yes", "no", "maybe"),
    "RekeyLimit": ("1G", "1G 1h", "default none", "15", "1k x"),
    "IdentityAgent": ("none", "SSH_AUTH_SOCK", "$X", "/a%%b", "~/a", "$x-y"),
    "StrictHostKeyChecking": ("yes", "OFF", "accept-new", "perhaps"),
    "Compression": ("yes", "no"),
    "ControlMaster": ("auto", "no", "x"),
    "#": ("comment", "'"),
}
LINES = st.sampled_from(sorted(KEYWORDS_AND_VALUES)).flatmap(
    lambda keyword: st.tuples(
        st.sampled_from(["", "", "  ", "\t", '"']),
        st.sampled_from([keyword, keyword, keyword.lower(), keyword.upper()]),
        st.sampled_from([" ", " ", "\t", "=", " = ", "\t=\t", '"', "  "]),
        st.sampled_from(KEYWORDS_AND_VALUES[keyword]),
        st.sampled_from(["", "", " ", "\r", " # 'x", "\f"]),
    ).map("".join)
)


@needs_ssh
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(LINES, min_size=1, max_size=7), st.sampled_from(["staging", "prod", "Staging"]))
@example(["Host prod", "  IgnoreUnknown foo", "Foo x"], "staging")
@example(["RekeyLimit 1G none", "RekeyLimit 2G 1h"], "staging")
@example(["RekeyLimit 1G", "Match final", "RekeyLimit 2G 1h"], "staging")
def test_whatever_is_written_is_read_as_ssh_reads_it(
    folder: Folder, lines: list[str], name: str
) -> None:
    path = folder.write("\n".join(lines), "config")
    environ = {"HOME": str(folder.home), "PATH": os.defpath}
    said = ssh_says(path, name, environ)
    asked = Asked(name, ME)
    own: Options | None
    try:
        own = by_own_reader(path, asked, environ)
    except SshConfigError:
        own = None
    assert (own is None) is (said is None)
    if own is None:
        return
    theirs = by_client(path, asked, environ)
    defaults = {"user": (ME,), "port": ("22",), "serveraliveinterval": ("0",)}
    assert {**defaults, **own} == {**defaults, **theirs}
