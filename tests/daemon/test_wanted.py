"""What is wanted up outlives the daemon, and no secret does; a bad disk costs one warning."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import is_running
from tests.support.profiles import EMBEDDED
from tests.support.waiting import eventually
from tests.support.world import World
from tunnelctl.daemon.troubles import Troubles
from tunnelctl.daemon.wanted.saved import WantedProfile
from tunnelctl.daemon.wanted.saving import WantedFile
from tunnelctl.home.paths import Paths

DEV = WantedProfile("dev", "/configs/dev.yaml", ("DB_PASSWORD",))
OTHER = WantedProfile("other", "/configs/other.yaml")


def states(world: World) -> dict[str, str]:
    """Every profile's."""
    return {profile["name"]: profile["state"] for profile in world.status()["profiles"]}


def until_up(world: World, *names: str) -> None:
    """Wait until exactly these profiles are known, and up."""
    wanted = dict.fromkeys(names, "up")
    eventually(lambda: states(world) == wanted, f"{names} are up")


@pytest.fixture
def keeper(embedded: World) -> World:
    """A world with a third profile, whose `up` starts daemons."""
    embedded.profile("third", EMBEDDED)
    return embedded


def test_what_was_up_is_up_again_after_a_kill(keeper: World) -> None:
    keeper.ok("up", "dev", "other", "-d")
    keeper.kill_daemon()
    keeper.ok("up", "third", "-d")
    until_up(keeper, "dev", "other", "third")


def test_a_manual_down_stays_down(keeper: World) -> None:
    keeper.ok("up", "dev", "other", "-d")
    keeper.ok("down", "dev")
    keeper.kill_daemon()
    keeper.ok("up", "third", "-d")
    until_up(keeper, "other", "third")


def test_an_orderly_end_and_a_service_manager_keep_it_too(keeper: World) -> None:
    keeper.ok("up", "dev", "-d")
    pid = keeper.daemon_pid()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_running(pid), "the daemon ends", 10)
    with keeper.start("daemon", "third") as daemon:
        try:
            eventually(lambda: keeper.run("ps").returncode == 0, "all is up")
            assert states(keeper) == {"dev": "up", "third": "up"}
        finally:
            daemon.terminate()
            daemon.communicate(timeout=15)
    # What its command line asked for is its command line's.
    keeper.ok("up", "other", "-d")
    until_up(keeper, "dev", "other")


def test_what_a_command_held_up_is_not_wanted_any_more(keeper: World) -> None:
    with keeper.start("up", "dev") as attached:
        try:
            eventually(lambda: keeper.run("ps").returncode == 0, "it is up")
            keeper.kill_daemon()
        finally:
            attached.communicate(timeout=20)
    keeper.ok("up", "third", "-d")
    until_up(keeper, "third")


def test_a_value_is_never_written_and_is_asked_for_again(world: World, paths: Paths) -> None:
    """A `${NAME}` with a default must not quietly become another profile."""
    world.profile("dev", EMBEDDED.replace('"hello:80"', '"${TARGET:-other}:80"'))
    world.profile("third", EMBEDDED)
    secret = "hello"
    world.environ["TARGET"] = secret
    world.ok("up", "dev", "-d")
    raw = paths.wanted_file.read_text()
    (written,) = json.loads(raw)["profiles"]
    assert (written["name"], written["file"]) == ("dev", str(world.configs / "dev.yaml"))
    assert "TARGET" in written["variables"]
    assert secret not in raw
    assert stat.S_IMODE(paths.wanted_file.stat().st_mode) == 0o600
    world.kill_daemon()
    del world.environ["TARGET"]
    world.ok("up", "third", "-d")
    assert states(world) == {"third": "up", "dev": "failed"}
    done = world.run("ps")
    assert done.returncode == 1
    assert "failed: secret-unavailable" in done.stdout
    assert "$TARGET" in done.stderr
    assert "tunnelctl up dev -d" in done.stderr
    for command in ("restart", "reload"):
        refused = world.run(command, "dev")
        assert refused.returncode == 77, refused.stderr
        assert "$TARGET" in refused.stderr
    assert world.ok("reload") == "third: unchanged\n"
    # It stays wanted, and comes up with its variable.
    world.environ["TARGET"] = secret
    world.ok("up", "dev", "-d")
    assert world.forward("dev", "hello")["target"] == "hello:80"
    assert world.run("ps").returncode == 0


def test_one_that_cannot_be_loaded_is_shown_can_be_mended_and_taken_down(keeper: World) -> None:
    keeper.ok("up", "dev", "other", "-d")
    keeper.kill_daemon()
    keeper.profile("dev", "version: 1\nhosts:\n  demo: {prot: 22}\n")
    (keeper.configs / "other.yaml").unlink()
    keeper.ok("up", "third", "-d")
    assert states(keeper) == {"third": "up", "dev": "failed", "other": "failed"}
    said = keeper.run("ps").stderr
    assert "dev: its file cannot be used" in said
    assert "other: its file cannot be used" in said
    keeper.ok("down", "other")
    keeper.profile("dev", EMBEDDED)
    assert sorted(keeper.ok("reload").splitlines()) == ["dev: started", "third: unchanged"]
    until_up(keeper, "third", "dev")


def test_a_daemon_of_another_version_hands_over(keeper: World) -> None:
    old_daemon(keeper)
    keeper.ok("up", "dev", "-d")  # starts none: the old one is there, and is replaced at once
    assert keeper.status()["daemon"]["version"] != "0.0.1"


def test_a_daemon_of_another_version_is_named_and_what_it_had_is_up_again(keeper: World) -> None:
    keeper.ok("up", "dev", "other", "-d")
    keeper.kill_daemon()
    old_daemon(keeper)
    until_up(keeper, "dev", "other")
    shown = keeper.run("ps")
    assert shown.returncode == 0
    assert shown.stderr.count("\n") == 1
    assert "the daemon is version 0.0.1" in shown.stderr
    assert json.loads(keeper.ok("ps", "--json"))["daemon"]["version"] == "0.0.1"
    done = keeper.run("up", "dev", "-d")
    assert done.returncode == 0, done.stderr
    assert "replacing it with" in done.stderr
    until_up(keeper, "dev", "other")
    assert keeper.run("ps").stderr == ""


def test_nobody_attached_is_cut_off_by_a_hand_over(keeper: World) -> None:
    old_daemon(keeper)
    with subprocess.Popen(
        [sys.executable, "-c", OLD, "up", "dev"],
        env=keeper.environ,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as attached:
        try:
            until_up(keeper, "dev")
            done = keeper.run("up", "other", "-d")
            assert done.returncode == 0
            assert "attached" in done.stderr
            assert attached.poll() is None
            assert keeper.status()["daemon"]["version"] == "0.0.1"
        finally:
            attached.terminate()
            attached.wait(20)


OLD = """\
import sys, tunnelctl
tunnelctl.__version__ = "0.0.1"
from tunnelctl.cli.main import run
sys.exit(run(sys.argv[1:]))
"""


def old_daemon(world: World) -> None:
    """Start a background daemon that says it is version 0.0.1."""
    done = subprocess.run(
        [sys.executable, "-c", OLD, "daemon", "--report-to", "1"],
        cwd="/",
        env=world.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert done.stdout.partition(b"\n")[0] == b"ready"


# --- the file itself -----------------------------------------------------------------------


class Disk:
    """A file of wanted profiles and what went wrong with it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "state" / "wanted.json"
        self.troubles = Troubles()
        self.file = self.open()

    def open(self) -> WantedFile:
        """As the next daemon does."""
        return WantedFile(self.path, Path("/run/control.sock"), self.troubles)

    def now(self) -> tuple[WantedProfile, ...]:
        """What the next daemon would read."""
        return self.open().read()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


async def test_what_is_saved_is_read(disk: Disk) -> None:
    assert disk.now() == ()
    await disk.file.save([DEV, OTHER])
    assert disk.now() == (DEV, OTHER)
    await asyncio.gather(*(disk.file.save(some) for some in ([DEV], [], [OTHER])))
    assert disk.now() == (OTHER,)
    assert [path.name for path in disk.path.parent.iterdir()] == ["wanted.json"]
    assert disk.troubles.texts == ()


async def test_a_full_disk_leaves_the_old_file_whole(disk: Disk) -> None:
    await disk.file.save([DEV])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, hard))
    try:
        await disk.file.save([DEV, OTHER])
        await disk.file.save([OTHER])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert disk.now() == (DEV,)
    (text,) = disk.troubles.texts
    assert "File too large" in text
    await disk.file.save([OTHER])
    assert disk.now() == (OTHER,)
    assert disk.troubles.texts == ()
    await disk.file.close(1)


async def test_a_place_that_cannot_be_written_is_one_warning(
    disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.path.parent.write_text("a file where the directory belongs")
    for profiles in ([DEV], [OTHER], [DEV, OTHER]):
        await disk.file.save(profiles)
    await disk.file.close(1)
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1
    assert len(disk.troubles.texts) == 1


async def test_no_thread_to_write_with_is_a_warning_too(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(self: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited:
        limited.setattr("threading.Thread.start", start)
        await disk.file.save([DEV])
    assert "thread" in disk.troubles.texts[0]
    await disk.file.save([DEV])
    assert disk.now() == (DEV,)
    assert disk.troubles.texts == ()
    await disk.file.close(1)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 50_000,
        b'{"version": 2, "profiles": []}',
        b'{"version": 1, "profiles": [{"name": "../x", "file": "/x", "variables": []}]}',
        b'{"version": 1, "profiles": [{"name": "x", "file": "x", "variables": []}]}',
        b'{"version": 1, "profiles": [{"name": "x", "file": 1, "variables": []}]}',
        b'{"version": 1, "profiles": 7}',
    ],
)
async def test_a_file_that_makes_no_sense_is_a_warning(disk: Disk, content: bytes) -> None:
    disk.path.parent.mkdir()
    disk.path.write_bytes(content)
    assert disk.now() == ()
    assert "wanted.json is ignored" in disk.troubles.texts[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_directory_that_can_only_be_read(disk: Disk) -> None:
    await disk.file.save([DEV])
    disk.path.parent.chmod(0o500)
    await disk.file.save([DEV, OTHER])
    assert disk.now() == (DEV,)
    assert len(disk.troubles.texts) == 1
    disk.path.parent.chmod(0o700)
    await disk.file.close(1)


def test_without_a_place_for_state_it_works_and_says_so(embedded: World) -> None:
    embedded.environ["XDG_STATE_HOME"] = "/dev/null/nowhere"
    embedded.ok("up", "dev", "-d")
    warnings = embedded.status()["daemon"]["warnings"]
    assert len(warnings) == 2
    assert {"/dev/null/nowhere" in warning for warning in warnings} == {True}
    assert "which profiles are wanted" in embedded.run("ps").stderr


# --- without a daemon, and with one that starts ---------------------------------------------------


def ended(world: World) -> None:
    """End the daemon in order."""
    pid = world.daemon_pid()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_running(pid), "the daemon ends", 15)


def test_down_ends_what_is_wanted_though_no_daemon_runs(keeper: World) -> None:
    keeper.ok("up", "dev", "other", "-d")
    ended(keeper)
    done = keeper.run("down", "dev")
    assert done.returncode == 0
    assert "dev is down: no daemon is running, and the next one will not bring it up" in done.stderr
    assert keeper.run("ps").returncode == 3, "none was started for that"
    done = keeper.run("down", "dve")
    assert done.returncode == 66
    assert "did you mean dev?" in done.stderr
    done = keeper.run("down", "dev")
    assert (done.returncode, done.stderr) == (0, "tunnelctl: profile dev is not up\n")
    keeper.ok("up", "third", "-d")
    until_up(keeper, "other", "third")
    ended(keeper)
    assert keeper.run("down", "--all").returncode == 0
    done = keeper.run("down", "--all")
    assert (done.returncode, done.stderr) == (
        0,
        "tunnelctl: no daemon is running, so nothing is up\n",
    )
    keeper.ok("up", "dev", "-d")
    until_up(keeper, "dev")


def test_down_without_a_daemon_keeps_to_the_file_too(keeper: World) -> None:
    keeper.ok("up", "dev", "-d")
    ended(keeper)
    elsewhere = keeper.home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "dev.yaml").write_text(EMBEDDED)
    there = {"TUNNELCTL_CONFIG_DIR": str(elsewhere)}
    done = keeper.run("down", "dev", environ=there)
    assert done.returncode == 2
    assert str(keeper.configs / "dev.yaml") in done.stderr
    assert keeper.run("down", "dev", "--force", environ=there).returncode == 0


def test_down_beside_a_daemon_that_starts(keeper: World) -> None:
    """Whichever comes first: what is down is not wanted."""
    keeper.ok("up", "dev", "-d")
    for _ in range(3):
        ended(keeper)
        with keeper.start("up", "other", "-d") as starting:
            assert keeper.run("down", "dev").returncode == 0
            assert starting.wait(30) == 0
        keeper.ok("up", "third", "-d")
        assert "dev" not in {
            one["name"] for one in keeper.status()["profiles"] if one["wanted"] == "up"
        }
        keeper.ok("up", "dev", "-d")


def test_what_a_daemon_brings_up_by_itself_is_said(keeper: World) -> None:
    keeper.ok("up", "dev", "other", "third", "-d")
    ended(keeper)
    keeper.profile("other", "version: 1\nhosts: {a: {prot: 1}}\n")
    done = keeper.run("up", "third", "-d")
    assert done.returncode == 0
    said = done.stderr.splitlines()
    assert len(said) == 2
    assert said[0].startswith("tunnelctl: dev is up again, as when the last daemon ended")
    assert "tunnelctl down dev ends that" in said[0]
    assert said[1].startswith("tunnelctl: other is wanted, as when the last daemon ended, and not")
    assert "prot" in said[1]
    assert keeper.run("up", "third", "-d").stderr == ""


async def test_a_file_that_is_not_used_is_kept(disk: Disk) -> None:
    """It may be of a later version of ours, which comes back."""
    disk.path.parent.mkdir()
    theirs = b'{"version": 2, "profiles": []}'
    disk.path.write_bytes(theirs)
    file = disk.open()
    file.read()
    await file.save([DEV])
    assert disk.now() == (DEV,)
    assert disk.path.with_name("wanted.json.unused").read_bytes() == theirs
    await file.save([OTHER])
    assert disk.path.with_name("wanted.json.unused").read_bytes() == theirs


async def test_a_folder_where_the_draft_would_be(disk: Disk) -> None:
    disk.path.parent.mkdir()
    (disk.path.parent / ".wanted.json.new").mkdir()
    await disk.file.save([DEV])
    assert disk.now() == (DEV,)
    assert disk.troubles.texts == ()
