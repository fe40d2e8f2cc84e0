"""Which error is which exit code."""

from __future__ import annotations

import pytest

from pypelinin import errors
from pypelinin.cli import exits


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("x"), 7),
        (errors.Refused("x"), 4),
        (errors.Busy("x"), 4),
        (errors.VersionMismatch("x"), 4),
        (errors.JournalDamaged("x"), 4),
        (errors.Unreachable("x"), 3),
        (errors.Cycle("x"), 6),
        (errors.NotPicklable("x"), 6),
        (errors.Lost("x"), 1),
        (errors.Cancelled("x"), 1),
        (TimeoutError("x"), 5),
        (RuntimeError("x"), 70),
    ],
)
def test_the_class_of_an_error_decides(error: Exception, code: int) -> None:
    assert exits.code_of(error) == code


def test_every_code_is_documented() -> None:
    codes = [value for name, value in vars(exits).items() if name.isupper() and name != "TEXT"]
    numbers = [value for value in codes if isinstance(value, int)]
    assert len(numbers) == 10
    assert all(f" {number} " in exits.TEXT for number in numbers)
