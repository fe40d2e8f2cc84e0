"""The functions of a sweep, step by step; tests/integration/streams has whole sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.streams import sweeping
from pypelinin.streams.combinations import Combinations
from pypelinin.streams.inside.words import Args, Multiple
from pypelinin.streams.stopping import Rule
from pypelinin.streams.sweeping import Begin, Combination, Measured, Plan, Swept, Tried

CPUS = 4


START = Begin(CPUS)


def plan(rule: Rule | None = None, shows: bool = False, **values: list[Any]) -> Plan:
    return Plan(Combinations(values), rule or Rule(3, 100), shows)


def items(found: Multiple | None) -> list[Any]:
    return [] if found is None else list(found.workList)


def numbers(found: Multiple | None) -> list[int]:
    """The trials that are begun."""
    return [item.kwargs["trial"] for item in items(found)]


# --- combinations -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "rule", "least", "at_once"),
    [
        (1, Rule(3, 100), 4, 1),
        (1, Rule(1, 2), 2, 1),  # no more than the most
        (2, Rule(1, 100), 2, 2),
        (9, Rule(1, 100), 1, 9),
        (99, Rule(2, 100), 2, 64),
        (64 * 100, Rule(3, 100), 3, 100),
    ],
)
def test_so_many_combinations_are_begun_at_once_with_so_many_trials(
    count: int, rule: Rule, least: int, at_once: int
) -> None:
    store = Swept()
    begun = items(plan(rule, a=list(range(count))).go_on(store, START))
    assert begun == [Combination(id, least, CPUS) for id in range(at_once)]


def measured(id: int, *names: str) -> Measured:
    return Measured(id, 1, names, (1.0, 0.0, 0.0) * len(names))


def test_each_that_is_done_makes_room_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "COMBINATIONS_AT_ONCE", 1)
    swept = plan(Rule(4, 9), a=list(range(5)))
    store = Swept()
    assert [one.id for one in items(swept.go_on(store, Begin(2)))] == [0, 1]
    found = [swept.take_measured(store, measured(id, "v")) for id in (1, 0, 3, 2, 4)]
    assert [one and one.id for one in found] == [2, 3, 4, None, None]
    assert swept.go_on(store, START) is None
    assert store.emit() == [measured(id, "v") for id in range(5)]


def test_others_begin_if_one_gives_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "COMBINATIONS_AT_ONCE", 1)
    swept, store = plan(a=list(range(5))), Swept()
    begun = [[one.id for one in items(swept.go_on(store, Begin(2)))] for _ in range(4)]
    assert begun == [[0, 1], [2, 3], [4], []]
    assert store.emit() == []


def test_all_combinations_have_the_same_results() -> None:
    swept, store = plan(a=[1, 2]), Swept()
    swept.take_measured(store, measured(1, "v"))
    with pytest.raises(DefinitionError, match=r"Combination 0 gave u, v, combination 1 v\."):
        swept.take_measured(store, measured(0, "u", "v"))


def test_an_init_adds_no_work() -> None:
    with pytest.raises(DefinitionError, match=r"An init of a sweep added work \(5\)"):
        plan().go_on(Swept(), 5)


# --- trials -------------------------------------------------------------------------------


def begun(swept: Plan, least: int = 3, id: int = 0) -> Tried:
    store = Tried()
    swept.look(store, Combination(id, least, CPUS))
    return store


def test_a_trial_is_told_its_parameters_and_numbers() -> None:
    found = items(plan(a=[5, 6], b=["x"]).look(Tried(), Combination(1, 2, CPUS)))
    assert all(isinstance(item, Args) and item.args == () for item in found)
    assert [item.kwargs for item in found] == [
        {"id": 1, "trial": trial, "a": 6, "b": "x"} for trial in (0, 1)
    ]


def test_new_trials_follow_while_they_are_needed() -> None:
    swept = plan(Rule(3, 100, E=0.1, eps=0.01))
    store = begun(swept)
    assert numbers(swept.take_trial(store, {"v": 1.0})) == []  # one says nothing yet
    assert numbers(swept.take_trial(store, {"v": 3.0})) == [3, 4]
    assert numbers(swept.take_trial(store, {"v": 2.0})) == [5, 6]
    assert swept.rule.needed(store.tallies.values()) == 100
    assert store.begun - store.done == CPUS
    for _ in range(4):
        swept.take_trial(store, {"v": 2.0})
    assert store.begun - store.done <= CPUS


@pytest.mark.parametrize("cpus", [1, 2, 3])
def test_no_more_are_under_way_than_there_are_cpus(cpus: int) -> None:
    swept, store = plan(Rule(3, 100)), Tried()
    waiting = numbers(swept.look(store, Combination(0, 3, cpus)))
    most = 0
    while waiting:
        number = waiting.pop(0)
        more = numbers(swept.take_trial(store, {"v": (-1) ** number * 5.0}))
        most = max(most, len(waiting) + len(more)) if more else most
        waiting += more
    assert most == cpus
    assert (store.begun, store.done) == (100, 100)
    assert swept.look(store, Combination(0, 3, cpus)) is None


def test_equal_results_need_no_more() -> None:
    swept = plan()
    store = begun(swept)
    for _ in range(3):
        assert swept.take_trial(store, {"v": 7}) is None
    assert swept.look(store, Combination(0, 3, CPUS)) is None
    assert store.emit() == Measured(0, 3, ("v",), (7.0, 0.0, 0.0))


def test_as_many_as_were_asked_for() -> None:
    swept = plan(Rule(5, 5))
    store = begun(swept, least=5)
    assert [swept.take_trial(store, {"v": n * 100}) for n in range(5)] == [None] * 5


@pytest.mark.parametrize("value", [1, 2.5, True, Fraction(1, 2), float("nan"), float("inf")])
def test_what_is_a_number(value: Any) -> None:
    store = begun(plan())
    plan().take_trial(store, {"v": value})
    assert store.tallies["v"].count == 1


@pytest.mark.needs_all
def test_numbers_of_numpy() -> None:
    import numpy

    store = begun(plan(), least=9)
    for value in (numpy.float32(1), numpy.int8(1), numpy.bool_(True), numpy.array(1.0)):
        plan().take_trial(store, {"v": value})
    assert (store.tallies["v"].mean, type(store.tallies["v"].mean)) == (1.0, float)
    with pytest.raises(DefinitionError, match="must be a number, not array"):
        plan().take_trial(store, {"v": numpy.array([1.0])})


# --- wrong results ------------------------------------------------------------------------

ONE = "must be a single dict (cannot emit Multiple either); combination 0 gave "


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (5, f"{ONE}5."),
        ([{"v": 1}], f"{ONE}[{{'v': 1}}]."),
        ({}, f"{ONE}{{}}."),
        ({"v": "1"}, "The result 'v' of combination 0 must be a number, not '1'."),
        ({"v": None}, "The result 'v' of combination 0 must be a number, not None."),
        ({"v": 1j}, "The result 'v' of combination 0 must be a number, not 1j."),
        ({"v": [1]}, "The result 'v' of combination 0 must be a number, not [1]."),
        ({1: 1}, "The name of a result is a text, not 1."),
        ({"a": 1}, "The result 'a' needs a column 'a', which is there already."),
        ({"trials": 1}, "The result 'trials' needs a column"),
        ({"v": 1, "v_dev": 1}, "needs a column 'v_dev'"),
    ],
)
def test_a_wrong_result_is_told(result: Any, said: str) -> None:
    swept = plan(a=[1])
    with pytest.raises(DefinitionError) as error:
        swept.take_trial(begun(swept), result)
    assert said in str(error.value)


@pytest.mark.parametrize("later", [{"v": 1}, {"v": 1, "w": 2, "x": 3}, {"w": 1}])
def test_all_trials_have_the_same_results(later: Mapping[str, float]) -> None:
    swept = plan()
    store = begun(swept)
    swept.take_trial(store, {"v": 1, "w": 2})
    with pytest.raises(DefinitionError, match=r"another one \['v', 'w'\]"):
        swept.take_trial(store, later)


def test_a_trial_has_one_result() -> None:
    swept = plan()
    store = begun(swept)
    for _ in range(3):
        swept.take_trial(store, {"v": 1})
    with pytest.raises(DefinitionError, match="gave more than one of a trial"):
        swept.take_trial(store, {"v": 1})


def test_a_trial_without_a_result_is_told() -> None:
    swept = plan(a=[1, 2])
    store = begun(swept, id=1)
    swept.take_trial(store, {"v": 1})
    with pytest.raises(DefinitionError, match="2 of the 3 trials of combination 1 gave no result"):
        swept.look(store, Combination(1, 3, CPUS))


def test_a_trial_that_may_fail_is_made_up_for() -> None:
    swept, store = Plan(Combinations({}), Rule(3, 6), is_tolerant=True), Tried()
    first = Combination(0, 3, CPUS)
    assert numbers(swept.look(store, first)) == [0, 1, 2]
    swept.take_trial(store, {"v": 1})
    swept.take_trial(store, {"v": 1})
    assert numbers(swept.look(store, first)) == [3]
    assert numbers(swept.look(store, first)) == [4]
    swept.take_trial(store, {"v": 1})
    assert swept.look(store, first) is None
    assert store.emit() == Measured(0, 3, ("v",), (1.0, 0.0, 0.0))


def test_a_combination_that_only_fails_has_no_row() -> None:
    swept, store = Plan(Combinations({}), Rule(3, 6), is_tolerant=True), Tried()
    swept.look(store, Combination(0, 3, CPUS))
    assert swept.look(store, Combination(0, 3, CPUS)) is None
    assert store.emit() is None


@pytest.mark.parametrize("args", [Args({"v": 1}, 2), Args(v=1), Args()])
def test_arguments_are_no_result(args: Args) -> None:
    """A frame's end gets them fanned out."""
    swept = plan()
    with pytest.raises(DefinitionError, match="single dict"):
        swept.take_trial(begun(swept), *args.args, **args.kwargs)


# --- what is told -------------------------------------------------------------------------


def test_progress_is_told_if_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    def goes(swept: Plan) -> None:
        swept.go_on(Swept(), START)
        store = begun(swept, id=1)
        for value in (1.0, 3.0, 2.0):
            swept.take_trial(store, {"v": value})

    goes(plan(Rule(3, 40), a=[1, 2]))
    assert capsys.readouterr() == ("", "")
    goes(plan(Rule(3, 40), shows=True, a=[1, 2]))
    assert capsys.readouterr() == (
        "",
        "Starting 1 of 2 with 3 trials\n"
        "Starting 2 of 2 with 3 trials\n"
        "1 done with 1 trials; estimated 3 needed\n"
        "1 done with 2 trials; estimated 40 needed\n",
    )


def test_progress_of_many_trials_is_not_told_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    swept = plan(Rule(50, 50), shows=True, a=[1])
    swept.go_on(Swept(), START)
    store = begun(swept, id=0)
    for value in range(50):
        swept.take_trial(store, {"v": value})
    told = [line for line in capsys.readouterr().err.splitlines() if " done with " in line]
    assert [int(line.split()[3]) for line in told] == [1, 2, 4, 8, 16, 32, 50]
