"""What the package `pypelinin.stores` offers, and that it imports only what is asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pypelinin import stores

SCRIPT = "import sys; from pypelinin.stores import {}; print(*sys.modules)"


def imported_with(name: str) -> set[str]:
    package = Path(stores.__path__[0]).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(name)],
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_it_names_its_stores() -> None:
    assert set(stores.__all__) == {"FileStore", "KeyedStore", "MemoryStore", "SQLStore"}
    assert set(stores.__all__) <= set(dir(stores))
    assert stores.MemoryStore.__module__ == "pypelinin.stores.memory"


def test_a_store_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"'pypelinin\.stores' has no attribute 'RedisStore'"):
        _ = stores.RedisStore


def test_a_store_imports_nothing_of_the_others() -> None:
    modules = imported_with("MemoryStore")
    assert "pypelinin.stores.memory" in modules
    assert modules.isdisjoint({"pypelinin.stores.file", "pypelinin.stores.sql", "sqlalchemy"})
    assert "sqlalchemy" not in imported_with("FileStore")
