"""Compose files and the Dockerfile as data, read without docker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

Services = dict[str, dict[str, Any]]

ROOT = Path(__file__).resolve().parents[2]
# Each stage of the Dockerfile: the image it begins from, and its instructions.
STAGES: dict[str, tuple[str, str]] = {
    stage: (base, instructions)
    for base, stage, instructions in re.findall(
        r"^FROM (\S+) AS (\w+)\n(.*?)(?=^FROM|\Z)", (ROOT / "Dockerfile").read_text(), re.M | re.S
    )
}
# build, depends_on and the rest mean the same in docker-compose 1.29 and docker compose 2.
COMMON_KEYS = {
    "build",
    "image",
    "command",
    "environment",
    "networks",
    "ports",
    "volumes",
    "tmpfs",
    "profiles",
    "read_only",
    "cap_drop",
    "security_opt",
    "stop_signal",
    "depends_on",
    "healthcheck",
}


def load(name: str) -> dict[str, Any]:
    """A compose file, by its path in the repository."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / name).read_text())
    return loaded


def last_user(target: str) -> str:
    """The user that a stage ends with, which may be that of the stage it begins from."""
    if target not in STAGES:
        return "root"
    base, instructions = STAGES[target]
    users: list[str] = re.findall(r"^USER (\S+)$", instructions, re.M)
    return users[-1] if users else last_user(base)


def sharing(services: Services, name: str) -> set[str]:
    """The other services on a network of `name`."""
    networks = set(services[name]["networks"])
    return {
        other
        for other, service in services.items()
        if other != name and networks & set(service["networks"])
    }
