"""What doctor finds in the packet filter of this machine: in listings, and in a real one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.world import World
from tunnelctl.doctor.firewall import Passage, find

NFT = """\
table inet filter {
\tset ports {
\t\ttype inet_service
\t\telements = { 22, 5430-5433 }
\t}

\tchain input {
\t\ttype filter hook input priority filter; policy accept;
\t\tRULE
\t}
}
"""
IPTABLES = """\
*filter
:INPUT ACCEPT [0:0]
:mine - [0:0]
-A INPUT -j mine
RULE
COMMIT
"""


@pytest.mark.parametrize(
    ("rule", "drops"),
    [
        ("tcp dport 5432 drop", True),
        ("tcp dport { 22, 5432 } counter packets 0 bytes 0 reject", True),
        ("tcp dport 5000-6000 drop", True),
        ("tcp dport != 22 drop", True),
        ("meta l4proto tcp th dport 5432 drop", True),
        ("tcp dport 5432 accept", False),
        ("tcp dport 54321 drop", False),
        ("tcp dport 54320-54329 drop", False),
        ("tcp dport != 5432 drop", False),
        ("tcp sport 5432 drop", False),
        ("udp dport 5432 drop", False),
        ("drop", False),  # names no port
        ("-A INPUT -p tcp -m tcp --dport 5432 -j DROP", True),
        ("-A INPUT -p tcp -m multiport --dports 80,5432 -j REJECT", True),
        ("-A INPUT -p tcp -m tcp --dport 5000:6000 -j DROP", True),
        ("-A INPUT -p tcp -m tcp --dport 5000: -j DROP", True),
        ("-A INPUT -p tcp -m tcp ! --dport 22 -j DROP", True),
        ("-A mine -p tcp -m tcp --dport 5432 -j DROP", True),
        ("-A INPUT -p tcp -m tcp ! --dport 5432 -j DROP", False),
        ("-A INPUT -p udp -m udp --dport 5432 -j DROP", False),
        ("-A FORWARD -p tcp -m tcp --dport 5432 -j DROP", False),
        ("-A OUTPUT -p tcp -m tcp --dport 5432 -j DROP", False),  # of another way
        ("-A nobody-calls-it -p tcp -m tcp --dport 5432 -j DROP", False),
    ],
)
def test_a_rule_that_drops_a_port(rule: str, drops: bool) -> None:
    listing = (IPTABLES if rule.startswith("-") else NFT).replace("RULE", rule)
    assert find(5432, listing, (Passage.IN,)) == (rule if drops else "")
    assert find(5432, listing, (Passage.OUT,)) == ""


def test_a_set_is_written_out() -> None:
    listing = NFT.replace("RULE", "tcp dport @ports drop")
    assert find(5432, listing) == "tcp dport { 22, 5430-5433 } drop"
    assert find(5434, listing) == ""


@pytest.mark.parametrize(
    "listing",
    [
        NFT.replace("policy accept", "policy drop").replace("RULE", "tcp dport 22 accept"),
        NFT.replace("RULE", "counter packets 7 bytes 420 reject with icmpx admin-prohibited"),
        IPTABLES.replace("INPUT ACCEPT", "INPUT DROP").replace("RULE\n", ""),
        IPTABLES.replace("RULE", "-A INPUT -j REJECT --reject-with icmp-port-unreachable"),
    ],
)
def test_a_chain_that_drops_what_no_rule_takes(listing: str) -> None:
    assert "no rule names port 5432" in find(5432, listing, (Passage.IN,), by_default=True)
    assert find(5432, listing, (Passage.OUT,), by_default=True) == ""
    assert find(5432, listing, (Passage.IN,)) == ""
    named = listing.replace("}\n}", "\ttcp dport 5432 accept\n}\n}")
    if named != listing:
        assert find(5432, named, (Passage.IN,), by_default=True) == ""


_BEHIND = """
import os, subprocess, sys
for command in ("ip link set lo up", "ip addr add 192.0.2.1/32 dev lo", *sys.argv[1:]):
    subprocess.run(command.split(), check=True, capture_output=True)
os.execv(sys.executable, [sys.executable, "-m", "tunnelctl", "doctor", "dev"])
"""
_TABLE = "nft add table inet t"
_CHAIN = "nft add chain inet t c {{ type filter hook {} priority 0 ; policy {} ; }}"
_RULE = "nft add rule inet t c tcp dport "


def _doctor(world: World, *commands: str) -> str:
    """What doctor prints in a network of its own with these rules."""
    done = subprocess.run(
        ["unshare", "--net", sys.executable, "-c", _BEHIND, *commands],
        cwd=world.home,
        env=world.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69, done.stderr
    return done.stdout


def _needs(program: str) -> None:
    listing = {"iptables": ["-L"], "nft": ["list", "ruleset"]}[program]
    if os.geteuid() != 0 or not Path("/proc/self/ns/net").exists() or not shutil.which(program):
        pytest.skip(f"only root can have a network and a firewall of its own, and with {program}")
    command = ["unshare", "--net", program, *listing]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip(f"the kernel has no {program}")


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("DROP", "no answer within"),
        ("REJECT", "connection refused"),
        ("REJECT --reject-with icmp-admin-prohibited", "No route to host"),
    ],
)
def test_a_rule_of_iptables_that_is_in_the_way_is_quoted(
    world: World, verdict: str, said: str
) -> None:
    _needs("iptables")
    host = "{hostname: 127.0.0.1, port: 2022, connect_timeout: 1s}"
    world.profile("dev", f"hosts: {{server: {host}}}\n")
    shown = _doctor(world, f"iptables -A INPUT -p tcp --dport 2022 -j {verdict}")
    assert said in shown
    (line,) = [line for line in shown.splitlines() if "own firewall has: " in line]
    assert "dport 2022" in line
    assert verdict.split()[0].lower() in line.lower()


@pytest.mark.parametrize(
    ("commands", "found"),
    [
        ((_CHAIN.format("output", "accept"), _RULE + "2000-2100 drop"), "dport 2000-2100 drop"),
        ((_CHAIN.format("output", "accept"), _RULE + "2022 reject"), "dport 2022 reject"),
        ((_CHAIN.format("output", "drop"), _RULE + "22 accept"), "no rule names port 2022"),
    ],
)
def test_a_rule_of_nft_that_is_in_the_way_is_quoted(
    world: World, commands: tuple[str, ...], found: str
) -> None:
    _needs("nft")
    host = "{hostname: 192.0.2.2, port: 2022, connect_timeout: 1s}"
    world.profile("dev", f"hosts: {{server: {host}}}\n")
    route = "ip route add 192.0.2.0/24 dev lo src 192.0.2.1"
    shown = _doctor(world, route, _TABLE, *commands)
    (line,) = [line for line in shown.splitlines() if "own firewall has: " in line]
    assert found in line


def test_a_rule_that_is_not_in_the_way_is_not_blamed(world: World) -> None:
    _needs("iptables")
    host = "{hostname: 192.0.2.2, port: 2022, connect_timeout: 1s}"
    world.profile("dev", f"hosts: {{server: {host}}}\n")
    route = "ip route add blackhole 192.0.2.0/24"
    shown = _doctor(world, route, "iptables -A INPUT -p tcp --dport 2022 -j DROP")
    assert "own firewall" not in shown


def test_rules_before_a_listener_and_a_target_of_this_machine(world: World) -> None:
    _needs("iptables")
    world.profile(
        "dev",
        "hosts: {server: {hostname: 127.0.0.1, port: 2022}}\n"
        "forwards:\n"
        "  page: {local: '192.0.2.1:8080', to: 1, via: server, expose: true}\n"
        "  hook: {remote: 0, to: 8081, via: server}\n"
        "  lost: {remote: 0, to: 8082, via: server}\n",
    )
    rule = "iptables -A INPUT -p tcp --dport {} -j {}"
    rules = (rule.format(8080, "DROP"), rule.format(8081, "REJECT"), rule.format(8082, "DROP"))
    shown = _doctor(world, *rules)
    assert "192.0.2.1:8080 can be listened on, but this machine's firewall has: " in shown
    said = [line for line in shown.splitlines() if "own firewall has: " in line]
    assert [re.findall("808[12]", line) for line in said] == [["8081"], ["8082"]]
