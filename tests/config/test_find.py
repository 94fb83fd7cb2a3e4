"""The search order of profiles, and where everything else is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tunnelctl.config.profile.find import FoundProfile, find_profile, list_profiles
from tunnelctl.errors import Code, Failure
from tunnelctl.home import paths
from tunnelctl.home.paths import Paths, config_dirs
from tunnelctl.spec.environment import expand_user, home


class Places:
    """A private world with every folder that is searched but /etc."""

    def __init__(self, root: Path) -> None:
        self.cwd = root / "cwd"
        self.order = [
            root / "named",
            self.cwd / "configs",
            self.cwd / ".tunnelctl",
            root / "config/tunnelctl",
        ]
        for place in self.order:
            place.mkdir(parents=True)
        self.environ = {
            "HOME": str(root),
            "TUNNELCTL_CONFIG_DIR": str(root / "named"),
            "XDG_CONFIG_HOME": str(root / "config"),
        }

    def find(self, name: str, file: Path | None = None) -> Path:
        return find_profile(name, file=file, environ=self.environ, cwd=self.cwd)

    def refusal(self, name: str, file: Path | None = None) -> Failure:
        with pytest.raises(Failure) as caught:
            self.find(name, file)
        assert caught.value.code is Code.PROFILE_NOT_FOUND
        assert caught.value.exit_code == 66
        return caught.value


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def test_the_first_place_that_has_it_wins(places: Places) -> None:
    for place in reversed(places.order):
        (place / "dev.yml").touch()
        assert places.find("dev") == place / "dev.yml"
        (place / "dev.yaml").touch()
        assert places.find("dev") == place / "dev.yaml"


def test_a_named_file_wins_over_all(places: Places) -> None:
    (places.order[0] / "dev.yaml").touch()
    (places.cwd / "mine.yaml").touch()
    assert places.find("dev", Path("mine.yaml")) == places.cwd / "mine.yaml"
    assert "there is no file nope.yaml" in str(places.refusal("dev", Path("nope.yaml")))


def test_a_profile_that_is_not_there_says_where_it_looked(places: Places) -> None:
    (places.order[1] / "bastion.yaml").touch()
    failure = places.refusal("bastoin")
    for place in [*places.order, Path("/etc/tunnelctl")]:
        assert str(place) in failure.message
    assert failure.hint == "did you mean bastion?"


@pytest.mark.parametrize(
    "name", ["../dev", "..", ".", "", "Dev", "a/b", "-f", ".dev", "a" * 65, "a\0b", "dev\n", "ü"]
)
def test_what_cannot_be_a_name_is_not_looked_for(places: Places, name: str) -> None:
    (places.cwd / "dev.yaml").touch()
    assert "cannot be the name of a profile" in places.refusal(name).message


def test_a_folder_is_not_a_profile(places: Places) -> None:
    (places.order[0] / "dev.yaml").mkdir()
    places.refusal("dev")
    assert list_profiles(places.environ, places.cwd) == ()


def test_all_profiles_with_what_hides_them(places: Places) -> None:
    first, second = places.order[1], places.order[3]
    for path in (first / "dev.yaml", second / "dev.yaml", second / "a.yml", second / "No.yaml"):
        path.touch()
    assert list_profiles(places.environ, places.cwd) == (
        FoundProfile("a", second / "a.yml"),
        FoundProfile("dev", first / "dev.yaml"),
        FoundProfile("dev", second / "dev.yaml", hidden_by=first / "dev.yaml"),
    )


def test_a_place_that_is_named_twice_hides_nothing_of_itself(places: Places) -> None:
    dev = places.order[1] / "dev.yaml"
    dev.touch()
    places.environ["TUNNELCTL_CONFIG_DIR"] = "./configs"
    assert list_profiles(places.environ, places.cwd) == (FoundProfile("dev", dev),)
    assert places.refusal("other").message.count(str(dev.parent)) == 1


def test_the_default_places(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()  # nothing above it belongs to the project
    found = Paths.from_environ({"HOME": "/home/me", "XDG_CONFIG_HOME": "relative"}, tmp_path)
    assert found.config_dirs == (
        tmp_path / "configs",
        tmp_path / ".tunnelctl",
        Path("/home/me/.config/tunnelctl"),
        Path("/etc/tunnelctl"),
    )
    assert found.state_dir == Path("/home/me/.local/state/tunnelctl")
    assert found.log_file.parent == found.state_dir


@pytest.mark.parametrize(
    ("environ", "uid", "socket"),
    [
        ({"XDG_RUNTIME_DIR": "/run/user/1"}, 1, "/run/user/1/tunnelctl/control.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run/user/0/tunnelctl/control.sock"),
        ({}, 0, "/run/tunnelctl/control.sock"),
        ({}, 1, "/home/me/.local/state/tunnelctl/run/control.sock"),
        (
            {"XDG_RUNTIME_DIR": "relative"},
            1,
            "/home/me/.local/state/tunnelctl/run/control.sock",
        ),
        ({"TUNNELCTL_SOCKET": "/x/y.sock", "XDG_RUNTIME_DIR": "/run"}, 1, "/x/y.sock"),
        ({"TUNNELCTL_SOCKET": "y.sock"}, 1, "/cwd/y.sock"),
    ],
)
def test_where_the_control_socket_is(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], uid: int, socket: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    found = Paths.from_environ({"HOME": "/home/me", **environ}, Path("/cwd"))
    assert found.socket == Path(socket)
    assert found.runtime_dir == found.lock.parent == Path(socket).parent
    assert found.lock != found.socket


@pytest.mark.parametrize("uid", [0, 1])
def test_a_command_outside_the_session_looks_in_its_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, uid: int
) -> None:
    """cron, su and sudo do not say XDG_RUNTIME_DIR. Root's system service goes first."""
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(paths, "_SESSIONS", tmp_path)
    monkeypatch.setattr(paths, "_SYSTEM", tmp_path / "system")
    folder = tmp_path / str(uid) / "tunnelctl"
    folder.mkdir(parents=True)
    found = Paths.from_environ({"HOME": "/home/me"}, Path("/cwd"))
    own = folder / "control.sock"
    assert found.socket == (own if uid else tmp_path / "system/tunnelctl/control.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(own))
        assert Paths.from_environ({"HOME": "/home/me"}, Path("/cwd")).socket == own


def test_the_lock_of_a_user_is_one_wherever_the_socket_is() -> None:
    def lock(**environ: str) -> Path:
        return Paths.from_environ({"HOME": "/home/me", **environ}, Path("/cwd")).user_lock

    assert lock() == lock(XDG_RUNTIME_DIR="/run/user/1") == lock(XDG_RUNTIME_DIR="/x")
    assert lock(TUNNELCTL_SOCKET="/x/a") != lock(TUNNELCTL_SOCKET="/x/b") != lock()
    assert os.uname().nodename in lock().name


def test_a_socket_path_that_cannot_be_bound_is_refused() -> None:
    room = 107 - len("/tunnelctl/control.sock") - 1
    Paths.from_environ({"XDG_RUNTIME_DIR": "/" + "x" * room})
    with pytest.raises(Failure, match="108 bytes") as caught:
        Paths.from_environ({"XDG_RUNTIME_DIR": "/" + "x" * (room + 1)})
    assert "TUNNELCTL_SOCKET" in caught.value.hint


def test_without_home_the_password_database_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    expected = Path(pwd.getpwuid(os.geteuid()).pw_dir)
    assert home({}) == expected
    assert expand_user("~/x", {}) == str(expected / "x")
    assert expand_user("x/~", {}) == "x/~"
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)
    assert home({}) == Path("/")


def test_finding_needs_neither_yaml_nor_pydantic() -> None:
    program = (
        "import sys, tunnelctl.config.profile.find, tunnelctl.home.paths;"
        "print({'yaml', 'pydantic', 'asyncio', 'paramiko'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


# --- the folders above ---------------------------------------------------------------------------


def _places(cwd: Path, home: Path) -> list[Path]:
    """Those of projects, in their order."""
    places = config_dirs({"HOME": str(home)}, cwd)
    return [place.parent for place in places if place.name == "configs"]


def test_up_to_a_work_tree_of_git(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (tmp_path / "a" / ".git").write_text("gitdir: elsewhere\n")  # as in a submodule
    assert _places(deep, tmp_path) == [deep, deep.parent, tmp_path / "a"]


def test_up_to_the_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    deep = home / "a" / "b"
    deep.mkdir(parents=True)
    assert _places(deep, home) == [deep, home / "a", home]
    assert _places(home, home) == [home]


def test_not_where_others_could_put_one(tmp_path: Path) -> None:
    deep = tmp_path / "open" / "mine" / "deep"
    deep.mkdir(parents=True)
    (tmp_path / "open").chmod(0o1777)
    (tmp_path / "open" / ".git").mkdir()
    assert _places(deep, tmp_path) == [deep, deep.parent]
    assert _places(deep.parent, tmp_path) == [deep.parent]
