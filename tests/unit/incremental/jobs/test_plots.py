"""PlotJob: what is calculated, drawn and written, and what a change of each costs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pypelinin.incremental as ppg
from pypelinin.incremental import extras
from pypelinin.incremental.history import History


class Drawing:
    """A plot that is written as text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def save(self, name: str, **options: Any) -> None:
        Path(name).write_text(f"{self.text} {options}")


class Wrapped:
    """Has the plot inside."""

    def __init__(self, plot: Any) -> None:
        self.pd = plot


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    begin()
    yield
    ppg.change_global_pipegraph(None)


def begin(run_mode: ppg.RunMode = ppg.RunMode.NONINTERACTIVE) -> ppg.PyPipeGraph:
    return ppg.new(
        cores=1, run_mode=run_mode, dir_config=".ppg", log_level=ppg.default,
        allow_short_filenames=True, log_retention=ppg.default,
        prevent_absolute_paths=ppg.default, push_events=ppg.default, log_address=None,
    )  # fmt: skip


def calc() -> list[int]:
    with open("log", "a") as log:
        log.write("calculated\n")
    return [1, 2, 3]


def draw(data: Any) -> Drawing:
    return Drawing(f"drawing of {data}")


def draw_otherwise(data: Any) -> Drawing:
    return Drawing(f"other drawing of {data}")


def plain(calc_function: Any = calc, plot_function: Any = draw, **options: Any) -> Any:
    """A plot without a table, for which no pandas is needed."""
    return ppg.PlotJob("a.png", calc_function, plot_function, create_table=False, **options)


def ended() -> dict[str, str]:
    """How each job ended, but for invariants."""
    found = ppg.run()
    return {
        name: one.outcome.name for name, one in found.items() if name[:2] not in ("FI", "PI")
    }  # fmt: skip


def calculations() -> int:
    return len(Path("log").read_text().splitlines())


def reason() -> Any:
    """What the one job that fails raises."""
    with pytest.raises(ppg.JobsFailed) as failed:
        ppg.run(print_failures=False)
    (error,) = failed.value.exceptions
    return error.exception


# --- the jobs of a plot -------------------------------------------------------------------------


def test_a_plot_is_calculated_kept_and_drawn() -> None:
    plot, cache, table = plain(render_args={"width": 3})
    assert (plot.job_id, table) == ("a.png", None)
    assert (cache.load.job_id, cache.calc.job_id) == ("load_cache/a.png", "cache/a.png")
    assert set(ended().values()) == {"Success"}
    assert Path("a.png").read_text() == "drawing of [1, 2, 3] {'width': 3}"
    assert Path("cache/a.png").exists()


def test_an_unchanged_plot_rests() -> None:
    for _ in range(2):
        begin()
        plain()
        found = ended()
    assert set(found.values()) == {"Skipped"}


def test_another_drawing_does_not_calculate_again() -> None:
    for function in (draw, draw_otherwise):
        begin()
        plain(plot_function=function)
        found = ended()
    assert found["cache/a.png"] == "Skipped"
    assert Path("a.png").read_text().startswith("other drawing of [1, 2, 3]")
    assert calculations() == 1


def test_another_calculation_of_the_same_does_not_draw_again() -> None:
    for function in (calc, lambda: [1, 2, 3]):
        begin()
        plain(function)
        found = ended()
    assert found == {"cache/a.png": "Success", "load_cache/a.png": "Skipped", "a.png": "Skipped"}


def test_other_data_is_drawn() -> None:
    for function in (calc, lambda: [4]):
        begin()
        plain(function)
        ended()
    assert Path("a.png").read_text() == "drawing of [4] {}"


def test_other_render_args_draw_again() -> None:
    for width in (3, 4):
        begin()
        plain(render_args={"width": width})
        found = ended()
    assert found["a.png"] == "Success"
    assert Path("a.png").read_text().endswith("{'width': 4}")
    assert calculations() == 1


def test_code_is_not_followed_if_that_is_not_wanted() -> None:
    for functions in ((calc, draw), (lambda: [4], draw_otherwise)):
        begin()
        plain(*functions, depend_on_function=False)
        found = ended()
    assert set(found.values()) == {"Skipped"}


def test_without_a_cache_the_plot_follows_both_functions() -> None:
    for functions in ((calc, draw), (calc, draw_otherwise), (lambda: [4], draw_otherwise)):
        begin()
        assert plain(*functions, cache_calc=False) == (plain(*functions, cache_calc=False).plot,
                                                       None, None)  # fmt: skip
        assert ended() == {"a.png": "Success"}
    assert Path("a.png").read_text() == "other drawing of [4] {}"
    assert calculations() == 2


def test_what_the_data_is_made_from_goes_to_the_calculation() -> None:
    for text in ("one", "two"):
        begin()
        Path("input").write_text(text)
        plain(lambda: Path("input").read_text()).cache.calc.depends_on_file("input")
        ended()
    assert Path("a.png").read_text() == "drawing of two {}"


def test_the_cache_lies_where_it_is_wanted() -> None:
    assert plain(cache_dir="kept/here").cache.calc.job_id == "kept/here/a.png"


def test_a_path_outside_of_the_project_is_cached_within(tmp_path: Path) -> None:
    ppg.new(dir_config=".ppg", prevent_absolute_paths=False)
    name = str(tmp_path / "b.png")
    made = ppg.PlotJob(name, calc, draw, create_table=False)
    assert made.plot.job_id == name
    assert made.cache.calc.job_id == f"cache{name}"


def test_a_plot_may_be_wrapped() -> None:
    plain(plot_function=lambda data: Wrapped(Drawing("inner")))
    ended()
    assert Path("a.png").read_text() == "inner {}"


# --- being asked for the plot -------------------------------------------------------------------


@pytest.mark.parametrize("is_cached", [True, False])
def test_a_plot_job_that_is_called_gives_the_plot(is_cached: bool) -> None:
    ppg.FileGeneratingJob("other", lambda path: path.write_text("x"))
    made = plain(cache_calc=is_cached)
    before = dict(ppg.global_pipegraph.jobs)
    for ask in (made.plot, made):
        shown = ask()
        assert isinstance(shown, Drawing)
        assert shown.text == "drawing of [1, 2, 3]"
    assert Path("a.png").exists()
    assert not Path("other").exists()
    assert ppg.global_pipegraph.jobs == before
    assert set(ppg.global_pipegraph.last_run_result) <= set(before)
    assert ended()["a.png"] == "Skipped"


def test_the_plot_is_made_where_all_that_it_reads_is_loaded() -> None:
    class Here:
        title: str

    def draw(data: Any) -> Drawing:
        return Drawing(f"{Here.title}, {Path('temp').read_text()}, {data}")

    title = ppg.AttributeLoadingJob("title", Here, "title", lambda: "title")
    temp = ppg.TempFileGeneratingJob("temp", lambda path: path.write_text("temp"))
    plot = plain(plot_function=draw).plot
    plot.depends_on(title, lambda: temp)
    assert plot().text == plot().text == "title, temp, [1, 2, 3]"
    assert not hasattr(Here, "title")
    assert not Path("temp").exists()


def test_a_plot_that_fails_leaves_no_trace_in_the_graph() -> None:
    made = plain(plot_function=lambda data: 1 / 0)
    before = set(ppg.global_pipegraph.jobs)
    for _ in range(2):
        with pytest.raises(ppg.JobsFailed):
            made.plot()
        assert set(ppg.global_pipegraph.jobs) == before
        assert not ppg.global_pipegraph.later


def test_a_plot_can_be_asked_for_again_when_the_project_is_free() -> None:
    made = plain()
    other = History(ppg.global_pipegraph.get_history_filename())
    with pytest.raises(ppg.ProjectLocked):
        made.plot()
    other.close()
    assert ended()["a.png"] == "Success"
    assert made.plot().text == "drawing of [1, 2, 3]"


# --- more of the same data ----------------------------------------------------------------------


@pytest.mark.parametrize("is_cached", [True, False])
def test_another_plot_shows_the_same_data(is_cached: bool) -> None:
    first = plain(cache_calc=is_cached).plot
    second = first.add_another_plot("b.png", draw_otherwise, {"height": 2})
    assert second.add_another_plot("c.png", draw).source is first
    ended()
    assert Path("b.png").read_text() == "other drawing of [1, 2, 3] {'height': 2}"
    assert Path("c.png").read_text() == "drawing of [1, 2, 3] {}"
    assert calculations() == (1 if is_cached else 3)


def test_another_plot_follows_other_data() -> None:
    for is_cached in (True, False):
        for value in (1, 2):
            begin()
            plot = plain(lambda value=value: value, cache_calc=is_cached).plot
            plot.add_another_plot("b.png", draw_otherwise)
            ended()
            assert Path("b.png").read_text() == f"other drawing of {value} {{}}"
        Path("a.png").unlink()


def test_a_cache_that_is_added_later_serves_other_plots_as_well() -> None:
    first = plain(cache_calc=False).plot
    other = first.add_another_plot("b.png", draw_otherwise)
    made = plain()
    assert made.plot is first
    ended()
    assert Path("b.png").read_text() == "other drawing of [1, 2, 3] {}"
    assert calculations() == 1
    assert made.cache.load in other.upstreams


def test_a_fiddle_changes_the_plot_or_gives_another() -> None:
    def change(plot: Any) -> None:
        plot.text += ", changed"

    plot = plain().plot
    assert plot.add_fiddle(change) is plot
    plot.add_fiddle(lambda plot: Drawing(f"{plot.text}, replaced"))
    assert plot().text == "drawing of [1, 2, 3], changed, replaced"
    assert Path("a.png").read_text() == "drawing of [1, 2, 3], changed, replaced {}"


def test_the_same_fiddle_counts_once_and_another_draws_again() -> None:
    def change(plot: Any) -> None:
        plot.text += "!"

    def change_more(plot: Any) -> None:
        plot.text += "!!"

    for fiddle in (change, change, change_more):
        begin()
        for _ in range(2):
            plain().plot.add_fiddle(fiddle)
        found = ended()
    assert found["a.png"] == "Success"
    assert Path("a.png").read_text() == "drawing of [1, 2, 3]!! {}"
    assert calculations() == 1


# --- defined again ------------------------------------------------------------------------------


def test_the_same_plot_is_the_same_jobs() -> None:
    assert plain() == plain()
    with pytest.raises(ppg.JobRedefinitionError):
        plain(plot_function=draw_otherwise)
    with pytest.raises(ppg.JobRedefinitionError):
        plain(calc_function=lambda: [4])
    with pytest.raises(ppg.JobRedefinitionError):
        plain(render_args={"width": 3})


@pytest.mark.parametrize("run_mode", [ppg.RunMode.NONINTERACTIVE, ppg.RunMode.NOTEBOOK])
def test_a_cache_or_table_cannot_be_taken_away(
    run_mode: ppg.RunMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "check", lambda *_: None)
    begin(run_mode)
    ppg.PlotJob("a.png", calc, draw)
    with pytest.raises(ValueError, match=r"with a cache before.*test_plots"):
        ppg.PlotJob("a.png", calc, draw, cache_calc=False)
    with pytest.raises(ValueError, match="with a table before"):
        ppg.PlotJob("a.png", calc, draw, create_table=False)


def test_in_a_notebook_a_plot_is_replaced_and_then_rests() -> None:
    begin(ppg.RunMode.NOTEBOOK)
    plot = plain().plot
    plot.add_fiddle(lambda plot: None)
    ended()
    again = plain(lambda: [4], draw_otherwise, render_args={"width": 3}).plot
    assert again is plot
    assert again().text == "other drawing of [4]"
    assert Path("a.png").read_text() == "other drawing of [4] {'width': 3}"
    names = sorted(job.job_id for job in plot.upstreams)
    assert len(names) == len(set(names)) == 3, names  # its function, render_args, the loader
    assert set(ended().values()) == {"Skipped"}


# --- bad input ----------------------------------------------------------------------------------


def test_arguments_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\.png, \.pdf, \.svg"):
        ppg.PlotJob("a.jpg", calc, draw, create_table=False)
    with pytest.raises(TypeError, match="calculates"):
        plain(5)
    with pytest.raises(TypeError, match="makes a plot"):
        plain(calc, 5)
    with pytest.raises(TypeError, match="render_args is a dict"):
        plain(render_args=5)
    with pytest.raises(TypeError, match=r"render_args of a\.png: parameter\['how'\]"):
        plain(render_args={"how": draw})
    with pytest.raises(TypeError, match="changes a plot"):
        plain().plot.add_fiddle(5)
    assert "a.jpg" not in ppg.global_pipegraph.jobs


def test_nothing_depends_on_all_jobs_of_a_plot_at_once() -> None:
    made = plain()
    job = ppg.FileGeneratingJob("out", lambda path: path.write_text("x"))
    with pytest.raises(TypeError, match=r"depend on its \.plot"):
        job.depends_on(made)
    with pytest.raises(TypeError, match=r"\.cache\.calc"):
        made.depends_on(job)


def test_what_is_no_plot_fails_the_job() -> None:
    plain(plot_function=lambda data: 5)
    error = reason()
    assert isinstance(error, ppg.JobContractError)
    assert "no plot" in str(error)


def test_a_plot_that_is_not_written_fails_the_job() -> None:
    class Lazy:
        def save(self, name: str) -> None:
            pass

    plain(plot_function=lambda data: Lazy())
    assert "did not create" in str(reason())


def test_a_table_without_pandas_is_refused_with_the_extra_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"create_table=True.*pandas.*\[plots\]"):
        ppg.PlotJob("a.png", calc, draw)
    assert ppg.global_pipegraph.jobs == {}
    plain()


def test_data_that_is_no_table_fails_where_it_is_calculated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extras, "check", lambda *_: None)
    ppg.PlotJob("a.png", calc, draw)
    error = reason()
    assert isinstance(error, ppg.JobContractError)
    assert "pandas DataFrame or a dict" in str(error)
    found = ppg.global_pipegraph.last_run_result
    assert found["cache/a.png"].outcome is ppg.JobOutcome.Failed
    assert not Path("cache/a.png").exists()


# --- with the real ones -------------------------------------------------------------------------


def frame() -> Any:
    import pandas

    return pandas.DataFrame({"x": [1, 2, 3], "y": [1, 4, 9], "kind": ["a", "b", "b"]})


def ggplot(data: Any) -> Any:
    import plotnine

    return plotnine.ggplot(data, plotnine.aes("x", "y")) + plotnine.geom_point()


def figure(data: Any) -> Any:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot(data["x"], data["y"])
    return figure


@pytest.mark.needs_all
@pytest.mark.parametrize("is_cached", [True, False])
@pytest.mark.parametrize(
    ("name", "function", "options", "begins"),
    [
        ("a.png", ggplot, {"width": 2, "height": 2, "dpi": 50}, b"\x89PNG"),
        ("a.png", figure, {"dpi": 40}, b"\x89PNG"),
        ("a.pdf", figure, {}, b"%PDF"),
        ("a.svg", figure, {}, b"<?xml"),
    ],
)
def test_real_plots_and_tables(
    is_cached: bool,
    name: str,
    function: Callable[[Any], Any],
    options: dict[str, Any],
    begins: bytes,
) -> None:
    for _ in range(2):
        begin()
        ppg.PlotJob(name, frame, function, options, cache_calc=is_cached)
        found = ended()
    assert set(found.values()) == {"Skipped"}
    assert Path(name).read_bytes().startswith(begins)
    table = Path(f"{name}.tsv").read_text()
    assert table == "\tx\ty\tkind\n0\t1\t1\ta\n1\t2\t4\tb\n2\t3\t9\tb\n"


@pytest.mark.needs_all
def test_a_real_plot_is_given_to_who_calls() -> None:
    import plotnine

    made = ppg.PlotJob("a.png", frame, ggplot, {"dpi": 50})
    assert isinstance(made.plot(), plotnine.ggplot)
    assert Path("a.png").exists()
    assert not Path("a.png.tsv").exists()


@pytest.mark.needs_all
def test_a_dict_of_frames_is_one_file_of_tables() -> None:
    ppg.PlotJob("a.png", lambda: {"one": frame().head(1), "two": frame().tail(1)}, draw)
    ended()
    assert Path("a.png.tsv").read_text() == (
        "#one\n\tx\ty\tkind\n0\t1\t1\ta\n#two\n\tx\ty\tkind\n2\t3\t9\tb\n"
    )


@pytest.mark.needs_all
@pytest.mark.parametrize("is_cached", [True, False])
def test_other_data_makes_another_table(is_cached: bool) -> None:
    for count in (1, 2):
        begin()
        ppg.PlotJob("a.png", lambda count=count: frame().head(count), draw, cache_calc=is_cached)
        assert ended()["a.png.tsv"] == "Success"
    assert len(Path("a.png.tsv").read_text().splitlines()) == 3


@pytest.mark.needs_all
def test_a_cache_and_a_table_may_be_added_later() -> None:
    ppg.PlotJob("a.png", frame, draw, cache_calc=False, create_table=False)
    made = ppg.PlotJob("a.png", frame, draw)
    assert ended() == dict.fromkeys(
        ["cache/a.png", "load_cache/a.png", "a.png", "a.png.tsv"], "Success"
    )
    assert made.table is not None
