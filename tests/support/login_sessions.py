"""Login sessions, each with a keyring of its own.

The package keyring asks a real backend of it: a module of ours. The address of a session's bus,
which every backend of a desktop goes by, is a file here that holds the session's one secret.
"""

from __future__ import annotations

from pathlib import Path

LOCKED, ASKS = "locked", "asks"  # keyrings that refuse, and that wait for a person

_BACKEND = """
import os, time
import keyring.backend, keyring.errors

class Ring(keyring.backend.KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        with open(os.environ["DBUS_SESSION_BUS_ADDRESS"]) as file:
            kept = file.read()
        if kept == "locked":
            raise keyring.errors.KeyringLocked("hunter2 is locked")
        if kept == "asks":
            time.sleep(60)
        return kept if f"{service}/{username}" == ENTRY else None

    set_password = delete_password = None
"""


class LoginSessions:
    """Sessions whose keyrings know `entry` (SERVICE/USER) alone; their files are in `directory`."""

    def __init__(self, directory: Path, entry: str) -> None:
        self._directory = directory / "sessions"
        config = self._directory / "python_keyring"
        config.mkdir(parents=True)
        (config / "ring_for_tests.py").write_text(f"ENTRY = {entry!r}\n{_BACKEND}")
        (config / "keyringrc.cfg").write_text(
            f"[backend]\ndefault-keyring=ring_for_tests.Ring\nkeyring-path={config}\n"
        )

    def variables(self, secret: str) -> dict[str, str]:
        """The environment of a new session in whose keyring that secret is."""
        bus = self._directory / f"bus-{len(list(self._directory.iterdir()))}"
        bus.write_text(secret)
        return {
            "DBUS_SESSION_BUS_ADDRESS": str(bus),
            "XDG_CONFIG_HOME": str(self._directory),
        }
