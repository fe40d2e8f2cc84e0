"""Runners in a directory of their own, and tasks that note that they ran."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from pypelinin.tasks import Runner

numbers = itertools.count()


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


@pytest.fixture
def module(tmp_path: Path) -> Callable[[str], ModuleType]:
    """A module of this text, below a header that imports what tasks need."""

    def make(text: str) -> ModuleType:
        name = f"hashed_{next(numbers)}"
        path = tmp_path / f"{name}.py"
        path.write_text(f"from pypelinin.tasks import Task, run, task\n{text}")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        sys.modules[name] = made
        spec.loader.exec_module(made)
        return made

    return make
