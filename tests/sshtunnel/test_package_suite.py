"""The sshtunnel package's own tests, from its source distribution, against our drop-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import sshtunnel

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs/sshtunnel.md"
README = REPOSITORY / "README.md"


def _source(folder: Path) -> Path:
    """The unpacked source distribution of the version that is installed."""
    wanted = f"sshtunnel=={sshtunnel.__version__}"
    options = ["--no-deps", "--no-binary", "sshtunnel", "--disable-pip-version-check", "-q"]
    command = [sys.executable, "-m", "pip", "download", *options, "-d", str(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        pytest.skip(f"the package index cannot be reached: {done.stderr.strip()[-200:]}")
    (archive,) = folder.glob("sshtunnel-*.tar.gz")
    subprocess.run(["tar", "-xzf", str(archive), "-C", str(folder)], check=True)
    return folder / f"sshtunnel-{sshtunnel.__version__}"


def _use_a_long_key(tests: Path, home: Path) -> None:
    """A server with 1024 bits of RSA, as theirs has, is refused: give it 2048, and know it."""
    key, encrypted = tests / "testrsa.key", tests / "testrsa_encrypted.key"
    for path, passphrase in ((key, ""), (encrypted, "")):
        path.unlink()
        if path is encrypted:
            path.write_bytes(key.read_bytes())
            path.chmod(0o600)
            change = ["-p", "-m", "PEM", "-P", "", "-N", "sshtunnel"]
        else:
            change = ["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", passphrase]
        subprocess.run(["ssh-keygen", "-q", *change, "-f", str(path)], check=True)
    kind, blob = key.with_suffix(".key.pub").read_text().split()[:2]
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    (home / ".ssh/known_hosts").write_text(f"* {kind} {blob}\n")


@pytest.mark.timeout(300)
@pytest.mark.long
def test_what_passes_is_what_the_page_says(tmp_path: Path) -> None:
    source = _source(tmp_path)
    home = tmp_path / "home"
    _use_a_long_key(source / "tests", home)
    command = [
        sys.executable, "-m", "pytest", "-p", "package_suite", "-p",
        "no:cacheprovider", "-p", "no:warnings", "-o", "addopts=", "--rootdir", str(source),
        "-q", "-rA", "--tb=line", "--timeout", "60", str(source / "tests"),
    ]  # fmt: skip
    path = os.pathsep.join((str(Path(__file__).parent), str(REPOSITORY)))
    environ = {**os.environ, "HOME": str(home), "PYTHONPATH": path}
    environ.pop("SSH_AUTH_SOCK", None)
    done = subprocess.run(
        command, env=environ, cwd=source, capture_output=True, text=True, check=False, timeout=280
    )
    results = dict(
        reversed(line) for line in re.findall(r"^(PASSED|FAILED) \S+::(\w+)", done.stdout, re.M)
    )
    assert results, done.stdout[-3000:] + done.stderr[-3000:]
    failed = {name for name, result in results.items() if result == "FAILED"}
    assert failed == set(re.findall(r"^\| `(test_\w+)`", PAGE.read_text(), re.M)), done.stdout
    passed = len(results) - len(failed)
    assert f"{passed} of its {len(results)} tests pass" in PAGE.read_text()
    assert f"{passed} of that package's own {len(results)} tests pass" in README.read_text()
