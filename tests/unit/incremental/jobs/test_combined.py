"""One plot of the data of several."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg


class Rows(list[Any]):
    """Stands for a DataFrame."""


class Drawing:
    """A plot that is written as text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def facet_wrap(self, *given: Any, **named: Any) -> None:
        self.text += f", facets {given} {named}"

    def save(self, name: str, **options: Any) -> None:
        Path(name).write_text(f"{self.text} {options}")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    pandas: Any = types.ModuleType("pandas")
    pandas.DataFrame = Rows
    pandas.concat = lambda tables: Rows(chain(*tables))
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    begin()
    yield
    ppg.change_global_pipegraph(None)


def begin() -> ppg.PyPipeGraph:
    return ppg.new(
        cores=1, run_mode=ppg.RunMode.NONINTERACTIVE, dir_config=".ppg", log_level=ppg.default,
        allow_short_filenames=True, log_retention=ppg.default,
        prevent_absolute_paths=ppg.default, push_events=ppg.default, log_address=None,
    )  # fmt: skip


def draw(data: Any) -> Drawing:
    return Drawing(f"drawing of {data}")


def single(name: str, value: Any, is_cached: bool = True) -> ppg.PlotJobTuple:
    return ppg.PlotJob(
        name, lambda value=value: Rows([value]), draw, cache_calc=is_cached, create_table=False
    )


def ended() -> dict[str, str]:
    """How each job ended, but for invariants."""
    found = ppg.run()
    return {
        name: one.outcome.name for name, one in found.items() if name[:2] not in ("FI", "PI")
    }  # fmt: skip


@pytest.mark.parametrize("is_cached", [True, False])
def test_the_data_of_several_plots_is_drawn_as_the_first_of_them(is_cached: bool) -> None:
    one, two = single("a.png", 1, is_cached), single("b.png", 2, is_cached)
    job = ppg.CombinedPlotJob("both.png", [one, two.plot], ["kind"], {"width": 3})
    ended()
    expected = "drawing of [1, 2], facets ('kind',) {} {'width': 3}"
    assert Path("both.png").read_text() == expected
    assert job().text == "drawing of [1, 2], facets ('kind',) {}"


@pytest.mark.parametrize("is_cached", [True, False])
def test_it_is_drawn_again_if_one_of_them_changes(is_cached: bool) -> None:
    for value, expected in ((2, "Success"), (2, "Skipped"), (3, "Success")):
        begin()
        jobs = [single("a.png", 1, is_cached), single("b.png", value, is_cached)]
        ppg.CombinedPlotJob("both.png", jobs, {"facets": "kind"})
        assert ended()["both.png"] == expected
    assert Path("both.png").read_text() == "drawing of [1, 3], facets () {'facets': 'kind'} {}"


@pytest.mark.parametrize("change", ["facets", "order", "fiddle"])
def test_it_is_drawn_again_if_it_is_combined_in_another_way(change: str) -> None:
    for i in range(2):
        begin()
        jobs = [single("a.png", 1), single("b.png", 2)]
        if i and change == "order":
            jobs.reverse()
        ppg.CombinedPlotJob(
            "both.png", jobs, ["other" if i and change == "facets" else "kind"],
            fiddle=(lambda plot: Drawing("fiddled")) if i and change == "fiddle" else None,
        )  # fmt: skip
        found = ended()
    assert found.pop("both.png") == "Success"
    assert set(found.values()) <= {"Skipped", "Success"}
    assert found["cache/a.png"] == found["a.png"] == "Skipped"
    expected = {"facets": "drawing of [1, 2], facets ('other',) {} {}",
                "order": "drawing of [2, 1], facets ('kind',) {} {}",
                "fiddle": "fiddled {}"}  # fmt: skip
    assert Path("both.png").read_text() == expected[change]


def test_another_plot_of_the_combined_data() -> None:
    job = ppg.CombinedPlotJob("both.png", [single("a.png", 1), single("b.png", 2)])
    job.add_another_plot("other.png", lambda data: Drawing(f"other {data}"))
    ended()
    assert Path("other.png").read_text() == "other [1, 2] {}"


def test_what_cannot_be_combined_is_refused() -> None:
    one = single("a.png", 1)
    with pytest.raises(TypeError, match="combines PlotJobs, not"):
        ppg.CombinedPlotJob("both.png", [one, "b.png"])
    with pytest.raises(ValueError, match="one plot at least"):
        ppg.CombinedPlotJob("both.png", [])
    with pytest.raises(TypeError, match="list or a dict"):
        ppg.CombinedPlotJob("both.png", [one], "kind")
    assert "both.png" not in ppg.global_pipegraph.jobs


def test_data_that_is_no_table_is_named() -> None:
    other = ppg.PlotJob("b.png", lambda: {"x": 5}, draw, create_table=False)
    ppg.CombinedPlotJob("both.png", [single("a.png", 1), other])
    with pytest.raises(ppg.JobsFailed) as failed:
        ppg.run(print_failures=False)
    (error,) = failed.value.exceptions
    assert isinstance(error.exception, ppg.JobContractError)
    assert "'b.png'" in str(error)
    assert "dict" in str(error)


@pytest.mark.needs_all
def test_real_plots_are_combined(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pandas")
    monkeypatch.setenv("MPLBACKEND", "Agg")

    def calc(kind: str) -> Any:
        import pandas

        return pandas.DataFrame({"x": [1, 2], "y": [3, 4], "kind": kind})

    def ggplot(data: Any) -> Any:
        import plotnine

        return plotnine.ggplot(data, plotnine.aes("x", "y")) + plotnine.geom_point()

    jobs = [
        ppg.PlotJob(f"{kind}.png", lambda kind=kind: calc(kind), ggplot, {"dpi": 40})
        for kind in "ab"
    ]  # fmt: skip
    job = ppg.CombinedPlotJob("both.png", jobs, ["kind"], {"dpi": 40})
    plot = job()
    assert Path("both.png").read_bytes().startswith(b"\x89PNG")
    assert list(plot.data["kind"]) == ["a", "a", "b", "b"]
    assert not Path("a.png").exists()
