"""How plots and tables get into files."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from pypelinin.incremental.exceptions import JobContractError
from pypelinin.incremental.jobs import drawing


class Plot:
    """Says how it was asked to write itself."""

    def __init__(self, *ways: str) -> None:
        for way in ways:
            setattr(self, way, lambda name, way=way, **given: Path(name).write_text(
                f"{way} {given}"))  # fmt: skip


class Chatty:
    def save(self, name: str, verbose: bool = True) -> None:
        Path(name).write_text(f"verbose={verbose}")


class Table:
    def to_csv(self, file: Any, sep: str) -> None:
        file.write(f"a{sep}b\n")


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pandas whose DataFrame is our Table."""
    pandas: Any = types.ModuleType("pandas")
    pandas.DataFrame = Table
    monkeypatch.setitem(sys.modules, "pandas", pandas)


@pytest.mark.parametrize("way", ["render", "save", "savefig"])
def test_a_plot_writes_itself_in_its_own_way(way: str, tmp_path: Path) -> None:
    name = str(tmp_path / "plot.png")
    drawing.save_plot(Plot(way), name, {"dpi": 3}, "job")
    assert Path(name).read_text() == f"{way} {{'dpi': 3}}"


def test_of_several_ways_the_first_is_taken(tmp_path: Path) -> None:
    name = str(tmp_path / "plot.png")
    drawing.save_plot(Plot("savefig", "save", "render"), name, {}, "job")
    assert Path(name).read_text().startswith("render")


def test_a_plot_that_talks_is_asked_not_to(tmp_path: Path) -> None:
    name = str(tmp_path / "plot.png")
    drawing.save_plot(Chatty(), name, {}, "job")
    assert Path(name).read_text() == "verbose=False"
    drawing.save_plot(Chatty(), name, {"verbose": True}, "job")
    assert Path(name).read_text() == "verbose=True"


@pytest.mark.parametrize("plot", [None, 5, types.SimpleNamespace(save=5)])
def test_what_cannot_write_itself_is_no_plot(plot: Any) -> None:
    assert drawing.way_of(plot) is None
    with pytest.raises(JobContractError, match=r"job: .* no plot.*render, save nor savefig"):
        drawing.save_plot(plot, "plot.png", {}, "job")


def test_without_pandas_nothing_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pandas", raising=False)
    assert not drawing.is_table(Table())
    assert "pandas" not in sys.modules


@pytest.mark.usefixtures("tables")
def test_a_table_is_written_with_tabs(tmp_path: Path) -> None:
    drawing.write_tables(Table(), str(tmp_path / "table"), "job")
    assert (tmp_path / "table").read_text() == "a\tb\n"


@pytest.mark.usefixtures("tables")
def test_of_several_tables_each_has_its_title(tmp_path: Path) -> None:
    drawing.write_tables({"x": Table(), 2: Table()}, str(tmp_path / "table"), "job")
    assert (tmp_path / "table").read_text() == "#x\na\tb\n#2\na\tb\n"


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize(
    ("value", "found"), [([1], "list"), ({"x": Table, "y": 5}, "dict of int, type")]
)
def test_what_is_no_table_is_named_and_nothing_is_written(
    value: Any, found: str, tmp_path: Path
) -> None:
    with pytest.raises(JobContractError, match=rf"job: .* a {found}\. .*create_table=False"):
        drawing.write_tables(value, str(tmp_path / "table"), "job")
    assert not (tmp_path / "table").exists()


class Faceted:
    def __init__(self) -> None:
        self.given: Any = None

    def facet_wrap(self, *by_place: Any, **by_name: Any) -> None:
        self.given = by_place, by_name


@pytest.mark.parametrize(
    ("arguments", "given"),
    [(["a", "b"], (("a", "b"), {})), ({"facets": "a"}, ((), {"facets": "a"})), (None, None)],
)
def test_facets_are_given_by_place_or_by_name(arguments: Any, given: Any) -> None:
    plot = drawing.faceted(Faceted(), arguments)
    assert plot.given == given


def test_facets_of_other_plots_are_plotnines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Sum:
        def __add__(self, other: Any) -> Any:
            return "plot", other

    plotnine: Any = types.ModuleType("plotnine")
    plotnine.facet_wrap = lambda *given, **named: (given, named)
    monkeypatch.setitem(sys.modules, "plotnine", plotnine)
    assert drawing.faceted(Sum(), ["a"]) == ("plot", (("a",), {}))
    monkeypatch.setitem(sys.modules, "plotnine", None)
    with pytest.raises(ModuleNotFoundError, match=r"pypelinin\[plots\]"):
        drawing.faceted(Sum(), ["a"])


@pytest.mark.needs_all
def test_a_figure_of_pyplot_is_closed_when_it_is_written(tmp_path: Path) -> None:
    assert importlib.util.find_spec("matplotlib")
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, _ = pyplot.subplots()
    assert pyplot.get_fignums()
    drawing.save_plot(figure, str(tmp_path / "plot.png"), {"dpi": 40}, "job")
    assert pyplot.get_fignums() == []
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
