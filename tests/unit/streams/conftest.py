"""Slots that tests of streams share: starting some takes longer than most streams."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pypelinin import Executor


@pytest.fixture(scope="module")
def slots() -> Iterator[Executor]:
    with Executor(2) as executor:
        yield executor
