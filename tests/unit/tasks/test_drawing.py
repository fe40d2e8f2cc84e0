"""Pictures, and the graph for networkx."""

from __future__ import annotations

import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Any

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.tasks import Pipeline, Task, drawing, task


@task("N")
def node(data: Any) -> None: ...


def diamond() -> Pipeline:
    top, left, right, end = (node(name) for name in ("top", "left", "<right>", "end"))
    end([left(top), right(top)])
    left.set_status(Task.Status.FAILURE)
    return Pipeline("p", [top])


def test_an_svg_has_all_names_in_the_colour_of_their_status(tmp_path: Path) -> None:
    path = tmp_path / "p.svg"
    diamond().plot_graph(str(path))
    root = xml.etree.ElementTree.fromstring(path.read_text())
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sorted(map(str, texts)) == ["N(<right>)", "N(end)", "N(left)", "N(top)"]
    fills = [one.get("fill") for one in root.iter("{http://www.w3.org/2000/svg}rect")]
    assert fills.count(drawing.COLOURS[Task.Status.FAILURE]) == 1
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == 4


def test_of_too_many_tasks_there_is_only_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "DRAWN_MAX", 3)
    assert ">4 tasks<" in drawing.svg(diamond().tasks)


def test_a_png_needs_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.png"
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "matplotlib", None)
        missing.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ModuleNotFoundError, match=r"pypelinin\[tasks\]"):
            diamond().plot_graph(str(path))
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: 'pypelinin[tasks]'")
    diamond().plot_graph(str(path))
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_graph_needs_networkx(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as missing:
        missing.setitem(sys.modules, "networkx", None)
        with pytest.raises(ModuleNotFoundError, match=r"create_graph\(\) needs networkx"):
            diamond().create_graph()
    pytest.importorskip("networkx", reason="networkx is not installed: 'pypelinin[tasks]'")
    graph = diamond().create_graph()
    assert [one.name for one in graph] == ["N(top)", "N(left)", "N(<right>)", "N(end)"]
    assert graph.number_of_edges() == 4


def test_other_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"\.svg or \.png"):
        diamond().plot_graph(str(tmp_path / "p.gif"))


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    Pipeline("p", [node("$x_{$")]).plot_graph(str(tmp_path / "p.png"))
    assert (tmp_path / "p.png").stat().st_size > 0
