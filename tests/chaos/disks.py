"""A small disk of a test's own, to be filled."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PAGE_BYTES = 4096


class SmallDisk:
    """A file system of its own, mounted at *path*: in memory, or on a file. Root only."""

    def __init__(self, path: Path, size_bytes: int, image: Path | None = None) -> None:
        self.path = path
        self._size_bytes = size_bytes
        self._image = image
        path.mkdir()
        if image is not None:
            with image.open("wb") as file:
                file.truncate(size_bytes)
            self._run("mkfs.ext4", "-q", str(image))
        self.mount()

    def mount(self) -> None:
        if self._image is not None:
            self._run("mount", "-o", "loop", str(self._image), str(self.path))
        else:
            options = f"size={self._size_bytes},mode=0700"
            self._run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path))

    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave_bytes: int = 0) -> Path:
        """Somebody else takes the room; returns his file.

        Page by page, as much as was free at first: others may take some of it meanwhile.
        """
        filler = self.path / "filler"
        wanted = self.free_bytes() - leave_bytes
        with filler.open("wb") as file:
            try:
                for start in range(0, wanted, PAGE_BYTES):
                    os.posix_fallocate(file.fileno(), start, min(PAGE_BYTES, wanted - start))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        return filler

    def remount(self, how: str) -> None:
        """*how*: "ro", "rw", or "abort": what the kernel does with a disk that has errors."""
        self._run("mount", "-o", f"remount,{how}", str(self.path))

    def unmount(self) -> None:
        self._run("umount", str(self.path))

    def repair(self) -> None:
        """As one does after errors: with them some kernels mount it read-only again.

        A copy of it: a network namespace that was made meanwhile still has the old one mounted,
        and who mounts a file for the second time gets what is mounted, read-only.
        """
        assert self._image is not None
        self._image = Path(shutil.copy(self._image, f"{self._image}.repaired"))
        subprocess.run(["e2fsck", "-fy", str(self._image)], check=False, capture_output=True)

    def close(self) -> None:
        self._run("umount", "-l", str(self.path))

    def _run(self, *command: str) -> None:
        subprocess.run(command, check=True, capture_output=True)


@contextmanager
def small_disk(path: Path, size_bytes: int, image: Path | None = None) -> Iterator[SmallDisk]:
    disk = SmallDisk(path, size_bytes, image)
    try:
        yield disk
    finally:
        disk.close()
