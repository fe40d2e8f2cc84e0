"""The graph that is current."""

from __future__ import annotations

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import state


def test_the_last_graph_is_the_current_one(ppg_here: ppg.PyPipeGraph) -> None:
    assert state.current() is ppg_here
    newer = ppg.new()
    assert state.current() is newer
    state.change(ppg_here)
    assert state.current() is ppg_here


def test_what_is_loaded_into_a_place_is_no_part_of_it(ppg_here: ppg.PyPipeGraph) -> None:
    table = {"a": 1, "b": 2}
    assert state.without_loaded(table) is table
    state.loads_into(table, "b")
    assert state.without_loaded(table) == ("dict", {"a": 1})
    assert state.without_loaded({"a": 1, "b": 2}) == {"a": 1, "b": 2}
    ppg.new()
    assert state.without_loaded(table) is table


def test_without_a_graph_it_is_said_what_to_do(ppg_here: ppg.PyPipeGraph) -> None:
    state.change(None)
    with pytest.raises(ValueError, match=r"call new\(\)"):
        state.current()
