"""What `tunnelctl.open` does to the process that it is in, and to those that this one forks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.ports import free_port

_BEGIN = """
import os, socket, sys
import tunnelctl
from tests.support.clients import ask
from tests.support.ports import is_listening

def code(call):
    try:
        return call()
    except tunnelctl.Failure as failure:
        return str(failure.code)

def fork(child):
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        child()
        sys.stdout.flush()
        sys.exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

tunnels = tunnelctl.open(file=sys.argv[1], drain=0.0)
port = tunnels["echo"].port
print(ask(port, b"served").decode(), flush=True)
"""


def _run(file: Path, program: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, str(file)],
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("last", "status"), [("", 0), ("sys.exit(3)", 3), ("1/0", 1), ("del tunnels", 0)]
)
def test_a_program_ends_that_did_not_close_them(
    echo: Path, tmp_path: Path, last: str, status: int
) -> None:
    done = _run(echo, _BEGIN + last, tmp_path)
    assert (done.returncode, done.stdout) == (status, "served\n"), done.stderr
    assert ("ZeroDivisionError" in done.stderr) == (last == "1/0")
    assert last == "1/0" or not done.stderr


def test_a_forked_child_connects_and_owns_nothing(echo: Path, tmp_path: Path) -> None:
    done = _run(
        echo,
        _BEGIN
        + """
def child():
    print(tunnels["echo"].port == port, ask(port, b"child").decode(), code(tunnels.status))
    tunnels.close()
    with tunnelctl.open(file=sys.argv[1]) as own:
        mine = own["echo"].port
        print(mine != port, ask(mine, b"own").decode(), own.status()["state"])

print(fork(child), tunnels.status()["state"], ask(port, b"parent").decode())
tunnels.close()
""",
        tmp_path,
    )
    said = ["served", "True child not-up", "True own up", "0 up parent"]
    assert (done.returncode, done.stdout.splitlines()) == (0, said), done.stderr


def test_a_fork_waits_until_another_thread_has_imported_what_it_opens_with(hello: Path) -> None:
    """The child would find a module's lock taken for ever."""
    done = _run(
        hello,
        """
import os, signal, sys, threading
import tunnelctl

importing, forked = threading.Event(), threading.Event()

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "tunnelctl.supervisor.tunnel":
            importing.set()
            forked.wait(1)  # in vain, if the fork waits for us

sys.meta_path.insert(0, Finder())

def work():
    with tunnelctl.open(file=sys.argv[1]) as tunnels:
        print("parent", tunnels.status()["state"], flush=True)

thread = threading.Thread(target=work)
thread.start()
importing.wait()
child = os.fork()
if child == 0:
    signal.alarm(40)
    with tunnelctl.open(file=sys.argv[1]) as tunnels:
        print("child", tunnels.status()["state"], flush=True)
    os._exit(0)
forked.set()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""",
        hello.parent,
    )
    said = sorted(done.stdout.splitlines())
    assert (done.returncode, said) == (0, ["0", "child up", "parent up"]), done.stderr


def test_what_the_parent_closes_ends_while_a_child_lives(echo: Path, tmp_path: Path) -> None:
    """A child that kept a copy of a socket would keep the port, the connection and the session."""
    done = _run(
        echo,
        _BEGIN
        + """
client = socket.create_connection(("127.0.0.1", port))
client.sendall(b"x")
assert client.recv(1) == b"x"
come, go = os.pipe()
pid = os.fork()
if pid == 0:
    client.close()
    os.close(go)
    os.read(come, 1)  # until the parent is done
    os._exit(0)
tunnels.close()
try:
    client.recv(1)
    print("an orderly end")
except ConnectionResetError:
    print("reset", is_listening(port))
os.close(go)
os.waitpid(pid, 0)
""",
        tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, "served\nreset False\n"), done.stderr


def test_the_signals_the_log_the_children_and_the_home_of_a_program_stay_its_own(
    echo: Path, tmp_path: Path
) -> None:
    nobody = free_port()
    unreachable = tmp_path / "unreachable.yaml"
    unreachable.write_text(
        f"version: 1\nhosts: {{a: {{hostname: 127.0.0.1, port: {nobody}, user: me}}}}\n"
        "forwards: {db: {local: 0, to: 1, via: a}}\n"
    )
    home = tmp_path / "home"
    home.mkdir()
    done = _run(
        echo,
        "import faulthandler, gc, logging, signal, sys, threading\n"
        "def own():\n"
        "    handlers = [signal.getsignal(n) for n in signal.valid_signals()]\n"
        "    hooks = [sys.excepthook, threading.excepthook, sys.getswitchinterval()]\n"
        "    logs = [logging.root.handlers, logging.root.level, logging.lastResort]\n"
        "    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])\n"
        "    return [handlers, mask, hooks, logs, gc.isenabled()]\n"
        "before = own()\n"
        + _BEGIN
        + f"code(lambda: tunnelctl.open(file={str(unreachable)!r}, timeout=0.3))\n"
        "print(own() == before)\n"
        "children = open(f'/proc/self/task/{os.getpid()}/children').read()\n"
        "print(children.split())\n"
        "tunnels.close()\n"
        "print([t.name for t in threading.enumerate()])\n",
        home,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "served\nTrue\n[]\n['MainThread']\n"
    assert list(home.rglob("*")) == []


def test_the_import_is_light() -> None:
    program = (
        "import sys, tunnelctl; before = set(sys.modules); tunnelctl.open, tunnelctl.Failure;"
        "print(*sorted({'typing', 'asyncio', 'threading'} & before));"
        "heavy = {'paramiko', 'pydantic', 'aiohttp', 'cryptography', 'yaml', 'asyncio', 'click'};"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n\n"
