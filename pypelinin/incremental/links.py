"""Files that are kept for a while, and links to the newest of them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def point(link: Path, target: str) -> None:
    """Make *link* lead to *target*, at once."""
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    os.replace(new, link)


def keep_newest(paths: Iterable[Path], count: int | None) -> list[Path]:
    """Remove the files of *paths* that are not among the newest; returns what had to go."""
    if count is None:
        return []
    files = [(path.stat().st_mtime_ns, path) for path in paths if not path.is_symlink()]
    old = [path for _, path in sorted(files, reverse=True)[max(count, 1) :]]
    for path in old:
        path.unlink(missing_ok=True)
    return old
