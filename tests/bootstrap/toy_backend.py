"""A build backend (PEP 517, PEP 660) of one file, so that real pip installs without a network.

Copied beside the bootstrap.py under test as the backend of a toy `tunnelctl`, and used by the
tests to build the toy's tools. Standard library only, and nothing of this project.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

TOY = '''
import json, os, signal, sys, time

def tunnelctl():
    """Says how it was called; `exit N`, `die`, `wait` and `orphan` end it in their own ways."""
    words = sys.argv[1:]
    if words[:1] == ["exit"]:
        sys.exit(int(words[1]))
    if words[:1] == ["die"]:
        os.kill(os.getpid(), signal.SIGTERM)
    if words[:1] == ["wait"]:
        usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        # Blocked before "ready" is said: between that and pause(2) an interrupt would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        print("ready", flush=True)
        signal.sigwait({signal.SIGINT})
        sys.exit(42 if usual else 1)
    if words[:1] == ["orphan"]:
        sys.exit(0 if orphan_is_reaped() else 1)
    print(json.dumps({"words": words, "cwd": os.getcwd()}))

def orphan_is_reaped():
    """Leaves a grandchild that ends; whether it is gone, not a zombie, within ten seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if os.fork() == 0:
            os.write(writer, str(os.getpid()).encode())
        os._exit(0)
    os.waitpid(child, 0)
    orphan = int(os.read(reader, 20))
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(orphan, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False

def tool():
    """Says its name, folder and arguments; its exit code is in the environment."""
    name = os.path.basename(sys.argv[0])
    print(name, os.getcwd(), *sys.argv[1:], sep="|", flush=True)
    sys.exit(int(os.environ.get("EXIT_OF_" + name, "0")))
'''


def write_wheel(
    directory: Path,
    name: str,
    commands: Mapping[str, str],
    requires: Iterable[str] = (),
    version: str = "1",
) -> str:
    """Write `NAME-VERSION-py3-none-any.whl`, which holds TOY as a module; its file name.

    `commands` maps each command to its function in TOY.
    """
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: test"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    scripts = [f"{command} = toy_{name}:{function}" for command, function in commands.items()]
    files = {
        f"toy_{name}.py": TOY,
        f"{info}/METADATA": "\n".join(metadata) + "\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "\n".join(["[console_scripts]", *scripts]) + "\n",
    }
    record = f"{info}/RECORD"
    lines = [f"{path},sha256={_digest(text)},{len(text)}\n" for path, text in files.items()]
    files[record] = "".join([*lines, f"{record},,\n"])
    wheel = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(directory / wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def build_editable(
    wheel_directory: str, config_settings: object = None, metadata_directory: object = None
) -> str:
    """PEP 660: what `pip install -e .` calls."""
    requires = ["tools; extra == 'test'"]
    return write_wheel(Path(wheel_directory), "tunnelctl", {"tunnelctl": "tunnelctl"}, requires)


# PEP 517 asks every backend for this one; an editable installation never calls it.
build_wheel = build_editable
