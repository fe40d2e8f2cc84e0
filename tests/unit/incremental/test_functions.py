"""What of a graph counts in a function that brings it along."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pypelinin.incremental as ppg
from pypelinin.incremental import state
from pypelinin.incremental.functions import as_seen, function_tags


def closing_over(value: Any) -> Callable[[], Any]:
    return lambda: value


def test_a_job_counts_by_its_id(ppg_here: ppg.PyPipeGraph) -> None:
    first, other = (ppg.ParameterInvariant(name, 1) for name in ("a", "b"))
    before = function_tags(closing_over(first))
    assert function_tags(closing_over(other)) != before
    ppg.new(dir_config=".state", log_address=None)
    again = ppg.ParameterInvariant("a", 2)
    assert function_tags(closing_over(again)) == before


def test_what_was_loaded_into_an_object_does_not_count(ppg_here: ppg.PyPipeGraph) -> None:
    place: dict[str, int] = {"kept": 1}
    state.loads_into(place, "loaded")
    before = function_tags(closing_over(place))
    place["loaded"] = 2
    assert function_tags(closing_over(place)) == before
    assert as_seen(place) == ("dict", {"kept": 1})
    place["kept"] = 3
    assert function_tags(closing_over(place)) != before
