"""Who is told of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental.audience import audience_of
from pypelinin.incremental.events import Events
from pypelinin.incremental.interrupting import Interrupting


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    ppg.change_global_pipegraph(None)


def test_signals_are_given_back_last() -> None:
    """Until all is told, Ctrl-C must not tear the telling apart."""
    assert isinstance(audience_of(ppg.new(dir_config=".ppg"))[-1], Interrupting)


def test_events_are_pushed_only_if_that_was_asked_for() -> None:
    graph = ppg.new(dir_config=".ppg", push_events=False)
    assert not any(isinstance(one, Events) for one in audience_of(graph))
    graph = ppg.new(dir_config=".ppg", push_events=True)
    assert any(isinstance(one, Events) for one in audience_of(graph))


def test_a_graph_is_watched_by_them() -> None:
    graph = ppg.new(dir_config=".ppg", push_events=False)
    assert [type(one) for one in graph.watchers()] == [type(one) for one in audience_of(graph)]
