"""One target under libFuzzer: `python -m fuzz.one TARGET [libFuzzer's own arguments]`.

Needs atheris. Ends with another code than 0 as soon as a target raises; libFuzzer then has
written the input to a file, and the same command with that file runs it again.
"""

from __future__ import annotations

import sys

import atheris

# Everything of ours must be imported here, so that libFuzzer sees which branches are taken.
with atheris.instrument_imports(include=["tunnelctl", "fuzz"]):
    from fuzz.targets import TARGETS


def main() -> None:
    """Run until libFuzzer has enough, which ends the process."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
