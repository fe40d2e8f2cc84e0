"""How much of a run travels inline."""

from __future__ import annotations

from pypelinin.cluster.inline import RUN_BYTES_MAX, SMALL_BYTES_MAX, Inline
from pypelinin.wire.definitions import INLINE_BYTES_MAX


def test_a_run_with_many_results_keeps_only_small_ones_inline() -> None:
    inline = Inline()
    assert inline.most([1, 2]) == INLINE_BYTES_MAX
    inline.took([1, 2, 1], [b"x" * RUN_BYTES_MAX, b"", b"y"])
    assert inline.most([1]) == inline.most([2, 1]) == SMALL_BYTES_MAX
    assert inline.most([2]) == INLINE_BYTES_MAX


def test_runs_that_are_over_are_forgotten() -> None:
    inline = Inline()
    inline.took([1, 2], [b"x" * RUN_BYTES_MAX, b"x" * RUN_BYTES_MAX])
    inline.keep({2: "open"})
    assert inline.most([1]) == INLINE_BYTES_MAX
    assert inline.most([2]) == SMALL_BYTES_MAX
