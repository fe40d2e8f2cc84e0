"""What `sweep` refuses before anything runs; tests/integration/streams has whole sweeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.streams import baked


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: baked.sweep({"id": [1]}),
        lambda: baked.sweep({}, trials=2, trialsParms={"min": 1}),
        lambda: baked.sweep([{"a": 1}, {}]),
        lambda: baked.sweep({}, output="/no/such/place/table.csv"),
    ],
)
def test_what_makes_no_sense_is_told_at_once(wrong: Callable[[], Any]) -> None:
    with pytest.raises(DefinitionError), wrong():
        raise AssertionError("the block was entered")


def test_nothing_runs_if_the_block_raises(capsys: pytest.CaptureFixture[str]) -> None:
    def stopped() -> None:
        with baked.sweep({"a": [1]}) as w:
            w.job(print)
            raise KeyError

    with pytest.raises(KeyError):
        stopped()
    assert capsys.readouterr() == ("", "")


def test_a_frame_that_the_block_left_open_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def mine(store: object, first: object) -> None: ...

    def left() -> None:
        with baked.sweep({"a": [1]}) as w:
            w.frame(mine)
            w.job(print)

    with pytest.raises(DefinitionError, match="The frame mine is never closed"):
        left()
    assert capsys.readouterr() == ("", "")
