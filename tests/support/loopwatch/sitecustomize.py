"""Python imports this at the start of each command of a test's world (tests/support/world.py has
its folder on PYTHONPATH): where that is the daemon, its loop is watched."""

import os
import sys

if "daemon" in sys.orig_argv and os.environ.get("TUNNELCTL_LOOP_REPORT"):
    import loop_watch  # type: ignore[import-not-found]  # in this folder, which is on the path

    loop_watch.watch(os.environ["TUNNELCTL_LOOP_REPORT"])
