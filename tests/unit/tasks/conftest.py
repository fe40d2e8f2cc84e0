"""Runners in a directory of their own, and tasks that note that they ran."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pypelinin.tasks import Runner


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path / "data", tmp_path / "log", 2)


@pytest.fixture
def ran(tmp_path: Path) -> Callable[[], list[str]]:
    """What was noted in `tmp_path / "notes"` since it was asked last, in order of the alphabet."""
    place = tmp_path / "notes"

    def asked() -> list[str]:
        if not place.exists():
            return []
        lines = place.read_text().split()
        place.unlink()
        return sorted(lines)

    return asked
