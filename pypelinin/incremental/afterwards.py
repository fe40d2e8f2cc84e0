"""What follows a run when its records are closed: a program of the user's, the script again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

HOOK = ".pipegraph_finished.py"
HOOK_S = 60.0


def run_hook() -> None:
    """Run `~/.pipegraph_finished.py`, if it is there and executable. It cannot fail a run."""
    path = Path(os.path.expanduser("~")) / HOOK
    if not path.is_file() or not os.access(path, os.X_OK):
        return
    try:
        subprocess.run([path], stdin=subprocess.DEVNULL, timeout=HOOK_S, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{path} did not do its work: {error}", file=sys.stderr)


def begin_again() -> None:
    """Become this program anew, with the same arguments. Returns only if there is no script."""
    if not sys.argv or not sys.argv[0] or sys.argv[0] == "-c":
        print("There is no script that could be run again.", file=sys.stderr)
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
