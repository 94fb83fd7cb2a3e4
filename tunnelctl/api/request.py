"""The arguments of `tunnelctl.open`, and the profile that they name.

Must never write a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tunnelctl.api import sentences
from tunnelctl.home.paths import current_folder
from tunnelctl.quick_dataclass import dataclass
from tunnelctl.spec.environment import Environment

if TYPE_CHECKING:  # a file is read in the thread that opens the tunnels
    from tunnelctl.config.profile.load import Loaded

FilePath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A profile by its name, its file or its forwards; `environment` and `folder` are the caller's
    at the time of the call."""

    profile: str | None
    file: Path | None
    forwards: tuple[str, ...]
    host: str | None
    environment: Environment
    folder: Path

    @classmethod
    def of(
        cls,
        profile: str | None,
        file: FilePath | None,
        forwards: Sequence[str],
        host: str | None,
        environ: Mapping[str, str] | None,
    ) -> OpenRequest:
        """The arguments of `tunnelctl.open`.

        Raises:
            TypeError: they do not go together.
        """
        if isinstance(profile, (os.PathLike, bytes)):
            raise TypeError("a profile is opened by its name; the path of a file is file=")
        if isinstance(forwards, str):
            raise TypeError('forwards is a list of words, such as ["-L", "5432:db:5432"]')
        if bool(forwards) != (host is not None):
            raise TypeError("forwards and host go together")
        if not forwards and profile is None and file is None:
            raise TypeError("give the name of a profile, or file=, or forwards= and host=")
        if forwards and (profile is not None or file is not None):
            raise TypeError("forwards and host are a profile of their own, without name and file")
        return cls(
            profile,
            None if file is None else Path(file),
            tuple(forwards),
            host,
            caller_environment(environ),
            current_folder(),
        )

    def __str__(self) -> str:
        return self.profile or str(self.file or " ".join((*self.forwards, self.host or "")))

    def load(self) -> Loaded:
        """Read the profile. Blocks.

        Raises:
            Failure: profile-not-found, config-invalid with every mistake, or usage: ssh would not
                take these forwards.
        """
        from tunnelctl.config.profile.find import find_profile
        from tunnelctl.config.profile.load import load_profile

        if self.forwards:
            return self._without_file()
        path = find_profile(
            self.profile or "", file=self.file, environ=self.environment, cwd=self.folder
        )
        return load_profile(path, self.environment, name=self.profile)

    def _without_file(self) -> Loaded:
        from tunnelctl.config.exchange.ssh_words import apart
        from tunnelctl.config.exchange.unnamed import unnamed_profile
        from tunnelctl.config.profile.canonical import yaml_text
        from tunnelctl.config.profile.load import load_profile

        try:
            words = apart([*self.forwards, "--", self.host or ""])
            if words.remote:
                raise ValueError(f"{' '.join(words.remote)}: no command is run on the server")
            unnamed = unnamed_profile(words, self.environment, str(self.folder))
        except ValueError as error:
            raise sentences.forwards_invalid(str(self), str(error)) from None
        text = yaml_text(unnamed.document(str(self))).encode()
        loaded = load_profile(Path(str(self)), self.environment, name=unnamed.name, text=text)
        return replace(loaded, profile=replace(loaded.profile, source=""))


def caller_environment(environ: Mapping[str, str] | None) -> Environment:
    """The given variables, or all of this process."""
    return Environment.from_bytes(os.environb) if environ is None else Environment(environ)
