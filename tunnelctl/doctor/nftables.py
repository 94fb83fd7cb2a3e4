"""The output of `nft -j list ruleset` (libnftables-json(5)) as chains.

Must never fail on output that it does not understand; unknown parts are ignored.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tunnelctl.doctor.chains import HOOKS, Chain, Ports, Rule, Verdict, with_calls

_TCP = frozenset({"tcp", "th"})
Sets = Mapping[tuple[str, str], tuple[Ports, ...]]


def chains(listing: str) -> Iterable[Chain]:
    """Every chain, with the directions of its packets; none if the output is not understood."""
    try:
        return with_calls(_read(json.loads(listing)["nftables"]))
    except (ValueError, LookupError, TypeError, AttributeError):
        return ()


def _read(entries: list[dict[str, Any]]) -> dict[tuple[str, str], Chain]:
    sets: dict[tuple[str, str], tuple[Ports, ...]] = {}
    found: dict[tuple[str, str], Chain] = {}
    for kind, body in (pair for entry in entries for pair in entry.items()):
        # A rule comes after the sets and chains of its table (libnftables-json(5), list).
        table = f"{body.get('family')} {body.get('table')}"
        if kind == "set":
            sets[table, body["name"]] = tuple(_ports(body.get("elem", ()), sets, table))
        elif kind == "chain":
            hook = HOOKS.get(body.get("hook", ""))
            passages = set() if hook is None else {hook}
            chain = Chain(body["name"], body.get("policy") == "drop", passages)
            found[table, body["name"]] = chain
        elif kind == "rule":
            found[table, body["chain"]].rules.append(_rule(body["expr"], sets, table))
    return found


def _rule(expressions: list[dict[str, Any]], sets: Sets, table: str) -> Rule:
    ports: list[Ports] = []
    calls: list[str] = []
    verdict: Verdict | None = None
    beside = is_udp = has_condition = False
    for kind, body in (pair for expression in expressions for pair in expression.items()):
        if kind == "match":
            left = body["left"]
            names_ports = _is_destination_port(left)
            if names_ports:
                ports += _ports(body["right"], sets, table)
                beside = body["op"] == "!="
            is_udp |= body["right"] == "udp"
            has_condition |= not _is_protocol(left)
        elif kind in ("drop", "reject"):
            verdict = Verdict(kind)
        elif kind in ("jump", "goto"):
            calls.append(body["target"])
        elif kind == "vmap":
            has_condition = True
    return Rule(
        text=" ".join(filter(None, map(_text, expressions))),
        verdict=verdict,
        ports=() if is_udp else tuple(ports),
        beside=beside,
        matches_all=not has_condition and not is_udp,
        calls=tuple(calls),
    )


def _is_destination_port(left: Any) -> bool:
    payload = left.get("payload", {}) if isinstance(left, dict) else {}
    return payload.get("field") == "dport" and payload.get("protocol") in _TCP


def _is_protocol(left: Any) -> bool:
    """A condition that most packets to a TCP port meet: IPv4 or IPv6, or the protocol TCP."""
    meta = left.get("meta", {}) if isinstance(left, dict) else {}
    return meta.get("key") in ("nfproto", "l4proto")


def _ports(value: Any, sets: Sets, table: str) -> Iterable[Ports]:
    """Every range in the value of a match or in the elements of a set."""
    if isinstance(value, int):
        yield value, value
    elif isinstance(value, str) and value.startswith("@"):
        yield from sets.get((table, value[1:]), ())
    elif isinstance(value, list):
        for each in value:
            yield from _ports(each, sets, table)
    elif isinstance(value, dict) and "range" in value:
        first, last = value["range"]
        if isinstance(first, int) and isinstance(last, int):
            yield first, last
    elif isinstance(value, dict):  # {"set": …}, or an element with a counter, a comment, a timeout
        yield from _ports(value.get("set", value.get("elem", value.get("val"))), sets, table)


def _text(expression: dict[str, Any]) -> str:
    """A part of a rule, similar to `nft list`; counters and comments are left out."""
    ((kind, body),) = expression.items()
    if kind == "match":
        sign = "!= " if body["op"] == "!=" else ""
        return f"{_value(body['left'])} {sign}{_value(body['right'])}"
    if kind in ("jump", "goto"):
        return f"{kind} {body['target']}"
    return "" if kind in ("counter", "comment", "log", "limit") else kind


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "{ " + ", ".join(map(_value, value)) + " }"
    if not isinstance(value, dict):
        return str(value)
    if "range" in value:
        return "-".join(map(str, value["range"]))
    if "payload" in value:
        payload = value["payload"]
        return f"{payload.get('protocol', '')} {payload.get('field', '')}".strip()
    ((kind, body),) = list(value.items())[:1]
    return _value(body) if kind == "set" else f"{kind} {body.get('key', '')}".strip()
