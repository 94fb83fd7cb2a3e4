"""One ssh_config read three ways: by `ssh -G`, by us where ssh is asked, and by our own reader.

What ssh refuses all refuse; else the values are the same.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.config.conftest import Folder
from tests.config.sshconfigs import ME, needs_ssh, ssh_says
from tunnelctl.config.openssh.lines import SshConfigError
from tunnelctl.config.openssh.lookup import Lookup, SshConfig
from tunnelctl.config.openssh.values import HostSettings
from tunnelctl.config.profile.keys import SSH_KEYWORDS

pytestmark = needs_ssh

STAGING = "Host staging\n  User stage\n  Port 2022\n"
PROD = "  User root\n  HostName prod.example.com\n"


def found(path: Path, name: str, environ: Mapping[str, str]) -> HostSettings | None:
    """What a profile gets; None where the file is refused."""
    try:
        answer = SshConfig(environ, set(), SSH_KEYWORDS).found(Lookup(name, str(path)))
    except SshConfigError:
        return None
    # Whether what is so anyway was written, only our own reader can tell.
    return replace(answer, fields={"user": ME, "port": 22, **answer.fields})


def agree(path: Path, name: str, home: Path) -> HostSettings | None:
    """Assert that all three ways agree on a name, and return what they say."""
    with_ssh = {"HOME": str(home), "PATH": os.defpath}
    said = ssh_says(path, name, with_ssh)
    asked, own = found(path, name, with_ssh), found(path, name, {**with_ssh, "PATH": "/nowhere"})
    assert asked == own
    assert (asked is None) is (said is None)
    if said is not None and asked is not None:
        assert asked.fields["user"] == said["user"]
        assert asked.fields["port"] == int(said["port"])
        assert asked.fields.get("hostname", name).lower() == said["hostname"]
    return asked


REFUSED = {
    "a byte order mark": f"\ufeffHost prod\n{PROD}{STAGING}",
    "a byte order mark inside": f"{STAGING}\ufeffHost prod\n{PROD}",
    "a no-break space": f"{STAGING}Host\u00a0prod\n{PROD}",
    "a no-break space in front": f"{STAGING}Host prod\n\u00a0\u00a0User root\n",
    "a word too many": f"{STAGING}Hosts prod\n{PROD}",
    "a colon": f"{STAGING}Host: prod\n{PROD}",
    "a Kelvin sign": f"{STAGING}  \u212aexAlgorithms curve25519-sha256\n",
    "a keyword of macOS": f"Host *\n  UseKeychain yes\n{STAGING}",
    "an unknown keyword elsewhere": f"{STAGING}Host prod\n  Passwort x\n",
    "nothing after the keyword": f"{STAGING}  User\n",
    "nothing after an unknown keyword": f"IgnoreUnknown Foo\nFoo\n{STAGING}",
    "a value that is none, elsewhere": f"{STAGING}Host prod\n  Port x\n",
    "a flag that is none": f"{STAGING}Host prod\n  ForwardX11 perhaps\n",
    "one value too many": f"{STAGING}Host prod\n  User a b\n",
    "an open quote elsewhere": f"{STAGING}Host prod\n  ProxyCommand echo it's\n",
    "an open quote in what is ignored": f"IgnoreUnknown Foo\n{STAGING}  Foo 'x\n",
    "an empty pattern": f'Host ""\n{STAGING}',
    "an empty value": f'{STAGING}  HostName ""\n',
    "IgnoreUnknown too late": f"{STAGING}  Foo x\nMatch all\n  IgnoreUnknown Foo\n",
    "IgnoreUnknown for another host": f"Host prod\n  IgnoreUnknown Foo\n{STAGING}  Foo x\n",
    "IgnoreUnknown that says no": f"IgnoreUnknown !foo,f*\n{STAGING}  Foo x\n",
    "a criterion that there is not": f"{STAGING}Match hosts prod\n{PROD}",
    "a criterion without a value": f"{STAGING}Match host\n{PROD}",
    "a Match without a criterion": f"{STAGING}Match #all\n{PROD}",
    "all and more": f"{STAGING}Match all host prod\n{PROD}",
    "none among others": f"{STAGING}  UserKnownHostsFile /a none\n",
    "a RekeyLimit that is too small": f"{STAGING}Host prod\n  RekeyLimit 15\n",
    "an agent of no variable": f"{STAGING}Host prod\n  IdentityAgent $a-b\n",
    "a HostName with another token": f"{STAGING}  HostName %n\n",
    "a negative count": f"{STAGING}  ServerAliveCountMax -1\n",
    "a time with another unit": f"{STAGING}  ConnectTimeout 5y\n",
    "a file that includes itself": f"{STAGING}Include ITSELF\n",
}
TAKEN = {
    "a quoted keyword": f'{STAGING}"Host" prod\n{PROD}',
    "a keyword quoted in part": f'{STAGING}H"ost" prod\n{PROD}',
    "a keyword with an open quote": f'{STAGING}"Host prod\n  Port 7\n',
    "an equals sign before": f"=Host=staging\n==User=x\n{STAGING}",
    "two equals signs": f"Host staging\n  User==x\n  ProxyCommand==nc %h\n{STAGING}",
    "a tab and an equals sign": f"Host\tstaging\n\tUser\t=\tx\n{STAGING}",
    "ends of lines of Windows": STAGING.replace("\n", "\r\n"),
    "a form feed at the end": STAGING.replace("\n", "\f\n"),
    "a NUL": f"Host staging\n  User a\0b\n{STAGING}",
    "blanks at the end": STAGING.replace("\n", "  \t\n"),
    "letters of another case": STAGING.upper().replace("STAGING", "staging"),
    "comments": f"#x\n  # y\nHost staging # z\n  User a#b # c\n{STAGING}",
    "old keywords": f"{STAGING}  Protocol 2\n  Cipher 3des\n  RSAAuthentication yes\n",
    "keywords of packagers": f"{STAGING}  GSSAPIKeyExchange yes\n  GSSAPITrustDns no\n",
    "IgnoreUnknown": f"IgnoreUnknown UseKeychain,foo*\n{STAGING}  UseKeychain yes\n  FooBar 1 2\n",
    "IgnoreUnknown of this host": f"{STAGING}  IgnoreUnknown foo\n  Foo x\n",
    "IgnoreUnknown twice": f"IgnoreUnknown foo\nIgnoreUnknown bar\n{STAGING}  Foo x\n",
    "a service for a port": "Host staging\n  Port ssh\n",
    "patterns": "Host s* !st* prod\n  Port 7\nHost !prod *ing\n  Port 8\nHost ?taging\n  User x\n",
    "negated criteria": "Match !host prod originalhost sta*\n  Port 9\nMatch !all\n  User x\n",
    "a criterion with an equals sign": "Match host=staging user=*\n  Port 9\n",
    "a final pass": "Match final host prod\n  Port 9\nHost staging\n  HostName prod\n",
    "canonical, final and all": "Match canonical all\n  Port 9\nMatch final all\n  User x\n",
    "a quoted user": 'Host staging\n  User "john doe"\n',
    "a domain": "Host staging\n  User CORP\\alice\n",
    "several names of keys": "IdentityFile ~/a\nIdentityFile ~/a\nIdentityFile b%%c\n",
    "none": "Host staging\n  ProxyJump none\n  IdentityFile none\n  CertificateFile none\n",
    "no hop but a command": "ProxyJump none\nProxyCommand nc %h\nProxyJump gate\n",
    "no command and a hop": "ProxyCommand none\nProxyJump gate\nProxyCommand nc\n",
    "a hop and a comment": "Host staging\n  ProxyJump a@gate:2,[::1]:3 # b,c\n",
    "a size with a unit": "Host staging\n  RekeyLimit 1.5g 1h30m\n",
    "BatchMode": "Host staging\n  BatchMode yes\n  Port 7\n",
    "BatchMode with an interval": "Host staging\n  BatchMode yes\n  ServerAliveInterval 20\n",
    "an interval of nothing": "ServerAliveInterval 0\nHost *\n  ServerAliveInterval 9\n",
    "an interval of nothing elsewhere": "Host prod\n  ServerAliveInterval 0\nHost *\n  Port 7\n",
    "a quoted list of files": 'Host staging\n  UserKnownHostsFile "my hosts/known" /b\n',
    "an escaped list of files": "Host staging\n  GlobalKnownHostsFile /my\\ hosts /b\n",
    "another host's": 'Host prod\nUserKnownHostsFile "/a b"\nHost *\nUserKnownHostsFile /a b\n',
    "a per cent sign in a file": "UserKnownHostsFile /k%%d /%h\nIdentityAgent /a%%d\n",
    "tokens": "Host staging\n  IdentityFile /%d/%h/%i/%k/%L/%l/%n/%p/%r/%u/%C\n  Port 9\n",
    "tokens of a hop": "Host staging\n  CertificateFile %d/%j\n  ProxyJump y,x@gate:9\n",
    "tokens in known hosts": "Host staging\n  UserKnownHostsFile /%C/%h/%u\n  HostKeyAlias Ab\n",
    "tokens in the system's": "Host staging\n  GlobalKnownHostsFile /%h ~/g\n",
    "first of all": "Host staging\n  KexAlgorithms ^ecdh-sha2-nistp256\n  Ciphers ^aes128-ctr\n",
    "without some": "Host staging\n  KexAlgorithms -ecdh*\n  MACs -*sha1*,umac*\n",
    "and more": "KexAlgorithms +diffie-hellman-group14-sha1\nCiphers +aes128-cbc\n",
    "lists of host keys": "Host staging\n  HostKeyAlgorithms ^rsa-sha2-512,ssh-ed25519\n",
    "exactly these": "Host staging\n  KexAlgorithms curve25519-sha256\n  Ciphers aes256-ctr\n",
}


def has_keywords_of_packagers(folder: Folder) -> bool:
    """Whether ssh has the keywords of a patch that distributions have, and Debian 14 has not."""
    path = folder.write("GSSAPIKeyExchange no\n", "patched")
    return ssh_says(path, "any", {"HOME": str(folder.home), "PATH": os.defpath}) is not None


@pytest.mark.parametrize("config", REFUSED.values(), ids=REFUSED)
def test_what_ssh_refuses_is_refused_for_every_name(folder: Folder, config: str) -> None:
    path = folder.write(config, "config")
    path.write_text(config.replace("ITSELF", str(path)))
    assert agree(path, "staging", folder.home) is None


@pytest.mark.parametrize("config", TAKEN.values(), ids=TAKEN)
def test_what_ssh_takes_means_the_same_here(folder: Folder, config: str) -> None:
    if "GSSAPI" in config and not has_keywords_of_packagers(folder):
        pytest.skip("this ssh has no keywords of packagers")
    path = folder.write(config, "config")
    assert agree(path, "staging", folder.home) is not None
    agree(path, "prod", folder.home)


INCLUDED = {
    "a folder": ("Include d/*\n", {"d/sub/a": "Port 9\n", "d/b": "User x\n"}, True),
    "only a folder": ("Include d/sub\nPort 7\n", {"d/sub/a": "Port 9\n"}, True),
    "nothing": ("Include nothing* /nowhere/x ~nobody-there/x\nPort 7\n", {}, True),
    "several": ("Include d/b d/a\n", {"d/a": "Port 1\n", "d/b": "Port 2\n"}, True),
    "in order": ("Include d/*\n", {"d/b": "Port 2\n", "d/B": "Port 1\n", "d/a": ""}, True),
    "hidden ones": ("Include d/*\nPort 3\n", {"d/.a": "Port 1\n"}, True),
    "classes": ("Include d/[^a] d/[!b]\n", {"d/a": "Port 1\n", "d/b": "Port 2\n"}, True),
    "an escape": ("Include d/\\*\n", {"d/*": "Port 1\n", "d/a": "Port 2\n"}, True),
    "quotes": ('Include "d/a b"\n', {"d/a b": "Port 1\n"}, True),
    "a block that goes on": ("Host prod\nInclude d/a\nPort 7\n", {"d/a": "Host *\nUser x\n"}, True),
    "a block that is its own": ("Include d/a\nPort 7\n", {"d/a": "Host prod\nPort 8\n"}, True),
    "a final pass": ("Host prod\nInclude d/a\n", {"d/a": "Match final all\nPort 9\n"}, True),
    "a mistake": ("Include d/a\n", {"d/a": "Hosts x\n"}, False),
    "a mistake elsewhere": ("Host prod\nInclude d/a\n", {"d/a": "Port x\n"}, False),
    "a link to nothing": ("Include d/a\n", {"d/a": "-> nowhere"}, True),
    "nothing named": ('Include ""\n', {}, False),
    "one of others": ("Include d/a\n", {"d/a": "0666"}, False),
    "a folder of others": ("Include d/a\n", {"d/a": "folder 0777"}, False),
}


@pytest.mark.parametrize(("config", "files", "is_taken"), INCLUDED.values(), ids=INCLUDED)
def test_files_are_included_as_ssh_includes_them(
    folder: Folder, config: str, files: dict[str, str], is_taken: bool
) -> None:
    ssh = folder.home / ".ssh"
    for name, text in files.items():
        path = ssh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        elif text == "folder 0777":
            path.mkdir()
            path.chmod(0o777)
        else:
            path.write_text("" if text == "0666" else text)
            path.chmod(0o666 if text == "0666" else 0o600)
    path = folder.write(config, "config")
    for name in ("staging", "prod"):
        assert (agree(path, name, folder.home) is not None) is is_taken
