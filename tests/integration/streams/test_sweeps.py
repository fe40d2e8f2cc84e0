"""Whole sweeps, in slots of this process and on a cluster."""

from __future__ import annotations

import csv
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.streams import ItemFailed, Multiple, Object, sweep
from tests.integration.cluster import RealCluster


def walk(id: int, trial: int, a: int, b: int) -> dict[str, float]:
    return {"v": a + random.Random(f"{id} {trial}").gauss(0, 0.5), "b2": b * 2}


def test_a_sweep_goes_through_all_combinations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "table.csv"
    with sweep({"a": [5, 9], "b": (1, 2, 3)}, 20, path, showProgress=False, slots=2) as w:
        w.job(walk)
    expected = list(itertools.product((1, 2, 3), (5, 9)))
    assert [(row["b"], row["a"]) for row in w.rows] == expected
    for id, row in enumerate(w.rows):
        assert (row["id"], row["trials"], row["b2_err"]) == (id, 20, 0.0)
        assert abs(row["v"] - row["a"]) < 0.8
        assert 0.2 < row["v_dev"] < 1
    out, _ = capsys.readouterr()
    assert out.splitlines()[0].split() == [
        "trials", "a", "b", "b2", "b2_dev", "b2_err", "v", "v_dev", "v_err",
    ]  # fmt: skip
    assert [int(line.split()[0]) for line in out.splitlines()[2:]] == list(range(6))
    found = list(csv.DictReader(path.read_text().splitlines()))
    assert [float(row["v"]) for row in found] == [row["v"] for row in w.rows]


@pytest.mark.needs_all
def test_the_table_is_a_data_frame() -> None:
    with sweep([{"a": 3, "b": 4}], 2, showProgress=False, slots=1) as w:
        w.job(walk)
    assert list(w.table().index) == [0]
    assert w.table().loc[0, "b2"] == 8.0


@pytest.mark.parametrize("options", [{"slots": 2}, {"useMultiprocessing": False}])
def test_trials_go_on_until_the_error_is_small(options: dict[str, Any]) -> None:
    rule = {"E": 0.05, "eps": 0, "max": 400}
    with sweep({"spread": [0, 10, 40, 1000]}, 0, None, rule, False, **options) as w:

        @w.job
        def throw(id: int, trial: int, spread: float) -> dict[str, float]:
            return {"v": 100 + random.Random(f"{id} {trial}").uniform(-spread, spread)}

    trials = [row["trials"] for row in w.rows]
    assert trials[0] == 3
    assert 3 < trials[1] < trials[2] < trials[3] == 400
    for row in w.rows[:3]:
        assert row["v_err"] <= 0.051 * row["v"]


def test_a_sweep_has_room_for_all_kinds_of_stages() -> None:
    """Several jobs, and a frame whose turns end in a reduce."""
    with sweep({"n": [3, 4]}, 2, showProgress=False, slots=2) as w:

        @w.job
        def first(id: int, trial: int, n: int) -> int:
            return n

        @w.frame(emit=lambda store: store.total)
        def loop(store: Object, n: int) -> Multiple | None:
            if hasattr(store, "total"):
                return None
            store.total = 0
            return Multiple(range(1, n + 1))

        @w.job
        def square(k: int) -> int:
            return k * k

        @w.frameEnd
        def add(store: Object, square: int) -> None:
            store.total += square

        @w.job
        def last(total: int) -> dict[str, int]:
            return {"sum": total}

    assert [row["sum"] for row in w.rows] == [14, 30]


def test_many_combinations() -> None:
    with sweep({"a": range(500), "b": [1]}, -3, showProgress=False, slots=2) as w:

        @w.job
        def same(id: int, trial: int, a: int, b: int) -> dict[str, int]:
            return {"v": id}

    assert [row["v"] for row in w.rows] == list(range(500))


@pytest.mark.needs_all
def test_the_sweep_of_the_original_document() -> None:
    import numpy as np

    with sweep({"a": np.arange(10)}, showProgress=False, slots=2) as w:

        @w.job
        def square(id, trial, a):  # type: ignore[no-untyped-def]  # as it stands there
            return {"value": a * a + np.random.random()}

    assert [row["a"] for row in w.rows] == list(range(10))
    for row in w.rows:
        assert row["a"] ** 2 <= row["value"] <= row["a"] ** 2 + 1
        assert row["value_dev"] > 0


# --- what goes wrong ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (5, "must be a single dict (cannot emit Multiple either); combination 0 gave 5"),
        (None, "3 of the 3 trials of combination 0 gave no result"),
        (Multiple([{"v": 1}, {"v": 2}]), "combination 0 gave more than one of a trial"),
        ({"v": "x"}, "The result 'v' of combination 0 must be a number, not 'x'"),
        ({"a": 1}, "The result 'a' needs a column 'a', which is there already"),
    ],
)
def test_a_wrong_result_ends_the_sweep(result: Any, said: str) -> None:
    with (
        pytest.raises(DefinitionError) as error,
        sweep({"a": [1]}, showProgress=False, slots=1) as w,
    ):
        w.job(lambda id, trial, a: result)
    assert said in str(error.value)
    assert w.rows == []


def test_results_that_are_not_the_same_end_the_sweep() -> None:
    with (
        pytest.raises(DefinitionError, match=r"Combination \d gave [vw], combination \d [vw]\."),
        sweep({"a": ["v", "w"]}, 1, showProgress=False, slots=1) as w,
    ):
        w.job(lambda id, trial, a: {a: 1})


def test_a_result_that_is_no_dict_is_told_of_and_nothing_else() -> None:
    with (
        pytest.raises(DefinitionError, match="combination 0 gave 3") as error,
        sweep({"a": [3]}, showProgress=False, slots=1) as w,
    ):
        w.job(lambda id, trial, a: a)
    assert error.value.__cause__ is None


def test_an_exception_of_a_job_ends_the_sweep() -> None:
    with (
        pytest.raises(ItemFailed, match="ZeroDivisionError") as error,
        sweep({"a": [0]}, showProgress=False, slots=1) as w,
    ):
        w.job(lambda id, trial, a: {"v": 1 / a})
    assert isinstance(error.value.exception, ZeroDivisionError)


def test_trials_may_fail_if_they_are_skipped() -> None:
    with sweep(
        {"a": [2, 0, 1000]}, 4, showProgress=False, slots=2, on_error="collect"
    ) as w:  # fmt: skip
        w.job(lambda id, trial, a: {"v": 1 / max(0, trial % a)} if a else {"v": 1 / a})
    assert [(row["id"], row["trials"]) for row in w.rows] == [(0, 2), (2, 3)]
    assert len(w.errors) == 2 + 4 + 1


def test_an_empty_table_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with sweep({"a": [0]}, 4, showProgress=False, slots=1, on_error="skip") as w:
        w.job(lambda id, trial, a: {"v": 1 / a})
    assert w.rows == []
    assert capsys.readouterr().out == "(no rows)\n"


def test_an_interrupted_sweep_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    state, calls = tmp_path / "state", tmp_path / "calls"

    def swept(fails: bool) -> list[Any]:
        with sweep({"a": range(6)}, 3, showProgress=False, slots=1, checkpointFile=state) as w:

            @w.job
            def trial(id: int, trial: int, a: int) -> dict[str, float]:
                if fails and a == 4:
                    raise KeyError("not now")
                with open(calls, "a") as file:
                    file.write(f"{id} {trial}\n")
                return {"v": a * trial}

        return w.rows

    with pytest.raises(ItemFailed):
        swept(True)
    assert state.exists()
    assert [row["v"] for row in swept(False)] == [float(a) for a in range(6)]
    assert not state.exists()
    assert len(set(calls.read_text().splitlines())) == 18


# --- who is told --------------------------------------------------------------------------

PROGRESS = {"Starting 1 of 2 with 2 trials", "Starting 2 of 2 with 2 trials"}


def check_progress(lines: list[str]) -> None:
    assert set(lines) >= PROGRESS
    done = [line for line in lines if " done with " in line]
    assert len(done) == 4
    assert all(line.endswith("trials; estimated 2 needed") for line in done)


def test_progress_is_told_from_the_slots(capfd: pytest.CaptureFixture[str]) -> None:
    with sweep({"a": [1, 2], "b": [0]}, 2, slots=2) as w:
        w.job(walk)
    check_progress(capfd.readouterr().err.splitlines())


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    with RealCluster(tmp_path_factory.mktemp("cluster"), slots=2, brokers=2) as found:
        yield found


def test_a_sweep_on_a_cluster(cluster: RealCluster, capsys: pytest.CaptureFixture[str]) -> None:
    with sweep({"a": [1, 2], "b": [0]}, 2, on=cluster.api) as w:

        @w.job
        def plain(id: int, trial: int, a: int, b: int) -> dict[str, float]:
            return {"v": a * 10 + trial}

    assert [(row["v"], row["v_dev"]) for row in w.rows] == [(10.5, 0.5), (20.5, 0.5)]
    out, err = capsys.readouterr()
    assert out.splitlines()[0].split() == ["trials", "a", "b", "v", "v_dev", "v_err"]
    check_progress(err.splitlines())
