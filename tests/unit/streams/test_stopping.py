"""The rule that ends a combination's trials: its table, its formula, and what may be asked."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin.errors import DefinitionError
from pypelinin.streams.stopping import Rule, Tally, certainty, rule_of

NUMBERS = st.floats(-1e6, 1e6)
TABLE = {
    **{1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78},
    **dict.fromkeys(range(5, 10), 2.57),
    **dict.fromkeys(range(10, 16), 2.23),
    **dict.fromkeys((16, 17, 100, 10**9), 1.96),
}


def tally(*values: float) -> Tally:
    found = Tally()
    for value in values:
        found.add(value)
    return found


# --- tallies ------------------------------------------------------------------------------


@given(st.lists(NUMBERS, min_size=1, max_size=50))
def test_a_tally_is_mean_and_population_deviation(values: list[float]) -> None:
    found = tally(*values)
    assert found.count == len(values)
    assert found.mean == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-6)
    assert found.deviation == pytest.approx(statistics.pstdev(values), rel=1e-6, abs=1e-5)


@given(st.floats(1e3, 1e12), st.integers(2, 200))
def test_equal_values_have_no_deviation(value: float, count: int) -> None:
    """A difference of sums of squares gives a negative one at times."""
    assert tally(*[value] * count).deviation == pytest.approx(0, abs=value * 1e-12)


def test_the_error_is_half_of_the_interval() -> None:
    found = tally(1, 2, 3)
    assert found.error == pytest.approx(4.30 * math.sqrt(2 / 3) / math.sqrt(3))
    assert math.isnan(tally(1).error)
    assert math.isnan(Tally().error)


# --- the rule -----------------------------------------------------------------------------


@pytest.mark.parametrize(("after_the_first", "z"), TABLE.items())
def test_the_table(after_the_first: int, z: float) -> None:
    assert certainty(after_the_first + 1) == z


@pytest.mark.parametrize("trials", [0, 1])
def test_one_trial_is_certain_of_nothing(trials: int) -> None:
    assert math.isnan(certainty(trials))


@pytest.mark.parametrize(
    ("after_the_first", "extra"), [(1, 1), (4, 1), (15, 1), (16, 0), (17, 0), (100, 0)]
)
def test_the_formula(after_the_first: int, extra: int) -> None:
    found = Tally(after_the_first + 1, mean=20.0, squares=9.0 * (after_the_first + 1))
    assert found.deviation == pytest.approx(3.0)
    needed = Rule(1, 10**9).needed([found])
    assert needed == math.ceil((TABLE[after_the_first] * 3 / 2.0) ** 2 + extra)


def test_the_wider_of_the_two_errors_is_allowed() -> None:
    found = [Tally(100, mean=-10.0, squares=100.0)]
    assert Rule(1, 10**9, E=0.1, eps=0.01).needed(found) == math.ceil(1.96**2)
    assert Rule(1, 10**9, E=0.1, eps=0.5).needed(found) == math.ceil(1.96**2)
    assert Rule(1, 10**9, E=0.01, eps=0.5).needed(found) == math.ceil((1.96 / 0.5) ** 2)
    assert Rule(1, 10**9, E=0.0, eps=0.5).needed(found) == math.ceil((1.96 / 0.5) ** 2)


def test_the_worst_of_all_results_decides() -> None:
    calm, wild = Tally(100, 1.0, 0.0), Tally(100, 1.0, 100.0)
    rule = Rule(1, 10**9)
    assert rule.needed([calm, wild, calm]) == rule.needed([wild]) == math.ceil(19.6**2)
    assert rule.needed([calm]) == 1


def test_what_is_no_number_is_left_out() -> None:
    rule = Rule(3, 100)
    assert rule.needed([tally(math.nan, 1, 2, 3)]) == 3
    assert rule.needed([tally(math.inf, 1, 2, 3), tally(0, 100, 0, 100)]) == 100
    assert rule.needed([]) == 3


def test_it_keeps_within_its_bounds() -> None:
    assert Rule(7, 10).needed([tally(1, 1, 1)]) == 7
    assert Rule(3, 10).needed([tally(0, 1000)]) == 10
    assert Rule(3, 10).needed([tally(1e200, -1e200)]) == 10  # its square is no float
    assert Rule(5, 5).needed([tally(0, 1000)]) == 5


def test_numbers_whose_distance_is_no_float_have_no_deviation() -> None:
    huge = tally(1e308, -1e308)
    assert math.isnan(huge.deviation)
    assert math.isnan(huge.error)
    assert Rule(3, 10).needed([huge]) == 3


def test_without_any_allowed_error_only_equal_values_are_enough() -> None:
    rule = Rule(1, 1000, E=0.1, eps=0.0)
    assert rule.needed([tally(-1, 1)]) == 1000  # the mean is 0, and so is a tenth of it
    assert rule.needed([tally(0, 0)]) == 1


def test_one_trial_needs_another_if_there_may_be_one() -> None:
    assert Rule(1, 100).needed([tally(5)]) == 2
    assert Rule(1, 1).needed([tally(5)]) == 1


# --- what may be asked --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trials", "parameters", "rule"),
    [
        (0, {}, Rule(3, 10_000, 0.1, 0.01)),
        (0, {"min": 1, "max": 1}, Rule(1, 1)),
        (0, {"E": 0.5, "eps": -1}, Rule(3, 10_000, 0.5, -1)),
        (7, {}, Rule(7, 7)),
        (7, {"E": 0.5}, Rule(7, 7, 0.5)),
        (-50, {}, Rule(3, 50)),
        (-2, {}, Rule(2, 2)),
        (-2, {"min": 5}, Rule(2, 2)),
        (0, {"E": Fraction(1, 2)}, Rule(3, 10_000, 0.5)),
        (-50, {"min": 5}, Rule(5, 50)),
    ],
)
def test_what_is_asked(trials: int, parameters: dict[str, Any], rule: Rule) -> None:
    assert rule_of(trials, parameters) == rule


@pytest.mark.parametrize(
    ("trials", "parameters", "said"),
    [
        (0, {"e": 1}, r"has no 'e'\. Known are: E, eps, min, max\."),
        (5, {"min": 2}, "has 'min', but trials=5"),
        (5, {"max": 9}, "has 'max', but trials=5"),
        (-5, {"max": 9}, "has 'max', but trials=-5"),
        (0, {"min": 9, "max": 8}, "min=9 and max=8"),
        (0, {"min": 0}, "min=0 and max=10000"),
        (0, {"E": 0, "eps": 0}, "allow no error at all"),
        (0, {"E": -1, "eps": -0.5}, "E=-1 and eps=-0.5"),
        (0, {"E": "much"}, "E is a number, not 'much'"),
        (0, {"eps": math.nan}, "eps is a number, not nan"),
        (0, 5, "trialsParms is a dict of names and numbers, not 5"),
        (0, [("E", 1)], r"trialsParms is a dict of names and numbers, not \[\('E', 1\)\]"),
        (0, {"min": 2.5}, "min is a whole number, not 2.5"),
        (1.5, {}, "trials is a whole number, not 1.5"),
        (True, {}, "trials is a whole number, not True"),
        ("3", {}, "trials is a whole number, not '3'"),
    ],
)
def test_what_makes_no_sense(trials: Any, parameters: Any, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        rule_of(trials, parameters)
