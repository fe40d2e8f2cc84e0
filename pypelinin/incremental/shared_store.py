"""A directory of results that several projects share, by what they were made from.

    build/<host>_<pid>_<time>   where somebody makes something now
    done/<content>              results, by their content
    by_input/<key>              links into done/, by what the result was made from
    used_by/<user>.source       which project is meant by <user>
    used_by/<user>.uses         a link into by_input/: what that project needs

All changes outside of build/ are made under one file lock, so projects, and processes on machines
that share the file system, do not disturb each other.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pypelinin.incremental.exceptions import JobContractError, JobEvaluationFailed

PLACES = ("build", "done", "by_input", "used_by")


def named(*parts: bytes) -> str:
    """A name in the store: SHA-512 over *parts* and their lengths."""
    state = hashlib.sha512()
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.hexdigest()


class SharedStore:
    """The store at *prefix* as one project sees it, which *source* names."""

    def __init__(self, prefix: str, source: str) -> None:
        self.prefix = prefix
        self.source = source
        self.user = hashlib.sha512(source.encode("utf-8", "surrogateescape")).hexdigest()

    def link(self, key: str) -> Path:
        """Where the result of these inputs is reached, if there is one."""
        return Path(self.prefix, "by_input", key)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes the store meanwhile."""
        for place in PLACES:
            os.makedirs(os.path.join(self.prefix, place), exist_ok=True)
        with open(os.path.join(self.prefix, ".lock"), "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    # --- who makes something ---------------------------------------------------------------------

    def new_build(self) -> Path:
        """An empty directory, as an absolute path."""
        name = f"{socket.gethostname()}_{os.getpid()}_{time.time():.9f}"
        build = Path(self.prefix, "build", name).absolute()
        build.mkdir(parents=True)
        return build

    def publish(
        self,
        build: Path,
        key: str,
        content: str,
        is_intact: Callable[[Path], bool],
        remove_unused: bool,
    ) -> Path:
        """Move *build* to where everybody finds it; returns where its files are now.

        *content* names it; what is there already of that name is kept if it *is_intact*. Raises
        JobContractError if another content was made from the same inputs.
        """
        done = Path(self.prefix, "done", content)
        with self.locked():
            self._check(key, content)
            if done.exists() and not is_intact(done):
                spoiled = build.with_name(f"{build.name}.spoiled")
                done.rename(spoiled)
                shutil.rmtree(spoiled)
            if done.exists():
                shutil.rmtree(build)
            else:
                build.rename(done)
            _point(self.link(key), f"../done/{content}")
            self.use(key)
            if remove_unused:
                self.sweep()
        return done

    def _check(self, key: str, content: str) -> None:
        if not self.has(key):
            return
        found = os.path.basename(os.readlink(self.link(key)))
        if found != content:
            raise JobContractError(
                f"Other files were made from the same inputs before: {self.link(key)} leads to "
                f"{found[:16]}..., and what was made now is {content[:16]}....",
                remedy="Depend on what makes the difference, or make it give the same every time; "
                "remove that link if the earlier result was wrong.",
            )

    # --- who needs something ---------------------------------------------------------------------

    def has(self, key: str) -> bool:
        """Whether there is a result of these inputs. Raises JobEvaluationFailed."""
        link = self.link(key)
        if not link.is_symlink() and link.exists():
            raise JobEvaluationFailed(
                f"{link} is no symbolic link, so it was not made by this kind of job.",
                remedy="Move it away.",
            )
        return link.is_dir()

    def place_of(self, key: str) -> Path:
        """Where the files of a result really are."""
        return Path(self.prefix, "done", os.path.basename(os.readlink(self.link(key))))

    @property
    def used(self) -> str | None:
        """The key of what this project needs."""
        try:
            return os.path.basename(os.readlink(self._uses))
        except FileNotFoundError:
            return None

    @property
    def _uses(self) -> Path:
        return Path(self.prefix, "used_by", f"{self.user}.uses")

    def use(self, key: str) -> None:
        """This project needs this result, and no other one any more; call it under the lock."""
        if self.used != key:
            self._uses.with_suffix(".source").write_text(self.source)
            _point(self._uses, f"../by_input/{key}")

    def sweep(self) -> None:
        """Remove results that no project needs; call it under the lock."""
        base = Path(self.prefix)
        needed = {os.path.basename(os.readlink(uses)) for uses in base.glob("used_by/*.uses")}
        kept = set()
        for link in base.joinpath("by_input").iterdir():
            if link.name in needed:
                kept.add(os.path.basename(os.readlink(link)) if link.is_symlink() else "")
            elif link.is_symlink():
                link.unlink()
        for done in base.joinpath("done").iterdir():
            if done.name not in kept:
                shutil.rmtree(done)


def _point(link: Path, target: str) -> None:
    """Let *link* lead to *target*; at no moment it does not exist."""
    if link.is_symlink() and os.readlink(link) == target:
        return
    new = link.with_name(f"{link.name}.{os.getpid()}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(target)
    new.replace(link)
