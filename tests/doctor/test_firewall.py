"""What doctor finds in the packet filter of this machine: in listings, and in a real one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.world import World
from tunnelctl.doctor import iptables, nftables
from tunnelctl.doctor.chains import Chain, Passage
from tunnelctl.doctor.firewall import find

IPTABLES = """\
*filter
:INPUT ACCEPT [0:0]
:mine - [0:0]
-A INPUT -j mine
RULE
COMMIT
"""
_TCP = {"payload": {"protocol": "tcp", "field": "dport"}}
_SET = {"set": {"elem": [22, {"range": [5430, 5433]}], "name": "ports"}}
_DROP: dict[str, Any] = {"drop": None}
_COUNTER = {"counter": {"packets": 7, "bytes": 420}}
_REJECT = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}


def nft(*rules: list[dict[str, Any]], policy: str = "accept", hook: str = "input") -> list[Chain]:
    """The chains of a ruleset with these rules, as `nft -j list ruleset` prints it."""
    place = {"family": "inet", "table": "filter"}
    entries: list[dict[str, Any]] = [
        {"metainfo": {"json_schema_version": 1}},
        {"table": {"family": "inet", "name": "filter"}},
        {"set": {**place, **_SET["set"]}},
        {"chain": {**place, "name": "c", "hook": hook, "policy": policy}},
        {"chain": {**place, "name": "called"}},
        {"rule": {**place, "chain": "c", "expr": [{"jump": {"target": "called"}}]}},
        *({"rule": {**place, "chain": "c", "expr": rule}} for rule in rules),
    ]
    return list(nftables.chains(json.dumps({"nftables": entries})))


def match(right: Any, left: dict[str, Any] = _TCP, op: str = "==") -> dict[str, Any]:
    """A condition of a rule."""
    return {"match": {"op": op, "left": left, "right": right}}


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ([match(5432), _DROP], "tcp dport 5432 drop"),
        ([match({"set": [22, 5432]}), _COUNTER, _REJECT], "tcp dport { 22, 5432 } reject"),
        ([match({"range": [5000, 6000]}), _DROP], "tcp dport 5000-6000 drop"),
        ([match(22, op="!="), _DROP], "tcp dport != 22 drop"),
        ([match("@ports"), _DROP], "tcp dport @ports drop"),
        (
            [
                match("tcp", {"meta": {"key": "l4proto"}}),
                match(5432, {"payload": {"protocol": "th", "field": "dport"}}),
                _DROP,
            ],
            "meta l4proto tcp th dport 5432 drop",
        ),
        ([match(5432), {"accept": None}], ""),
        ([match({"range": [54320, 54329]}), _DROP], ""),
        ([match(5432, op="!="), _DROP], ""),
        ([match(5432, {"payload": {"protocol": "tcp", "field": "sport"}}), _DROP], ""),
        ([match(5432, {"payload": {"protocol": "udp", "field": "dport"}}), _DROP], ""),
        ([_DROP], ""),  # names no port
    ],
)
def test_a_rule_of_nftables_that_drops_a_port(rule: list[dict[str, Any]], text: str) -> None:
    assert find(5432, nft(rule), (Passage.IN,)) == text
    assert find(5432, nft(rule), (Passage.OUT,)) == ""


def test_a_set_of_nftables_is_looked_up() -> None:
    chains = nft([match("@ports"), _DROP])
    assert find(5431, chains) == "tcp dport @ports drop"
    assert find(5434, chains) == ""


@pytest.mark.parametrize(
    "listing",
    ["", "not JSON", "[]", "{}", '{"nftables": [{"new": {}}]}', '{"nftables": [{"rule": {}}]}'],
)
def test_a_listing_of_nftables_that_says_nothing(listing: str) -> None:
    assert list(nftables.chains(listing)) == []


@pytest.mark.parametrize(
    ("rule", "drops"),
    [
        ("-A INPUT -p tcp -m tcp --dport 5432 -j DROP", True),
        ("-A INPUT -p tcp -m multiport --dports 80,5432 -j REJECT", True),
        ("-A INPUT -p tcp -m tcp --dport 5000:6000 -j DROP", True),
        ("-A INPUT -p tcp -m tcp --dport 5000: -j DROP", True),
        ("-A INPUT -p tcp -m tcp ! --dport 22 -j DROP", True),
        ("-A mine -p tcp -m tcp --dport 5432 -j DROP", True),
        ("-A INPUT -p tcp -m tcp ! --dport 5432 -j DROP", False),
        ("-A INPUT -p udp -m udp --dport 5432 -j DROP", False),
        ("-A FORWARD -p tcp -m tcp --dport 5432 -j DROP", False),
        ("-A OUTPUT -p tcp -m tcp --dport 5432 -j DROP", False),  # of another direction
        ("-A nobody-calls-it -p tcp -m tcp --dport 5432 -j DROP", False),
    ],
)
def test_a_rule_of_iptables_that_drops_a_port(rule: str, drops: bool) -> None:
    listing = IPTABLES.replace("RULE", rule)
    assert find(5432, iptables.chains(listing), (Passage.IN,)) == (rule if drops else "")
    assert find(5432, iptables.chains(listing), (Passage.OUT,)) == ""


@pytest.mark.parametrize(
    "chains",
    [
        nft([match(22), {"accept": None}], policy="drop"),
        nft([_COUNTER, _REJECT]),
        nft([match("ipv4", {"meta": {"key": "nfproto"}}), _DROP]),
        list(iptables.chains(IPTABLES.replace("INPUT ACCEPT", "INPUT DROP").replace("RULE", ""))),
        list(iptables.chains(IPTABLES.replace("RULE", "-A INPUT -j REJECT --reject-with x"))),
    ],
)
def test_a_chain_that_drops_what_no_rule_takes(chains: list[Chain]) -> None:
    assert "no rule names port 5432" in find(5432, chains, (Passage.IN,), by_default=True)
    assert find(5432, chains, (Passage.OUT,), by_default=True) == ""
    assert find(5432, chains, (Passage.IN,)) == ""


def test_a_chain_that_drops_the_rest_but_names_the_port() -> None:
    chains = nft([match(5432), {"accept": None}], policy="drop")
    assert find(5432, chains, (Passage.IN,), by_default=True) == ""


def test_a_chain_that_drops_what_comes_by_one_interface() -> None:
    chains = nft([match("eth7", {"meta": {"key": "iifname"}}), _DROP])
    assert find(5432, chains, (Passage.IN,), by_default=True) == ""


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
    assert "192.0.2.1:8080 is free, but this machine's firewall has:  " in shown
    said = [line for line in shown.splitlines() if "own firewall has: " in line]
    assert [re.findall("808[12]", line) for line in said] == [["8081"], ["8082"]]
