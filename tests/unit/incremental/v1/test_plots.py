"""Plots of version 1: one object, and what is said to it goes to the right job."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


class Plot:
    """Anything that can render itself is a plot."""

    def __init__(self, text: str) -> None:
        self.text = text

    def render(self, name: str, **_options: Any) -> None:
        Path(name).write_text(self.text)


def calculated() -> str:
    with Path("calculated").open("a") as file:
        file.write("x")
    return "data"


def plot(ppg: ModuleType, **options: Any) -> Any:
    return ppg.PlotJob("out/plot.png", calculated, Plot, skip_table=True, **options)


def test_a_plot_is_drawn_and_its_data_kept(ppg: ModuleType, again: Any) -> None:
    def define(text: str) -> None:
        def draw(data: str) -> Plot:
            return Plot(data + text)

        made = ppg.PlotJob("out/plot.png", calculated, draw, skip_table=True)
        assert made.job_id == "out/plot.png"

    again(lambda: define("one"))
    again(lambda: define("two"))
    assert Path("out/plot.png").read_text() == "datatwo"
    assert Path("calculated").read_text() == "x"
    assert Path("cache/out/plot.png").exists()


def test_without_a_cache_it_calculates_itself(ppg: ModuleType) -> None:
    made = plot(ppg, skip_caching=True)
    assert made.cache_job is made.plot_job
    source = ppg.FileGeneratingJob("source", lambda: Path("source").write_text("s"))
    assert made.depends_on(source) is made
    assert source in made.plot_job.upstreams
    ppg.run_pipegraph()
    assert Path("out/plot.png").read_text() == "data"
    assert not Path("cache").exists()


def test_what_is_said_of_the_data_goes_to_its_job(ppg: ModuleType) -> None:
    made = plot(ppg).use_cores(2)
    source = ppg.FileGeneratingJob("source", lambda: Path("source").write_text("s"))
    made.depends_on(source)
    assert source in made.cache_job.upstreams
    assert source not in made.plot_job.upstreams
    assert made.cache_job.resources.cores == 2
    with pytest.raises(ValueError):
        made.depends_on("no such output")


def test_others_depend_on_the_plot(ppg: ModuleType) -> None:
    made = plot(ppg)
    page = ppg.FileGeneratingJob("page", lambda: Path("page").write_text("p")).depends_on(made)
    assert made.plot_job in page.prerequisites
    assert list(made + page) == [made.plot_job, page]
    assert list([page] + made) == [page, made.plot_job]  # noqa: RUF005 - as it is tried
    made.prune()
    ppg.run_pipegraph()
    assert not Path("page").exists()
    assert not Path("calculated").exists()


def test_a_pruned_plot_can_be_taken_in_again(ppg: ModuleType) -> None:
    made = plot(ppg)
    made.prune()
    made.unprune()
    ppg.run_pipegraph()
    assert Path("out/plot.png").exists()


def test_a_fiddle_changes_the_plot(ppg: ModuleType) -> None:
    def fiddle(shown: Plot) -> None:
        shown.text += " fiddled"

    plot(ppg).add_fiddle(fiddle)
    ppg.run_pipegraph()
    assert Path("out/plot.png").read_text() == "data fiddled"


def test_another_plot_shows_the_same_data(ppg: ModuleType) -> None:
    prefix = "other "
    plot(ppg).add_another_plot("out/other.png", lambda data: Plot(prefix + data))
    ppg.run_pipegraph()
    assert Path("out/other.png").read_text() == "other data"
    assert Path("calculated").read_text() == "x"


def test_what_cannot_be_drawn_is_refused(ppg: ModuleType) -> None:
    with pytest.raises(ValueError, match="png"):
        ppg.PlotJob("out/plot.txt", calculated, Plot, skip_table=True)
    with pytest.raises(ValueError):
        ppg.CombinedPlotJob("out/both.png", [3], None)


@pytest.mark.needs_all
def test_plots_are_combined_and_written_as_tables(ppg: ModuleType) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: 'pypelinin[plots]'")

    def draw(data: Any) -> Plot:
        return Plot(repr(sorted(data["a"])))

    plots = [
        ppg.PlotJob(f"out/{n}.png", lambda n=n: pandas.DataFrame({"a": [n]}), draw)
        for n in range(2)
    ]
    ppg.CombinedPlotJob("out/both.png", plots, None)
    assert len(list(plots[0])) == 2
    ppg.run_pipegraph()
    assert Path("out/both.png").read_text() == "[0, 1]"
    assert Path("out/0.png.tsv").exists()
