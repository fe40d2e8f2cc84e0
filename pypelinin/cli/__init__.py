"""The command `pypelinin`. What a command needs is imported when it runs, so help is fast."""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with *arguments* (default: the process's); returns the exit code."""
    from pypelinin.cli.app import run

    return run(arguments)
