"""What a run is made with: host, Python, packages, the project's sources and its repository."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import site
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pypelinin.config import VERSION

SOURCES_MAX = 500
SOURCE_BYTES_MAX = 4 * 1024 * 1024
GIT_S = 5.0
_DISTRIBUTION = re.compile(r"([A-Za-z0-9_.]+)-([^-]+)\.dist-info")
_USER_IN_URL = re.compile(r"//[^/@]*@")


def described(data_path: str, log_path: str) -> dict[str, Any]:
    """For pipeline.yaml, below `run`."""
    mainfile = getattr(sys.modules.get("__main__"), "__file__", None) or ""
    base = os.path.dirname(os.path.abspath(mainfile)) if mainfile else os.getcwd()
    return {
        "data_path": data_path,
        "log_path": log_path,
        "host": {
            "hostname": platform.node(),
            "os": platform.platform(),
            "python": platform.python_version(),
        },
        "env": {
            "base_dir": base,
            "mainfile": mainfile,
            "sources": list(_sources(base)),
            "dependencies": _dependencies(tuple(sys.path)),
            "repositories": list(_repositories(base)),
        },
        "pypelinin": VERSION,
    }


def _sources(base: str) -> Iterator[dict[str, str]]:
    """The loaded modules of the project, with the MD5 of each file."""
    installed = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib")]
    places = tuple(os.path.join(place, "") for place in (*installed, *site.getsitepackages()))
    inside = os.path.join(base, "")
    paths = {str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values())}
    found = [path for path in paths if path.startswith(inside) and not path.startswith(places)]
    for path in sorted(found)[:SOURCES_MAX]:
        try:
            if os.path.getsize(path) > SOURCE_BYTES_MAX:
                continue
            content = Path(path).read_bytes()
        except OSError:
            continue
        made = hashlib.md5(content, usedforsecurity=False).hexdigest()
        yield {"filename": os.path.relpath(path, base), "md5hash": made}


@functools.cache
def _dependencies(path: tuple[str, ...]) -> list[str]:
    """What is installed, as the names of directories say: nothing is opened."""
    found: dict[str, str] = {}
    for place in path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for match in filter(None, map(_DISTRIBUTION.fullmatch, names)):
            found.setdefault(match[1].replace("_", "-").lower(), match[2])
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def _repositories(base: str) -> Iterator[dict[str, Any]]:
    """That which the project lies in, if git can say something about it."""
    if not any((place / ".git").exists() for place in (Path(base), *Path(base).parents)):
        return
    commit = _git(base, "rev-parse", "HEAD")
    if not commit:
        return
    url = _USER_IN_URL.sub("//", _git(base, "config", "--get", "remote.origin.url") or "")
    changes = _git(base, "status", "--porcelain", "--untracked-files=no")
    yield {"url": url, "commit": commit, "dirty": changes is None or bool(changes)}


def _git(base: str, *arguments: str) -> str | None:
    command = ["git", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(
            command, cwd=base, capture_output=True, text=True, timeout=GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


__all__ = ["described"]
