"""A new key of a host is one row of the table, and a field of the spec."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tunnelctl

ROW = """\
    made_up: Annotated[
        Annotated[int, Between(3, 7)] | None,
        Key("How much is made up.", ssh=Keyword("MadeUp", ssh.first(int), ssh.one)),
    ] = None
"""
FIELD = "    made_up: int = 4\n"
AFTER_ROW = "    embedded: Annotated[\n"
AFTER_FIELD = "    embedded: bool = False"
ASK = """\
import json, sys
from pathlib import Path
from tools import make_reference
from tunnelctl.config.exchange.to_ssh import as_commands
from tunnelctl.config.openssh.reader import Asked
from tunnelctl.config.openssh.values import found
from tunnelctl.config.profile.canonical import as_document
from tunnelctl.config.profile.keys import SSH_KEYWORDS
from tunnelctl.config.profile.load import ProfileInvalid, load_profile
from tunnelctl.config.profile.schema import json_schema

def load(host):
    file = Path("made.yaml")
    file.write_text("hosts: {b: {%s, ssh_config: false}}\\n"
                    "forwards: {f: {local: 1, to: 2, via: b}}\\n" % host)
    try:
        return load_profile(file, {"HOME": "/nowhere"}).profile
    except ProfileInvalid as wrong:
        return [str(mistake) for mistake in wrong.mistakes]

profile = load("made_up: 5")
answer, _ = found(Asked("b", "me"), {"madeup": ("6",)}, {"HOME": "/nowhere"}, SSH_KEYWORDS)
print(json.dumps({
    "schema": json_schema()["definitions"]["host"]["properties"]["made_up"],
    "reference": [line for line in make_reference.page().splitlines() if "made_up" in line],
    "canonical": as_document(profile)["hosts"]["b"]["made_up"],
    "refused": load("made_up: 9"),
    "embedded": load("embedded: true, made_up: 5"),
    "ssh_config": answer.fields["made_up"],
    "export": as_commands(profile).lines[0],
}))
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """The package and its docs, with one key more."""
    root = Path(tunnelctl.__file__).parents[1]
    for folder in ("tunnelctl", "tools"):
        shutil.copytree(
            root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file, before, added in (
        ("tunnelctl/config/profile/keys.py", AFTER_ROW, ROW),
        ("tunnelctl/spec/host.py", AFTER_FIELD, FIELD),
    ):
        path = tmp_path / file
        text = path.read_text()
        assert text.count(before) == 1
        path.write_text(text.replace(before, added + before))
    return tmp_path


def test_one_row_is_a_key(house: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ASK], cwd=house, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["schema"]["description"] == "How much is made up."
    assert said["schema"]["default"] == 4
    assert {"type": "integer", "minimum": 3, "maximum": 7} in said["schema"]["anyOf"]
    assert said["reference"] == ["| `made_up` | 3 to 7 | `4` | How much is made up. |"]
    assert said["canonical"] == 5
    assert ["must be a whole number from 3 to 7" in line for line in said["refused"]] == [True]
    assert any("made_up: does not go with embedded" in line for line in said["embedded"])
    assert said["ssh_config"] == 6
    assert "-o MadeUp=5" in said["export"]
