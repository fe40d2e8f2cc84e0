"""One task in its slot, without the slot."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from pypelinin.errors import NotPicklable
from pypelinin.tasks import Task, run
from pypelinin.tasks.exceptions import DataPathNotShared
from pypelinin.tasks.inside import files
from pypelinin.tasks.inside.references import Reference
from pypelinin.tasks.inside.work import MARKER, Order, Place, check, kept, opened, perform


class Scaled(Task[int, int]):
    factor = 10

    @run
    def run(self, data: Any, n: int) -> int:
        return int(data["A()"] * self.factor + n)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / MARKER).write_text("token")
    return Place(str(directory), "token", False)


def order(tmp_path: Path, **changed: Any) -> Order:
    plain = Order(
        name="X()", folder=str(tmp_path / "X"), receives=True, refers=False,
        state=None, params={}, saved="text", parents=["A()", "B()"],
    )  # fmt: skip
    return Order(**{**plain, **changed})  # type: ignore[typeddict-item]  # names are checked by it


def inputs(tmp_path: Path) -> list[list[Any]]:
    files.store(str(tmp_path / "b"), [2], "B()")
    return [["pickle", pickle.dumps(1)], ["file", str(tmp_path / "b")]]


def test_inputs_come_from_outcomes_and_from_files(tmp_path: Path, place: Place) -> None:
    work = cloudpickle.dumps(lambda data, n: [data["A()"], data[1], n])
    handed = perform(tuple(place), work, order(tmp_path, params={"n": 3}), inputs(tmp_path))
    assert opened(handed) == [1, [2], 3]
    assert files.load(str(tmp_path / "X" / files.RESULT)) == [1, [2], 3]
    assert (tmp_path / "X" / files.PARAMS).read_text() == "text"
    (told,) = Path(place.directory).glob("*.jsonl")
    assert [line.split('"')[-4] for line in told.read_text().splitlines()] == [
        "Starting", "Finished: Status.SUCCESS",
    ]  # fmt: skip


def test_an_object_has_its_attributes(tmp_path: Path, place: Place) -> None:
    made = order(tmp_path, state={"factor": 20, "name": "X()"}, params={"n": 3})
    handed = perform(tuple(place), cloudpickle.dumps(Scaled), made, inputs(tmp_path))
    assert opened(handed) == 23


def test_results_among_arguments(tmp_path: Path, place: Place) -> None:
    params = {"args": [[Reference(1), Reference(0)]], "kwargs": {"n": 3}}
    made = order(tmp_path, receives=False, refers=True, params=params)
    work = cloudpickle.dumps(lambda listed, n: (listed, n))
    assert opened(perform(tuple(place), work, made, inputs(tmp_path))) == ([[2], 1], 3)


def test_a_large_result_is_only_named(tmp_path: Path) -> None:
    kind, path = kept(str(tmp_path / "X"), "X()", "", b"x" * 100_000)
    assert (kind, path) == ("file", str(tmp_path / "X" / files.RESULT))


def test_what_an_attempt_before_has_finished_stands(tmp_path: Path, place: Place) -> None:
    work = cloudpickle.dumps(lambda data: 1 / 0)
    kept(str(tmp_path / "X"), "X()", "", "before")
    assert opened(perform(tuple(place), work, order(tmp_path), [])) == "before"
    files.set_aside(str(tmp_path / "X"))
    with pytest.raises(ZeroDivisionError):
        perform(tuple(place), work, order(tmp_path, parents=[]), [])


def test_a_task_whose_run_was_ended_meanwhile_stores_nothing(tmp_path: Path, place: Place) -> None:
    """The next run may have stored another result there."""
    work = cloudpickle.dumps(lambda data, gone: __import__("shutil").rmtree(gone))
    made = order(tmp_path, parents=[], params={"gone": place.directory})
    with pytest.raises(DataPathNotShared, match="its run is over"):
        perform(tuple(place), work, made, [])
    assert not (tmp_path / "X").exists()


def test_what_cannot_be_kept_is_a_failure(tmp_path: Path, place: Place) -> None:
    work = cloudpickle.dumps(lambda data: (one for one in [1]))
    with pytest.raises(NotPicklable, match=r"The result of X\(\) cannot be stored"):
        perform(tuple(place), work, order(tmp_path, parents=[]), [])


def test_a_node_that_does_not_see_the_run(tmp_path: Path, place: Place) -> None:
    check(place)
    with pytest.raises(DataPathNotShared, match="All nodes need the same data path"):
        check(place._replace(directory=str(tmp_path / "elsewhere")))
    with pytest.raises(DataPathNotShared):
        check(place._replace(token="of another"))
    (Path(place.directory) / MARKER).unlink()
    check(place)  # it was seen: what runs is not disturbed
    Path(place.directory).rmdir()
    with pytest.raises(DataPathNotShared, match="its run is over"):
        check(place)
