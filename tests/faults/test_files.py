"""docs/faults.md: hostile files are refused quickly, and affect no running tunnel."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.world import World
from tunnelctl.config.profile.load import ProfileInvalid, load_profile

_WITHIN = 0.1  # seconds of processor time: others may want the machine meanwhile
_REST = "hosts: {b: {}}\n"
_NINE = ",".join(["{}"] * 9)

# What is wrong, and the words that say so behind LINE:COLUMN.
FILES: dict[str, tuple[str | bytes, str]] = {
    "a billion laughs": (
        "a0: &a0 [x]\n"
        + "".join(f"a{n}: &a{n} [{_NINE.format(*[f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        "anchors",
    ),
    "an alias of itself": ("hosts: &h {b: *h}\n", "anchors (&h) are not allowed"),
    "500 levels": (f"hosts: {'[' * 500}{']' * 500}\n", "nested more than 32 levels deep"),
    "half a million levels": (f"hosts: {'[' * 500_000}\n", "nested more than 32 levels deep"),
    "the same key twice": ("hosts: {b: {}, b: {}}\n", "duplicate key, first on line 1"),
    "a call of Python": ("hosts: !!python/object/apply:os.system [id]\n", "are not allowed"),
    "ten megabytes": (f"description: {'x' * 10_000_000}\n", "the file is larger than 1 MiB"),
    "a scalar of a megabyte": (f"description: {'x' * 1_000_000}\nno: 1\n", "no: unknown key"),
    "UTF-16": (_REST.encode("utf-16"), "this is UTF-16; save the file as UTF-8"),
    "NUL": (b"hosts: \0\n", "a NUL byte cannot be in YAML"),
    "what YAML 1.1 reads as base 60": (
        f"{_REST}forwards: {{f: {{local: 2222:22, to: 80, via: b}}}}\n",
        "'2222:22' has two ports",
    ),
    "what YAML 1.1 reads as false": (f"{_REST}forwards: no\n", "forwards: "),
}


@pytest.mark.parametrize("name", list(FILES))
def test_it_is_refused_at_its_place_in_no_time(tmp_path: Path, name: str) -> None:
    text, said = FILES[name]
    path = tmp_path / "dev.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(0o644)
    began = time.process_time()
    with pytest.raises(ProfileInvalid) as caught:
        load_profile(path, {"HOME": str(tmp_path)})
    assert time.process_time() - began < _WITHIN
    lines = [str(mistake).removeprefix(f"{path}:") for mistake in caught.value.mistakes]
    assert any(said in line for line in lines), lines[:3]
    for line in lines:
        row, column, _ = line.split(":", 2)
        assert int(row) >= 1
        assert int(column) >= 1


def test_a_thousand_profiles(world: World) -> None:
    for number in range(1000):
        world.profile(f"p{number}", f"version: 1\n{_REST}")
    assert world.ok("ls").count("\n") >= 1000
