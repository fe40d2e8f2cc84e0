"""A graph as an SVG picture: boxes in columns, curves between them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from pypelinin.graph.layers import Layers

_NO_XML = re.compile("[\\0-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff\\ufffe\\uffff]")
CHARACTER, HEIGHT, GAP_X, GAP_Y, MARGIN = 6.2, 20, 60, 12, 10


class Box(NamedTuple):
    """A node: what it is called among the edges, its text, what is shown when one points at it."""

    node: str
    label: str
    title: str
    colour: str
    dashed: bool = False
    round: bool = False


def svg_of(boxes: Sequence[Box], edges: Sequence[tuple[str, str]]) -> str:
    """The picture. Raises ValueError if *edges* (from, to) form a cycle."""
    by_node = {box.node: box for box in boxes}
    places: dict[str, tuple[float, float, float]] = {}
    x, height = float(MARGIN), 0.0
    for layer in Layers(by_node, edges).ordered():
        width = max(len(by_node[node].label) for node in layer) * CHARACTER + 12
        for row, node in enumerate(layer):
            places[node] = (x, MARGIN + row * (HEIGHT + GAP_Y), width)
        height = max(height, len(layer) * (HEIGHT + GAP_Y))
        x += width + GAP_X
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(x - GAP_X, 0) + MARGIN:.0f}" '
        f'height="{height + 2 * MARGIN:.0f}" font-family="sans-serif" font-size="10">'
    ]
    for up, down in edges:
        (ux, uy, width), (end, jy, _) = places[up], places[down]
        start, half = ux + width, HEIGHT / 2
        middle = (start + end) / 2
        lines.append(
            f'<path d="M{start:.0f} {uy + half:.0f} C{middle:.0f} {uy + half:.0f} {middle:.0f} '
            f'{jy + half:.0f} {end:.0f} {jy + half:.0f}" fill="none" stroke="#888"/>'
        )
    lines += (_drawn(box, *places[box.node]) for box in boxes)
    return "\n".join([*lines, "</svg>", ""])


def _drawn(box: Box, left: float, top: float, width: float) -> str:
    dashed = ' stroke-dasharray="4 2"' if box.dashed else ""
    round_ = HEIGHT // 2 if box.round else 3
    return (
        f'<g><title>{_text(box.title)}</title><rect x="{left:.0f}" y="{top:.0f}" '
        f'width="{width:.0f}" height="{HEIGHT}" rx="{round_}" fill="{box.colour}" '
        f'stroke="#444"{dashed}/><text x="{left + 6:.0f}" y="{top + 14:.0f}">'
        f"{_text(box.label)}</text></g>"
    )


def _text(value: str) -> str:
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", value))


__all__ = ["Box", "svg_of"]
