"""The texts of single values: amounts, durations, addresses.

Pure: the time is an argument. Must never round a rate or an age up to a unit that it has not
reached.
"""

from __future__ import annotations

from datetime import datetime
from itertools import zip_longest

from tunnelctl.spec.endpoint import Endpoint, parse_endpoint
from tunnelctl.state.documents.snapshot import ForwardStatus

NOTHING = "-"  # in a cell without a value
# Values of ten minutes, oldest first; None: not measured.
Curve = tuple[float | None, ...]
_BARS = " ▁▂▃▄▅▆▇█"


def seconds_text(seconds: float) -> str:
    """A short duration: `12s`, `3m`, `5h`, `2d`."""
    whole = max(0, int(seconds))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= size:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def bytes_text(count: int) -> str:
    """A number of bytes in at most four characters: `0`, `340k`, `1.2M` (powers of 1000)."""
    if count < 1000:
        return str(count)
    amount = float(count)
    for unit in "kMGTP":
        amount /= 1000
        if amount < 9.95:
            return f"{amount:.1f}{unit}"
        if amount < 999.5:
            return f"{amount:.0f}{unit}"
    return f"{amount:.0f}E"


def both_ways(received: float, sent: float) -> str:
    """Bytes in and out, or bytes a second: `1.2M/340k`; `-` if both are 0."""
    amounts = (round(received), round(sent))
    return "/".join(map(bytes_text, amounts)) if any(amounts) else NOTHING


def milliseconds_text(milliseconds: float | None) -> str:
    """A round trip time: `0.8 ms`, `24 ms`; `-` if it was not measured."""
    return NOTHING if milliseconds is None else f"{_two_digits(milliseconds)} ms"


def took_text(milliseconds: float) -> str:
    """A measured duration: `1.5ms`, `12ms`, `1.5s`, `3m`."""
    if milliseconds < 1000:
        return f"{_two_digits(milliseconds)}ms"
    seconds = milliseconds / 1000
    return f"{seconds:.1f}s" if seconds < 60 else seconds_text(seconds)


def transfer_text(count: int, seconds: float) -> str:
    """Bytes, the time that they took, and the rate: `64 MB in 0.26 s, 245 MB/s`."""
    return f"{count / 1e6:.0f} MB in {seconds:.2f} s, {count / seconds / 1e6:.0f} MB/s"


def _two_digits(amount: float) -> str:
    return f"{amount:.1f}" if amount < 9.95 else f"{amount:.0f}"


def age_text(since: str | None, now: datetime) -> str:
    """The time since a moment (RFC 3339): `3m`; `-` without one."""
    return seconds_text(seconds_since(since, now)) if since else NOTHING


def until_text(moment: str | None, now: datetime) -> str:
    """The time until a moment (RFC 3339): `7s`; `0s` without one, or if it has passed."""
    return seconds_text(-seconds_since(moment, now)) if moment else "0s"


def seconds_since(moment: str, now: datetime) -> float:
    """Seconds since a moment (RFC 3339); negative for one in the future."""
    return (now - datetime.fromisoformat(moment)).total_seconds()


def listen_text(forward: ForwardStatus) -> str:
    """The listening address; for a remote forward the server's name and the port there."""
    listen = forward.listen
    if not forward.type.startswith("remote"):
        return listen
    return f"{forward.via}:{listen if '/' in listen else listen.rpartition(':')[2]}"


def listen_addresses(forward: ForwardStatus) -> tuple[Endpoint, ...]:
    """The addresses for clients; the first for clients that use only one (Endpoint.addresses).

    It is not known how a server resolves `localhost`, so that stays one.
    """
    listen = parse_endpoint(forward.listen)
    return (listen,) if forward.type.startswith("remote") else listen.addresses


def sum_of_curves(*curves: Curve) -> Curve:
    """The curves together. They end at the same sample; a younger one begins later."""
    newest_first = (tuple(reversed(curve)) for curve in curves if curve)
    sums = [
        sum(value for value in sample if value is not None)
        for sample in zip_longest(*newest_first, fillvalue=0.0)
    ]
    return tuple(reversed(sums))


def curve_text(values: Curve, width: int) -> str:
    """The last values as `width` bars, the newest at the right: `▁▂▅█ ▁`.

    Each bar is the mean of as many values as one column stands for, relative to the highest bar; a
    blank is 0 or no value.
    """
    if not values or width <= 0:
        return " " * max(0, width)
    size = max(1, -(-len(values) // width))  # values per bar, rounded up
    bars: list[float] = []
    for end in range(len(values), 0, -size):
        group = [value for value in values[max(0, end - size) : end] if value is not None]
        bars.append(sum(group) / len(group) if group else 0.0)
    highest = max(bars)
    steps = len(_BARS) - 1
    text = "".join(
        _BARS[max(1, round(bar / highest * steps))] if bar > 0 else _BARS[0]
        for bar in reversed(bars)
    )
    return text.rjust(width)
