"""The sentences about unusable key files; the login adds the host.

Owns the sentences: one function for each failure, named for what happened. Must never quote the
content of a private key.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from tunnelctl.errors import Code, Failure, Hint


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _check(path: Path) -> Hint:
    return Hint("check it", f"ssh-keygen -y -f {_quoted(path)}")


def no_key_for_certificate(path: Path) -> Failure:
    """`identity_file` names a certificate."""
    return Failure(
        Code.KEY_UNREADABLE,
        f"{path} is a certificate, and no ssh-agent has its private key",
        f"set identity_file to the private key, and certificate_file to {path}",
    )


def no_key_for_public_key(path: Path) -> Failure:
    """`identity_file` names a public key."""
    return Failure(
        Code.KEY_UNREADABLE,
        f"{path} is a public key, and no ssh-agent has its private key",
        Hint("set identity_file to the private key, or add that to the agent", "ssh-add"),
    )


def key_open_to_others(path: Path, mode: int) -> Failure:
    """A private key of ours is accessible to other users; `mode` is that of the file."""
    return Failure(
        Code.KEY_UNREADABLE,
        f"the permissions {mode:04o} of the private key {path} are too open "
        f"(group and others have {mode & 0o077:03o})",
        Hint("", f"chmod 600 {_quoted(path)}"),
    )


def wrong_passphrase(path: Path) -> Failure:
    """None of the passphrases opens it."""
    return Failure(
        Code.KEY_UNREADABLE,
        f"the passphrase does not open the private key {path}",
        _check(path),
    )


def no_passphrase(path: Path) -> Failure:
    """The key is encrypted."""
    return Failure(
        Code.KEY_UNREADABLE,
        f"the private key {path} is encrypted, and no passphrase is given",
        Hint("add it to the agent", f"ssh-add {_quoted(path)}"),
        Hint("or set passphrase in the profile", edits_profile=True),
    )


def key_in_a_process(path: Path) -> Failure:
    """The path leads to a descriptor of the command that named it, as `<(...)` of a shell."""
    return Failure(
        Code.KEY_UNREADABLE,
        f"the key {path} cannot be read: only the command that named it has it open, and ssh(1) "
        "does not use it either",
        "name a file",
        Hint("or give the key to the agent, by standard input", "ssh-add -"),
    )


def no_such_key(path: Path) -> Failure:
    """The file does not exist."""
    return Failure(
        Code.KEY_UNREADABLE,
        f"the private key {path} does not exist",
        Hint("correct identity_file, or create a key", f"ssh-keygen -t ed25519 -f {_quoted(path)}"),
    )


def key_unreadable(path: Path, why: str) -> Failure:
    """The file cannot be read, or is of a kind that holds no key."""
    return Failure(Code.KEY_UNREADABLE, f"cannot read the key {path}: {why}", _check(path))


def key_unusable(path: Path, why: str, hint: Hint) -> Failure:
    """The file was read, and has no usable key."""
    return Failure(Code.KEY_UNREADABLE, f"cannot use the key {path}: {why}", hint)


def other_public_key(path: Path, public: Path) -> Failure:
    """The file beside a private key is the public part of another key."""
    file = _quoted(path)
    return Failure(
        Code.KEY_UNREADABLE,
        f"{public} is not the public key of the private key {path}",
        Hint("", f"ssh-keygen -y -f {file} > {file}.pub"),
    )


def key_too_short(path: Path, bits: int, least: int) -> Failure:
    """An RSA key with fewer bits than is safe."""
    return Failure(
        Code.KEY_UNREADABLE,
        f"the RSA key {path} has {bits} bits; at least {least} are required",
        Hint("create another", "ssh-keygen -t ed25519"),
    )


# --- what makes a key of a file that is none; `new` is a file that does not exist yet -------


def check_key(path: Path, new: Path) -> Hint:
    """No better hint is known."""
    return _check(path)


def change_cipher(path: Path, new: Path) -> Hint:
    """Only OpenSSL supports the cipher that it is encrypted with."""
    return Hint("encrypt it with another cipher", f"ssh-keygen -p -f {_quoted(path)}")


def create_key(path: Path, new: Path) -> Hint:
    """It cannot be used."""
    return Hint("create another", "ssh-keygen -t ed25519")


def add_to_agent(path: Path, new: Path) -> Hint:
    """A security key."""
    return Hint("", f"ssh-add {_quoted(path)}")


def use_private_key(path: Path, new: Path) -> Hint:
    """It is a public key or a certificate in the format of another program."""
    return Hint("set identity_file to the private key that belongs to it", edits_profile=True)


def export_as_pem(path: Path, new: Path) -> Hint:
    """A JSON Web Key."""
    return Hint("export it as PEM (PKCS#8)")


def _convert(command: str, path: Path, new: Path) -> Hint:
    text = f"convert it, then set identity_file to {new}"
    return Hint(text, command.format(_quoted(path), new=_quoted(new)))


def convert_with_puttygen(path: Path, new: Path) -> Hint:
    """PuTTY's own format, or that of ssh.com."""
    return _convert("puttygen {} -O private-openssh -o {new}", path, new)


def convert_to_utf_8(path: Path, new: Path) -> Hint:
    """UTF-16."""
    return _convert("iconv -f UTF-16 -t UTF-8 {} > {new}", path, new)


def extract_from_pkcs12(path: Path, new: Path) -> Hint:
    """An archive of certificates and keys."""
    return _convert("openssl pkcs12 -in {} -nocerts -out {new}", path, new)


def convert_from_der(path: Path, new: Path) -> Hint:
    """The binary form of PKCS#1, SEC 1 and PKCS#8."""
    return _convert("openssl pkey -inform DER -in {} -out {new}", path, new)
