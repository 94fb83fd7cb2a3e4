"""`python -m tunnelctl`, and the `tunnelctl` command."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; the exit code (SPEC section 2)."""
    from tunnelctl.cli.main import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
