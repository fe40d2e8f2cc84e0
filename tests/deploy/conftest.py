"""Homes for commands, as in tests/integration/cli."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.sshd import Sshd, served
from tests.integration.cli.commands import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """An empty home; what a test left up is taken down."""
    place = Home(tmp_path / "home")
    yield place
    place.open_gate()
    place.run("down", "--all", "--grace", "1")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with served(tmp_path_factory.mktemp("sshd")) as server:
        yield server
