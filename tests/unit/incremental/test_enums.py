"""The words for kinds, ends and ways."""

from __future__ import annotations

import pytest

from pypelinin.incremental.enums import JobOutcome, RunMode


def test_only_what_ran_or_rested_is_good() -> None:
    assert {one for one in JobOutcome if one.is_good} == {JobOutcome.Success, JobOutcome.Skipped}


@pytest.mark.parametrize(
    ("mode", "is_strict", "is_interactive"),
    [
        (RunMode.CONSOLE, True, True),
        (RunMode.NOTEBOOK, False, False),
        (RunMode.NONINTERACTIVE, True, False),
        (RunMode.CONSOLE_INTERACTIVE, False, True),
    ],
)
def test_a_mode_says_who_sits_there(mode: RunMode, is_strict: bool, is_interactive: bool) -> None:
    assert mode.is_strict() is is_strict
    assert mode.is_interactive() is is_interactive
