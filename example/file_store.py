"""A StoreClass that keeps each pipeline's data in one JSON file, `<directory>/<id>.data`.

It is created on every Broker as `SimpleFileStore(**configuration["store"])`; the `id` comes from
the pipeline's own data. Change `_read` and `_update` to keep the data in a database instead.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class SimpleFileStore:
    def __init__(self, **configuration: Any) -> None:
        self._directory = Path(configuration.get("directory", "result"))
        self._directory.mkdir(parents=True, exist_ok=True)
        self._monitoring = configuration.get("monitoring filename")

    def retrieve(self, info: dict[str, Any]) -> dict[str, Any]:
        """What the worker asks for in `requires`: from the pipeline's data and earlier results."""
        known = {**info["data"], **self._read(self._filename(info))}
        missing = [key for key in info["worker_requires"] if key not in known]
        if missing:
            raise KeyError(f"{info['worker']} requires {missing}, this pipeline has {list(known)}")
        return {key: known[key] for key in info["worker_requires"]}

    def save(self, info: dict[str, Any]) -> None:
        """Add the worker's result to what the file holds."""
        self._update(self._filename(info), {**info["data"], **info["worker_result"]})

    def save_monitoring(self, data: dict[str, Any]) -> None:
        """Append one line on the health of this node, if there is a file for it."""
        if self._monitoring:
            with open(self._monitoring, "a", encoding="utf-8") as log:
                log.write(json.dumps(data, default=str) + "\n")

    def _filename(self, info: dict[str, Any]) -> Path:
        name = f"{info['data']['id']}.data"
        if Path(name).name != name or name.startswith("."):
            raise ValueError(f"the pipeline's id {info['data']['id']!r} does not make a file name")
        return self._directory / name

    def _read(self, filename: Path) -> dict[str, Any]:
        try:
            return dict(json.loads(filename.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}

    def _update(self, filename: Path, news: dict[str, Any]) -> None:
        """Two jobs of one pipeline may end at once: one reads and writes after the other.

        The file is replaced in one step, so a reader (or a crash) never meets half of it.
        """
        with self._locked():
            part = filename.with_suffix(".part")
            with open(part, "w", encoding="utf-8") as output:
                json.dump({**self._read(filename), **news}, output)
                output.flush()
                os.fsync(output.fileno())
            part.replace(filename)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self._directory / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # given back when the file is closed
            yield
