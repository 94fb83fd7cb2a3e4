"""Single plain values: text, numbers, durations, sizes, lists of words.

Each function takes a plain value and returns the checked one, or raises ValueError with a sentence
for a user.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnelctl.config.values.quantities import parse_duration, parse_size
from tunnelctl.config.yaml.mistakes import shown
from tunnelctl.config.yaml.tree import Substituted
from tunnelctl.config.yaml.yaml12 import resolve

LEAST_REKEY_LIMIT = 16  # bytes (OpenSSH readconf.c, oRekeyLimit)
NOT_YET = "not supported yet"


def text(value: object) -> str:
    """A non-empty string on one line."""
    if not isinstance(value, str):
        if isinstance(value, (bool, int, float)):
            raise ValueError(f"must be text, not {shown(value)}; write it in quotes")
        raise ValueError(f"must be text, not {shown(value)}")
    if not value:
        raise ValueError("is empty")
    if not value.isprintable():
        raise ValueError("contains a line break or a control character")
    return str(value)


def prose(value: object) -> str:
    """A string for people; it may have several lines."""
    if isinstance(value, str):
        return " ".join(text(line) for line in value.splitlines() if line)
    return text(value)


def typed(value: object) -> object:
    """The value of a text with variables in the required type, as in docker compose."""
    return resolve(value) if isinstance(value, Substituted) else value


def whole_number(value: object, low: int, high: int) -> int:
    """An integer from `low` to `high`."""
    value = typed(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        quotes = ""
        if isinstance(value, str) and isinstance(resolve(value), int):
            quotes = " in quotes; write it without"
        raise ValueError(f"must be a whole number from {low} to {high}, not {shown(value)}{quotes}")
    return value


def port(value: object) -> int:
    """The TCP port of a host."""
    return whole_number(value, 1, 65535)


def boolean(value: object) -> bool:
    """`true` or `false`; YAML 1.2 has no other forms."""
    value = typed(value)
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {shown(value)}")
    return value


def duration(value: object) -> float:
    """Seconds, at least a millisecond; a bare number is seconds, as in ssh_config(5)."""
    seconds = hold(value)
    if seconds < 0.001:
        raise ValueError("must be greater than zero")
    return seconds


def hold(value: object) -> float:
    """Seconds, or 0."""
    value = typed(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value}s"
    if not isinstance(value, str):
        raise ValueError(f"must be a duration such as 15s, not {shown(value)}")
    return parse_duration(value)


def duration_or_never(value: object) -> float | None:
    """Seconds, or None for `never`."""
    return None if value == "never" else duration(value)


def rekey_limit(value: object) -> int | None:
    """Bytes before a rekey, at least 16 as in OpenSSH; None for `default`, the cipher's own
    limit."""
    value = typed(value)
    if value == "default":
        return None
    if isinstance(value, str) and " " in value.strip():
        raise ValueError(f"a second value, the time, is {NOT_YET}; write the size alone")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ValueError(f"must be a number of bytes such as 1G, not {shown(value)}")
    size = parse_size(value)
    if size < LEAST_REKEY_LIMIT:
        raise ValueError(f"is too small; the minimum is {LEAST_REKEY_LIMIT} bytes, as in OpenSSH")
    return size


def one_or_list(value: object) -> Sequence[object]:
    """A list, or a single value that stands for a list of one."""
    if isinstance(value, list):
        if not value:
            raise ValueError("is an empty list")
        return value
    return [value]


def no_compression(value: object) -> bool:
    """`false`: compression would let packet lengths reveal secrets."""
    if boolean(value):
        raise ValueError(
            "must be false: compression is not supported, because the length of a compressed "
            "packet tells what is in it, and a small packet can unpack to a huge one"
        )
    return False


def argv(value: object) -> tuple[str, ...]:
    """The words of a command, which no shell reads."""
    if not isinstance(value, list) or not value:
        raise ValueError(
            'must be a list of words, [program, "argument"]; it does not go through a shell'
        )
    return tuple(text(word) for word in value)
