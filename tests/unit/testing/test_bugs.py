"""Planted bugs are there while they should be, and gone after."""

from __future__ import annotations

import pytest

from pypelinin.cluster.attempts import Attempts
from pypelinin.testing.bugs import BUGS, planted


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_replaces_methods_and_is_taken_out_again(name: str) -> None:
    before = [cls.__dict__[method] for cls, method, _ in BUGS[name]]
    with planted(name):
        for cls, method, bug in BUGS[name]:
            assert cls.__dict__[method] is bug
    assert [cls.__dict__[method] for cls, method, _ in BUGS[name]] == before


def test_a_bug_is_taken_out_after_an_error_too() -> None:
    before = Attempts.valid
    with pytest.raises(RuntimeError), planted("basis ignored"):
        raise RuntimeError
    assert Attempts.valid is before
