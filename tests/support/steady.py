"""A profile of the status document without what changes by itself."""

from __future__ import annotations

from typing import Any

_OF_A_PROBE = ("bytes_in", "bytes_out", "health", "health_since", "health_reason")


def steady(profile: dict[str, Any]) -> dict[str, Any]:
    """A copy without round trips, and without what a probe of a target leaves: its result, its
    bytes, and the channel that it has for a moment."""
    return {
        **profile,
        "forwards": [_without(forward, *_OF_A_PROBE) for forward in profile["forwards"]],
        "hosts": [
            {
                **_without(host, "rtt_ms"),
                "links": [_without(link, "rtt_ms", "channels") for link in host["links"]],
            }
            for host in profile["hosts"]
        ],
    }


def _without(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}
