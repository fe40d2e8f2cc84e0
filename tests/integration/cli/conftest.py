"""Homes for commands: one for each test, or one with a cluster for a module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli.commands import UP, Home, gone, until


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An empty home; what a test left up is taken down."""
    place = Home(tmp_path / "home")
    yield place
    place.open_gate()
    place.run("down", "--all", "--grace", "1")


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home where a cluster is up, with two slots and the workers of `commands.KITCHEN`."""
    place = Home(tmp_path_factory.mktemp("kitchen") / "home")
    place.fine(*UP)
    pids = [mark["pid"] for mark in place.cluster()["daemons"].values()]
    yield place
    place.open_gate()
    place.fine("down")
    until(lambda: gone(pids), "the end of all daemons")


@pytest.fixture
def shut(kitchen: Home) -> Home:
    """The kitchen with its gate shut."""
    for name in ("gate", "begun"):
        (kitchen.directory / name).unlink(missing_ok=True)
    return kitchen
