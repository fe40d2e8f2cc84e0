"""Boxes and curves."""

from __future__ import annotations

import xml.etree.ElementTree

import pytest

from pypelinin.graph.svg import Box, svg_of

SPACE = "{http://www.w3.org/2000/svg}"


def test_boxes_stand_in_columns_and_curves_join_them() -> None:
    boxes = [Box("a", "A & B", "first", "#fff"), Box("b", "B", "<second>", "#eee", dashed=True),
             Box("c", "C", "third", "#ddd", round=True)]  # fmt: skip
    root = xml.etree.ElementTree.fromstring(svg_of(boxes, [("a", "b"), ("a", "c")]))
    rects = list(root.iter(f"{SPACE}rect"))
    left = [float(rect.get("x", "")) for rect in rects]
    assert left[0] < left[1] == left[2]
    assert [rect.get("fill") for rect in rects] == ["#fff", "#eee", "#ddd"]
    assert [rect.get("stroke-dasharray") is not None for rect in rects] == [False, True, False]
    assert [one.text for one in root.iter(f"{SPACE}text")] == ["A & B", "B", "C"]
    assert [one.text for one in root.iter(f"{SPACE}title")] == ["first", "<second>", "third"]
    assert len(list(root.iter(f"{SPACE}path"))) == 2


def test_characters_that_xml_does_not_have() -> None:
    box = Box("a", "\0a\x1b", "\udcff\uffffb", "#fff")
    root = xml.etree.ElementTree.fromstring(svg_of([box], []))
    assert [one.text for one in root.iter(f"{SPACE}text")] == ["\ufffda\ufffd"]
    assert [one.text for one in root.iter(f"{SPACE}title")] == ["\ufffd\ufffdb"]


def test_nothing_and_cycles() -> None:
    assert svg_of([], []).startswith("<svg")
    boxes = [Box(name, name, name, "#fff") for name in "ab"]
    with pytest.raises(ValueError, match="cycle"):
        svg_of(boxes, [("a", "b"), ("b", "a")])
