"""How much of the machine a graph may take."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.incremental.v1.resource_coordinators import LocalSystem


def test_it_has_all_cores_or_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBER_OF_PROCESSORS", "7")
    assert LocalSystem().max_cores_to_use == 7
    few = LocalSystem(2, profile=True, interactive=False)
    assert (few.max_cores_to_use, few.cores_available, few.interactive) == (2, 2, False)
    assert few.profile
    assert few.physical_memory > 2**20


@pytest.mark.parametrize("cores", [0, -1, "2", True])
def test_cores_that_cannot_be_are_refused(cores: Any) -> None:
    with pytest.raises(ValueError, match="max_cores_to_use"):
        LocalSystem(cores)
