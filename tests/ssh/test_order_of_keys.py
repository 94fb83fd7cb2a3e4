"""Which keys are offered and in which order: the same as by OpenSSH's own client."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ssh.clients import fails
from tests.support.agent import RunningAgent
from tests.support.certificates import Authority
from tests.support.keys import KeyKind, write_key
from tests.support.sshd import OpenSSHServer, sshd_version
from tunnelctl.errors import Code
from tunnelctl.spec.host import Host

pytestmark = pytest.mark.usefixtures("own_world")


@dataclass(frozen=True)
class Offer:
    """What is configured, by the names of keys."""

    files: tuple[str, ...] = ()
    held: tuple[str, ...] = ()  # by the agent, in this order
    beside: tuple[str, ...] = ()  # these have a certificate
    certificates: tuple[str, ...] = ()  # and these are named
    only: bool = False


OFFERS = {
    "files": Offer(files=("a", "b")),
    "an agent": Offer(held=("a", "b")),
    "both": Offer(files=("a", "b"), held=("c", "d")),
    "both, only the files": Offer(files=("a", "b"), held=("c", "d"), only=True),
    "files that the agent has": Offer(files=("a", "b", "c"), held=("c", "d", "b")),
    "only those": Offer(files=("a", "b", "c"), held=("c", "d", "b"), only=True),
    "certificates beside": Offer(files=("a", "b"), beside=("a", "b")),
    "beside, in the agent": Offer(files=("a", "b"), held=("b",), beside=("a", "b")),
    "certificates in the agent": Offer(held=("a", "b"), beside=("a",)),
    "a named certificate": Offer(files=("a", "b"), beside=("a", "b"), certificates=("b",)),
    "a named one in the agent": Offer(
        files=("a",), held=("b", "c"), beside=("b",), certificates=("b",)
    ),
    "everything": Offer(
        files=("a", "b", "c"), held=("d", "c"), beside=("a", "c", "d"), certificates=("a",)
    ),
}


@pytest.mark.parametrize("name", list(OFFERS))
def test_the_order_is_that_of_ssh(
    sshd: OpenSSHServer, agent: RunningAgent, tmp_path: Path, name: str
) -> None:
    offer = OFFERS[name]
    sshd.reconfigure("MaxAuthTries 30")
    sshd.authorized_keys.write_text("")
    authority = Authority(tmp_path / "ca")
    kinds = (KeyKind.ED25519, KeyKind.ECDSA, KeyKind.RSA, KeyKind.ED25519)
    for key, kind in zip("abcd", kinds, strict=True):
        write_key(tmp_path / key, kind)
        if key in offer.beside:
            authority.sign(tmp_path / key, principals="nobody", host=False)
    for key in offer.held:
        agent.add(tmp_path / key)
    host = sshd.host(
        identity_file=tuple(str(tmp_path / key) for key in offer.files) or ("none",),
        certificate_file=tuple(str(tmp_path / f"{key}-cert.pub") for key in offer.certificates),
        identities_only=offer.only,
        identity_agent=str(agent.path),
    )
    failure = fails(Code.AUTH_FAILED, host)
    ours = re.findall(r"\((\S+) (SHA256:\S+)\)", failure.message)
    offers, theirs = [(print_, "-cert-" in kind) for kind, print_ in ours], offered_by_ssh(host)
    if sshd_version(shutil.which("ssh") or "") >= (
        10,
        5,
    ):  # the agent's certificates before its keys
        offers, theirs = sorted(offers), sorted(theirs)
    assert offers == theirs


def offered_by_ssh(host: Host) -> list[tuple[str, bool]]:
    """Fingerprints in the order in which `ssh -v` offers them, and which are certificates."""
    ssh = shutil.which("ssh")
    assert ssh, "openssh-client is not installed"
    options = {
        "UserKnownHostsFile": host.user_known_hosts_file[0],
        "BatchMode": "yes",
        "IdentitiesOnly": "yes" if host.identities_only else "no",
        "IdentityAgent": host.identity_agent,
        "PreferredAuthentications": "publickey",
    }
    words = [ssh, "-v", "-F", "none", "-p", str(host.port), "-l", host.user or ""]
    for key, value in options.items():
        words += ["-o", f"{key}={value}"]
    for file in host.identity_file:
        words += ["-o", f"IdentityFile={file}"]
    for file in host.certificate_file:
        words += ["-o", f"CertificateFile={file}"]
    said = subprocess.run(
        [*words, host.hostname, "true"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    ).stderr
    offered = re.findall(r"Offering public key: .* (\S+) (SHA256:\S+)", said)
    assert offered, said
    return [(print_, kind.endswith("-CERT")) for kind, print_ in offered]
