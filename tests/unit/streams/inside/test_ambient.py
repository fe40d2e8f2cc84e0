"""What functions may ask of the stream in which they run."""

from __future__ import annotations

import pytest

from pypelinin.streams.inside import ambient


def test_outside_of_a_stream_nobody_knows_the_slots() -> None:
    with pytest.raises(RuntimeError, match="while it runs"):
        ambient.getCpuCount()


def test_the_innermost_stream_answers() -> None:
    with ambient.stream(4):
        with ambient.stream(2):
            assert ambient.getCpuCount() == 2
        assert ambient.getCpuCount() == 4


def test_a_stream_that_raised_is_over() -> None:
    with pytest.raises(KeyError), ambient.stream(4):
        raise KeyError
    with pytest.raises(RuntimeError):
        ambient.getCpuCount()


def test_a_script_runs_once() -> None:
    assert ambient.getRank() == 0


def test_who_is_inside_knows_it() -> None:
    assert not ambient.is_inside()
    with ambient.stream(1):
        assert ambient.is_inside()
