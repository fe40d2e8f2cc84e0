"""The list that answers by name."""

from __future__ import annotations

import pickle

import pytest

from pypelinin.tasks import TaskInputs

DATA = TaskInputs([1, 2, 3], ["Load(a)", "Load(b)", "Other()"])


def test_it_is_a_list() -> None:
    assert DATA == [1, 2, 3]
    assert (DATA[0], DATA[-1], DATA[1:]) == (1, 3, [2, 3])
    assert sum(DATA) == 6
    assert TaskInputs() == []


def test_it_answers_by_name() -> None:
    assert (DATA["Load(b)"], DATA["Other()"], DATA["Other"]) == (2, 3, 3)
    assert (DATA.get("Load(a)"), DATA.get("Gone"), DATA.get("Gone", 4)) == (1, None, 4)
    assert DATA.keys() == ("Load(a)", "Load(b)", "Other()")
    assert dict(DATA.items()) == {"Load(a)": 1, "Load(b)": 2, "Other()": 3}
    assert DATA.values() == [1, 2, 3]


@pytest.mark.parametrize(("name", "said"), [("Load", "means several"), ("Gone()", "is none of")])
def test_a_name_that_is_none_or_several(name: str, said: str) -> None:
    with pytest.raises(KeyError, match=said):
        DATA[name]


def test_it_keeps_its_names_in_a_pickle() -> None:
    assert pickle.loads(pickle.dumps(DATA))["Other"] == 3
