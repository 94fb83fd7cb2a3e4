"""The TAB key, in the shells themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_quick import HEAVY
from tests.support.tmux import Tmux
from tests.support.waiting import eventually
from tests.support.world import World

PROFILE = """\
version: 1
# forwards: of a comment
hosts:
  bastion: {embedded: true}
  edge:
    embedded: true

forwards:
  database:
    local: 0
    to: "hello:80"
    via: bastion
  # one more
  web: {local: 0, to: "hello:80", via: edge}
"""
SHELLS = {
    "bash": ("bash", "--norc", "--noprofile", "-i"),
    "zsh": ("zsh", "-f", "-i"),
    "fish": ("fish", "--no-config", "-i"),
}
SOURCE = {
    "bash": 'eval "$(tunnelctl completion bash)"',
    "zsh": 'autoload -U compinit; compinit -u; eval "$(tunnelctl completion zsh)"',
    "fish": "tunnelctl completion fish | source",
}


@pytest.fixture
def two(world: World) -> World:
    """A world with two profiles, and with the command in the PATH."""
    world.profile("development", PROFILE)
    world.profile("production", PROFILE)
    world.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return world


@pytest.mark.parametrize("shell", list(SHELLS))
def test_in_the_shell(two: World, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    with Tmux(SHELLS[shell], two.home, {**two.environ, "PS1": "> "}, 120, 40) as tmux:

        def completes(typed: str, whole: str) -> None:
            tmux.press("C-u", "C-l")
            tmux.press(typed, "Tab")
            eventually(lambda: whole in "".join(tmux.screen()), f"{typed!r} becomes {whole!r}")

        tmux.press(f"{SOURCE[shell]}; echo 'all' 'set'", "Enter")
        eventually(lambda: "all set" in "".join(tmux.screen()), "the script is read")
        completes("tunnelctl res", "tunnelctl restart")
        completes("tunnelctl up dev", "tunnelctl up development")
        completes("tunnelctl port production/d", "tunnelctl port production/database")
        completes("tunnelctl up --wait", "tunnelctl up --wait-timeout")
        tmux.press("C-u")


BASH_COMPLETION = Path("/usr/share/bash-completion/bash_completion")
# How a shell begins that its user has set up for completion in general.
INTERACTIVE = {
    "bash": ("bash", "--noprofile", "-i"),
    "zsh": ("zsh", "-i"),
    "fish": ("fish", "-i"),
}
SET_UP = {".bashrc": f". {BASH_COMPLETION}\n", ".zshrc": "autoload -U compinit; compinit\n"}


@pytest.mark.parametrize("shell", list(INTERACTIVE))
def test_a_new_shell_completes_after_install(two: World, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    if shell == "bash" and not BASH_COMPLETION.exists():
        pytest.skip("bash-completion is not installed")
    two.ok("completion", "install", shell)
    for name, text in SET_UP.items():
        (two.home / name).write_text(text)
    with Tmux(INTERACTIVE[shell], two.home, {**two.environ, "PS1": "> "}, 120, 40) as tmux:
        tmux.press("echo 'all' 'set'", "Enter")
        eventually(lambda: "all set" in "".join(tmux.screen()), "the shell is ready")
        tmux.press("tunnelctl up dev", "Tab")
        whole = "tunnelctl up development"
        eventually(lambda: whole in "".join(tmux.screen()), "TAB completes")
        tmux.press("C-u")


def test_install_says_what_it_writes_and_writes_it_once(world: World) -> None:
    places = {
        "bash": world.home / ".local/share/bash-completion/completions/tunnelctl",
        "zsh": world.home / ".local/share/zsh/site-functions/_tunnelctl",
        "fish": world.home / "config/fish/completions/tunnelctl.fish",
    }
    shown = world.ok("completion", "install", "--dry-run")
    assert not [path for path in places.values() if path.exists()]
    said = world.ok("completion", "install").splitlines()
    assert {f"{path}: written" for path in places.values()} <= set(said)
    for shell, path in places.items():
        assert path.read_text() == world.ok("completion", shell)
        assert path.read_text() in shown
    again = world.ok("completion", "install").splitlines()
    assert {line.rpartition(": ")[2] for line in again} == {"unchanged"}
    assert len(again) == len(said)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_the_users_zshenv_keeps_its_lines_mode_and_link(world: World) -> None:
    dotfile = world.home / "dotfiles"
    dotfile.write_text("export A=b")
    dotfile.chmod(0o640)
    (world.home / ".zshenv").symlink_to(dotfile)
    shown = world.ok("completion", "install", "zsh", "--dry-run")
    assert "export A=b" not in shown, "only what is added"
    for _ in range(2):
        world.ok("completion", "install", "zsh")
    first, added = dotfile.read_text().splitlines()
    assert first == "export A=b"
    assert added.startswith("fpath=(")
    assert added in shown
    assert (world.home / ".zshenv").is_symlink()
    assert dotfile.stat().st_mode & 0o777 == 0o640


def test_a_folder_that_cannot_be_made_is_one_line(world: World) -> None:
    (world.home / ".local").write_text("a file")
    refused = world.run("completion", "install", "bash")
    assert refused.returncode != 0
    assert "Not a directory" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def offered(world: World, *words: str) -> list[str]:
    """What bash is offered for the last of the words. Nothing heavy may be loaded for it, and
    nothing be said: it would stand in the line that is being typed."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tunnelctl"],
        env={
            **world.environ,
            "_TUNNELCTL_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("tunnelctl", *words)),
            "COMP_CWORD": str(len(words)),
        },
        cwd=world.home,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("import time:")] == []
    imported = {line.rpartition("|")[2].strip() for line in lines}
    assert not imported & set(HEAVY)
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_without_a_daemon_files_are_looked_at(two: World) -> None:
    assert offered(two, "up", "") == ["development", "production"]
    assert offered(two, "down", "p") == ["production"]
    assert offered(two, "port", "") == ["development/", "production/"]
    assert offered(two, "port", "dev") == ["development/database", "development/web"]
    assert offered(two, "port", "development/") == ["development/database", "development/web"]
    assert offered(two, "answer", "development/e") == ["development/edge"]
    assert offered(two, "port", "nothing/") == []
    assert offered(two, "service", "un") == ["uninstall"]
    two.profile("broken", "forwards: [")
    assert offered(two, "port", "broken/") == []


def test_with_a_daemon_it_is_asked(two: World) -> None:
    two.ok("up", "development", "-d")
    assert offered(two, "down", "") == ["development"]
    assert offered(two, "up", "") == ["development", "production"]
    assert offered(two, "ps", "development/w") == ["development/web"]
    assert offered(two, "logs", "d") == ["development"]


def test_a_shell_that_is_not_known(world: World) -> None:
    refused = world.run("completion", "tcsh")
    assert refused.returncode == 2
    assert "bash" in refused.stderr


@pytest.mark.parametrize("words", [("no-such-command", ""), ("completion", "tcsh", "")])
def test_after_a_wrong_word_commands_are_offered(world: World, words: tuple[str, ...]) -> None:
    names = set(offered(world, *words))
    assert names >= ({"up", "down"} if len(words) == 2 else {"bash", "zsh", "fish", "install"})


SSH_CONFIG = (
    "Include more\nHost bastion web-* !x\n  User me\nMatch originalhost edge\n  Port 2222\n"
)
KNOWN_HOSTS = (
    "builder,192.0.2.7 ssh-ed25519 AAAA\n[build.example]:2222 ssh-ed25519 AAAA\n"
    "|1|aGFzaA==|aGFzaA== ssh-ed25519 AAAA\n@cert-authority *.example ssh-ed25519 AAAA\n"
)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (("expose", "3000", "--via", "b"), ["bastion", "build.example:2222", "builder"]),
        (("expose", "3000", "--via", "me@ba"), ["me@bastion"]),
        (("init", "--host", "inc"), ["included"]),
        (("trust", "ed"), ["edge"]),
        (("trust", "dev"), ["development/bastion", "development/edge"]),
        (("up", "-L", "1:b:2", "bast"), ["bastion"]),
        (("up", "-J", "bast"), ["bastion"]),
        (("run", "-D", "1080", "incl"), ["included"]),
        (("import", "ssh-config", "bast"), ["bastion"]),
        (("up", "dev"), ["development"]),
        (("help", "serv"), ["service"]),
        (("help", "service", "un"), ["uninstall"]),
        (("daemon", "st"), ["stop"]),
        (("completion", "b"), ["bash"]),
    ],
)
def test_hosts_of_ssh_and_commands(two: World, words: tuple[str, ...], names: list[str]) -> None:
    folder = two.home / ".ssh"
    folder.mkdir(mode=0o700)
    (folder / "config").write_text(SSH_CONFIG)
    (folder / "more").write_text("Host included\n")
    (folder / "known_hosts").write_text(KNOWN_HOSTS)
    assert offered(two, *words) == names


def test_an_ssh_config_that_cannot_be_read_offers_nothing(two: World) -> None:
    (two.home / ".ssh").mkdir(mode=0o700)
    (two.home / ".ssh" / "config").mkdir()
    assert offered(two, "expose", "3000", "--via", "bastion") == []
