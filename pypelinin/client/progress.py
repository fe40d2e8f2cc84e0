"""The progress bar of `wait`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from pypelinin.pipeline import Pipeline


class Bar:
    """A progress bar on stderr; plain lines now and then if that is no terminal."""

    def __init__(self, total: int, began: float) -> None:
        self._total = total
        self._began = began
        self._terminal = sys.stderr.isatty()
        self._drawn_at = 0.0
        self._is_full = False

    def draw(self, pipelines: Sequence[Pipeline]) -> None:
        now = time.monotonic()
        finished = sum(p.finished_at is not None for p in pipelines)
        early = now - self._drawn_at < (0.1 if self._terminal else 5.0)
        if self._is_full or (early and finished < self._total):
            return
        self._is_full = finished == self._total
        self._drawn_at = now
        failed = sum(p.state == "failed" for p in pipelines)
        filled = 30 * finished // max(1, self._total)
        text = f"[{'#' * filled}{'.' * (30 - filled)}] {finished}/{self._total} pipelines"
        text += f", {failed} failed" if failed else ""
        text += f", {now - self._began:.1f} s"
        sys.stderr.write(f"\r{text}\x1b[K" if self._terminal else f"{text}\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self._terminal:
            sys.stderr.write("\n")
