"""Columns and rows of a drawn graph."""

from __future__ import annotations

import pytest

from pypelinin.graph.layers import Layers


def test_a_node_stands_right_of_all_before_it() -> None:
    layers = Layers("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")]).ordered()
    assert layers == [["a"], ["b"], ["c"], ["d"]]


def test_what_nothing_stands_before_moves_to_its_reader() -> None:
    layers = Layers("abcx", [("a", "b"), ("b", "c"), ("x", "c")]).ordered()
    assert [sorted(layer) for layer in layers] == [["a"], ["b", "x"], ["c"]]


def test_rows_follow_the_neighbours_so_that_edges_do_not_cross() -> None:
    layers = Layers(["a", "b", "y", "x"], [("a", "x"), ("b", "y")]).ordered()
    assert layers == [["a", "b"], ["x", "y"]]


def test_a_graph_of_nothing_and_of_single_nodes() -> None:
    assert Layers([], []).ordered() == []
    assert Layers("ab", []).ordered() == [["a", "b"]]


@pytest.mark.parametrize("edges", [[("a", "b"), ("b", "a")], [("c", "a"), ("a", "b"), ("b", "a")]])
def test_a_cycle_has_no_layers(edges: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="cycle"):
        Layers("abc", edges).ordered()
