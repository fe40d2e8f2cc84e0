"""What travels is small and comes back as it went."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pypelinin.streams.inside.portions import (
    NO_PACE,
    Chunk,
    ItemFailure,
    Part,
    Report,
    Suspended,
)

CHUNK = Chunk(1, 2, b"items", 3, True)
FAILURE = ItemFailure("stage", "item", b"", "KeyError", "'x'", "")


@pytest.mark.parametrize(
    "portion",
    [
        CHUNK,
        Suspended(b"state", (CHUNK, Suspended(b"", ()))),
        Part(True, b"store"),
        FAILURE,
        Report(Part(False, b""), (CHUNK,), (0,), (FAILURE,), 3, 0.5, {1: 0.1}, ("out", "err")),
    ],
)
def test_it_travels(portion: Any) -> None:
    found = pickle.loads(pickle.dumps(portion))
    assert found == portion
    assert type(found) is type(portion)


def test_who_measured_nothing_says_so_and_nobody_changes_that() -> None:
    assert Report(None).pace is NO_PACE
    assert dict(NO_PACE) == {}
    with pytest.raises(TypeError):
        NO_PACE[1] = 2.0  # type: ignore[index]  # the error to be seen
