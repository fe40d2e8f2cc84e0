"""One task: its name, its parameters, its place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pypelinin.errors import Cycle
from pypelinin.tasks import Task, TaskError, run, task
from pypelinin.tasks.definition import folder_name
from pypelinin.tasks.texts import mapping_of


class Add(Task[int, int]):
    @run
    def run(self, data: list[int], n: int, times: int = 1) -> int:
        return sum(data) + n * times


@task("Start", receives_input=False)
def start(value: Any = 1) -> Any:
    return value


def test_its_name_is_class_and_tag() -> None:
    assert (Add(n=1).name, Add("x", n=1).name, start("y").name) == ("Add()", "Add(x)", "Start(y)")
    assert repr(Add(n=1)) == "<Task Add() NOT_STARTED>"


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({}, r"Could not create task Add\(t\): missing a required argument: 'n'"),
        ({"n": 1, "m": 2}, r"Add\(t\): got an unexpected keyword argument 'm'"),
        ({"n": object()}, r"The parameter n of Add\(t\) cannot be hashed"),
        ({"n": 1, "data": 2}, "unexpected keyword argument 'data'"),
    ],
)
def test_parameters_are_checked_when_it_is_made(params: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskError, match=said) as caught:
        Add("t", **params)
    assert isinstance(caught.value, TypeError)


def test_a_run_that_is_not_marked_or_not_there() -> None:
    class Plain(Task[Any, Any]):
        def run(self, data: Any) -> None:
            """Not marked."""

    class Nothing(Task[Any, Any]):
        pass

    with pytest.raises(TaskError, match=r"Plain.run\(\) method not decorated with @run"):
        Plain()
    with pytest.raises(TypeError, match="abstract"):
        Nothing()  # type: ignore[abstract]  # that is what is tried


def test_a_tag_is_text() -> None:
    with pytest.raises(TaskError, match="tag of Add is text, not 3"):
        Add(3, n=1)  # type: ignore[arg-type]  # that is what is tried
    with pytest.raises(TaskError, match=r"'Add\(\\udcff\)' cannot be written as UTF-8"):
        Add("\udcff", n=2)
    assert Add("ü", n=2).name == "Add(ü)"


def test_defaults_belong_to_its_parameters_but_are_not_saved() -> None:
    made = Add(n=2)
    assert made.full_params() == {"n": 2, "times": 1}
    assert made.description()["params"] == {"n": 2}
    assert made.run_wrapper([1, 2]) == 5
    assert start(value=7).run_wrapper() == 7


def test_its_description() -> None:
    made = Add("x", n=2)
    assert made.description() == {
        "name": "Add", "module": __name__, "tag": "x", "hash": made.hash(), "params": {"n": 2},
    }  # fmt: skip


def test_its_result_lies_under_name_and_hash(tmp_path: Path) -> None:
    made = Add("x", n=2)(start())
    with pytest.raises(TaskError, match="no data path yet"):
        made.output_filename()
    made.set_data_path(str(tmp_path))
    assert made.output_filename() == str(tmp_path / "Add(x)" / made.hash() / "result.dump.gz")
    assert made.output_filename("other") == str(tmp_path / "Add(x)" / made.hash() / "other")
    assert not made.output_exists()
    assert made.should_run()
    assert os.listdir(tmp_path) == []
    made.store_output(5)
    made.store_params()
    assert made.output_exists()
    assert not made.should_run()
    assert made.load_output() == 5
    told = mapping_of(Path(made.output_filename("params.yaml")).read_text(), "params.yaml")
    assert told["task"]["hash"] == made.hash()
    assert list(told["parents"]) == ["Start()"]
    made.set_reload(True)
    assert made.should_run()


@pytest.mark.parametrize("name", ["Add(../../x)", "Add(/etc/passwd)", "Add(a\0b)", "x" * 300])
def test_a_name_is_never_a_path(name: str) -> None:
    folder = folder_name(name)
    assert "/" not in folder
    assert "\0" not in folder
    assert len(folder) <= 200
    assert folder != folder_name(name + "y")
    assert folder_name("LoadData(csv)") == "LoadData(csv)"


def test_what_it_needs() -> None:
    class Heavy(Add):
        cores = 2
        retries = 1

    assert Heavy(n=1).all_options() == {"cores": 2, "retries": 1}
    assert Heavy(n=1).options(retries=3, timeout="1h").all_options() == {
        "cores": 2, "retries": 3, "timeout": "1h",
    }  # fmt: skip
    with pytest.raises(TaskError, match="no options speed"):
        Add(n=1).options(speed=3)
    with pytest.raises(TaskError, match=r"Add\(\): cores is a whole number"):
        Add(n=1).options(cores=0)


def test_ancestors_come_first_and_cycles_are_seen() -> None:
    a, b, c = Add("a", n=1), Add("b", n=1), Add("c", n=1)
    c([a, b(a)])
    assert c.with_ancestors() == [a, b, c]
    a(c)
    with pytest.raises(Cycle, match="cycle"):
        c.hash()


def test_attributes_of_an_object_go_to_its_slot() -> None:
    class Kept(Add):
        def __init__(self, tag: str, factor: int, **params: Any) -> None:
            super().__init__(tag, **params)
            self.factor = factor

    told = Kept("t", 3, n=1).state()
    assert told == {
        "factor": 3, "name": "Kept(t)", "tag": "t", "reload": False, "data_path": "",
        "params": {"n": 1},
    }  # fmt: skip
    assert start().state() is None


def test_its_output_after_a_run() -> None:
    made = Add(n=1)
    assert made.output is None
    made.set_output(3)
    made.set_status(Task.Status.SUCCESS)
    assert made.output == 3
    assert made.result is not None
    assert made.result.status is Task.Status.SUCCESS


def test_a_class_whose_run_gets_no_data_says_so() -> None:
    class Wrong(Task[Any, int]):
        @run
        def run(self, n: int) -> int:
            return n

    class Right(Wrong):
        receives_input = False

    class Static(Task[Any, int]):
        @staticmethod
        @run
        def run(data: Any, n: int) -> int:  # type: ignore[override]  # nobody calls it but its task
            return n

    with pytest.raises(AttributeError, match='named parameter "data": that of Wrong does not'):
        Wrong(n=1)
    assert Right(n=1).run_wrapper() == Static(n=1).run_wrapper() == 1


def test_data_is_no_parameter() -> None:
    @task("Any")
    def anything(data: Any, **params: Any) -> None: ...

    with pytest.raises(TaskError, match="unexpected keyword argument 'data'"):
        anything(data=1)


class Scale(Task[int, int]):
    def __init__(self, factor: Any) -> None:
        super().__init__()
        self.factor = factor

    @run
    def run(self, data: list[int]) -> int:
        return data[0] * int(self.factor)


def test_attributes_of_an_object_count() -> None:
    assert Scale(2).hash() == Scale(2).hash() != Scale(3).hash()
    made = start()
    before = made.hash()
    made.factor = 3  # type: ignore[attr-defined]  # it does not come to its function
    assert made.hash() == before


NOTHING = iter(())


def test_defaults_that_cannot_be_hashed_count_with_the_code() -> None:
    @task("Sorted")
    def ordered(data: Any, key: Any = len, none: Any = NOTHING) -> None: ...

    assert ordered().hash() == ordered(key=len).hash()
    with pytest.raises(TaskError, match="The parameter key of Sorted"):
        ordered(key=max)


def test_what_was_meant_is_told_where_a_tag_is_none() -> None:
    with pytest.raises(TaskError, match=r"tag of Add is text, not 4\. Parameters are given"):
        Add(4)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(TaskError, match=r"To connect the task, write Add\(\.\.\.\)\(parent\)"):
        Add(Add("a", n=1))  # type: ignore[arg-type]  # wrong on purpose
