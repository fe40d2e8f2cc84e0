"""Files of pipelines that do not fit."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pypelinin.errors import DefinitionError
from pypelinin.tasks import Pipeline, PipelineError, Secret, Sequential, Task, TaskError, run, task


@task("N")
def node(data: Any, n: int = 1) -> None: ...


@task("Login")
def login(data: Any, password: str) -> None: ...


def saved() -> dict[str, Any]:
    first = node("a")
    node("b", n=2)(first)
    return Pipeline("p", [first]).to_dict()


def test_hashes_are_compared_unless_one_says_no() -> None:
    told = saved()
    told["tasks"]["N(b)"]["params"]["n"] = 3
    with pytest.raises(ValueError, match=r"Hashes do not match: that of N\(b\) was") as caught:
        Pipeline.from_dict(told)
    assert isinstance(caught.value, PipelineError)
    back = Pipeline.from_dict(told, compare_hashes=False)
    assert [one.params for one in back.tasks] == [{}, {"n": 3}]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"module": "no_such_module_here"}, "no_such_module_here, which cannot be imported"),
        ({"name": "Gone"}, "defines no task Gone"),
        ({"module": "__main__"}, "put them into a module"),
        ({"parents": ["N(x)"]}, r"names a parent 'N\(x\)' that is not in the file"),
        ({"parents": ["N(b)"]}, "form a cycle"),
        ({"tag": "other"}, r"is called N\(other\) now"),
        ({"params": {"m": 1}}, "unexpected keyword argument 'm'"),
        ({"hash": None}, "Hashes do not match"),
    ],
)
def test_what_was_changed_in_a_file(change: dict[str, Any], said: str) -> None:
    told = saved()
    told["tasks"]["N(b)"].update(change)
    with pytest.raises((PipelineError, TaskError), match=said):
        Pipeline.from_dict(told)


@pytest.mark.parametrize("missing", ["pipeline", "tasks"])
def test_a_file_of_something_else(missing: str) -> None:
    told = saved()
    del told[missing]
    with pytest.raises(PipelineError, match=f"no mapping '{missing}'"):
        Pipeline.from_dict(told)


def test_a_task_without_its_facts() -> None:
    told = saved()
    del told["tasks"]["N(a)"]["module"]
    with pytest.raises(PipelineError, match=r"N\(a\) lacks module"):
        Pipeline.from_dict(told)


@pytest.mark.parametrize(("key", "value"), [("kind", "circle"), ("hash_scheme", "crc")])
def test_a_head_that_says_what_there_is_not(key: str, value: str) -> None:
    told = saved()
    told["pipeline"][key] = value
    with pytest.raises(PipelineError, match=value):
        Pipeline.from_dict(told)


def test_a_sequence_with_branches_is_none() -> None:
    told = Sequential("s", [node(name) for name in "abc"]).to_dict()
    told["tasks"]["N(c)"]["parents"] = ["N(a)"]
    with pytest.raises(PipelineError, match=r"no branches, as at N\(c\)"):
        Pipeline.from_dict(told)
    told["tasks"]["N(c)"]["parents"] = []
    with pytest.raises(PipelineError, match="one first task, this one 2"):
        Pipeline.from_dict(told)


@pytest.mark.parametrize("scheme", ["md5", "sha256"])
def test_files_of_the_original_do_not_name_their_scheme(scheme: str) -> None:
    pipeline = Pipeline("p", [node("a")])
    pipeline.set_hash_scheme(scheme)
    told = pipeline.to_dict()
    del told["pipeline"]["hash_scheme"], told["pipeline"]["kind"]
    back = Pipeline.from_dict(told)
    assert back.hash_scheme == scheme


def test_secrets_are_given_again(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    Pipeline("p", [login(password=Secret("abc"))]).to_file(str(path))
    assert "abc" not in path.read_text()
    with pytest.raises(TaskError, match=r"secrets=.'password'"):
        Pipeline.from_file(str(path))
    (back,) = Pipeline.from_file(str(path), secrets={"password": "abc"}).tasks
    assert back.params["password"].value == "abc"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in *value*."""
    found = [path] if path else []
    if isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            found += paths(one, (*path, key))
    return found


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_changed_the_error_is_one_of_ours(data: st.DataObject) -> None:
    told = saved()
    *way, last = data.draw(st.sampled_from(paths(told)))
    place: Any = told
    for key in way:
        place = place[key]
    place[last] = data.draw(ANYTHING)
    with contextlib.suppress(DefinitionError):
        Pipeline.from_dict(told, compare_hashes=data.draw(st.booleans()))


@pytest.mark.parametrize("wrong", [None, "text", [1]])
def test_what_is_no_mapping(wrong: Any) -> None:
    with pytest.raises(PipelineError, match="made of a mapping, not of a"):
        Pipeline.from_dict(wrong)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "result.dump.gz"
    path.write_bytes(b"\x1f\x8b\xff")
    with pytest.raises(PipelineError, match=r"result\.dump\.gz is no text"):
        Pipeline.from_file(str(path))


def test_a_module_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "module_that_raises.py").write_text("1 / 0")
    told = saved()
    told["tasks"]["N(b)"]["module"] = "module_that_raises"
    with pytest.raises(PipelineError, match="cannot be imported: ZeroDivisionError: division"):
        Pipeline.from_dict(told)


@pytest.mark.parametrize(
    "terms",
    [{"reload": "yes"}, *({"options": wrong} for wrong in ([1], {3: 1}, {"cores": "x"}, {"a": 1}))],
)
def test_terms_that_are_none(terms: dict[str, Any]) -> None:
    told = saved()
    told["tasks"]["N(b)"].update(terms)
    with pytest.raises((PipelineError, TaskError), match=r"N\(b\)"):
        Pipeline.from_dict(told)


class Scale(Task[Any, Any]):
    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    @run
    def run(self, data: Any) -> int:
        return self.factor


def test_what_only_a_constructor_was_given_is_not_saved() -> None:
    with pytest.raises(PipelineError, match=r"Scale\(\) cannot be made.*parameters of run"):
        Pipeline.from_dict(Pipeline("p", [Scale(3)]).to_dict())
