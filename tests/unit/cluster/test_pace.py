"""A lot holds as much work as was measured, and the Router hears only what matters."""

from __future__ import annotations

import pytest

from pypelinin.cluster.pace import WORKERS_MAX, Pace
from pypelinin.config import Limits


@pytest.fixture
def pace() -> Pace:
    return Pace(Limits(lot_s=0.010, lot_jobs_max=1000))


def test_nothing_is_said_of_workers_that_were_not_measured(pace: Pace) -> None:
    assert pace.jobs_in_lot() == {}


def test_the_first_short_job_is_news(pace: Pace) -> None:
    assert pace.took("W", 0.001)
    assert pace.jobs_in_lot() == {"W": 10}


def test_that_jobs_are_long_is_assumed_until_it_is_not_so(pace: Pace) -> None:
    assert not pace.took("W", 0.5)
    assert not pace.at_least("W", 60.0)
    assert pace.jobs_in_lot() == {}


def test_a_small_change_is_no_news_and_lots_stay_as_they_are(pace: Pace) -> None:
    pace.took("W", 0.001)
    assert not pace.took("W", 0.0019)
    assert not pace.took("W", 0.0018)
    assert pace.jobs_in_lot() == {"W": 10}


def test_small_changes_add_up_to_news(pace: Pace) -> None:
    pace.took("W", 0.001)
    assert [pace.took("W", mean) for mean in (0.0015, 0.0019, 0.0025)] == [False, False, True]
    assert pace.jobs_in_lot() == {"W": 4}


def test_a_rise_counts_at_once(pace: Pace) -> None:
    pace.took("W", 0.001)
    assert pace.took("W", 0.005)
    assert pace.jobs_in_lot() == {"W": 2}


def test_a_fall_counts_slowly(pace: Pace) -> None:
    pace.took("W", 0.008)
    assert not pace.took("W", 0.0), "0.0056 s now"
    assert pace.jobs_in_lot() == {"W": 1}
    assert pace.took("W", 0.0), "0.0039 s now"
    assert pace.jobs_in_lot() == {"W": 2}


def test_a_worker_that_becomes_long_makes_no_lots_any_more(pace: Pace) -> None:
    pace.took("W", 0.001)
    assert pace.took("W", 0.011)
    assert pace.jobs_in_lot() == {}
    assert not pace.took("W", 5.0), "how long is nobody's concern"


def test_a_worker_that_was_long_once_is_short_again_after_some_lots(pace: Pace) -> None:
    pace.took("W", 0.001)
    pace.took("W", 1.0)
    news = [pace.took("W", 0.001) for _ in range(20)]
    assert True in news, "it stayed long for ever"
    assert news.index(True) > 5, "one short job proves nothing"
    assert pace.jobs_in_lot()["W"] >= 1


def test_a_job_that_is_not_over_makes_its_worker_long_at_once(pace: Pace) -> None:
    pace.took("W", 0.001)
    assert pace.at_least("W", 0.1)
    assert pace.jobs_in_lot() == {}


def test_a_job_that_is_not_over_yet_never_makes_a_worker_shorter(pace: Pace) -> None:
    pace.took("W", 0.008)
    assert not pace.at_least("W", 0.0001)
    assert not pace.took("W", 0.008)
    assert pace.jobs_in_lot() == {"W": 1}


def test_workers_are_measured_apart(pace: Pace) -> None:
    pace.took("short", 0.0001)
    pace.took("long", 3.0)
    pace.took("middle", 0.005)
    assert pace.jobs_in_lot() == {"short": 100, "middle": 2}


@pytest.mark.parametrize(
    ("mean_s", "jobs"), [(0.0, 1000), (1e-12, 1000), (0.000_009, 1000), (0.010, 1)]
)
def test_a_lot_has_at_least_one_job_and_a_bound(pace: Pace, mean_s: float, jobs: int) -> None:
    assert pace.took("W", mean_s)
    assert pace.jobs_in_lot() == {"W": jobs}


def test_only_so_many_functions_are_remembered() -> None:
    pace = Pace(Limits())
    for i in range(3 * WORKERS_MAX):
        pace.took(f"call:3.11/{i}", 0.0001)
    assert len(pace.jobs_in_lot()) == WORKERS_MAX
    assert f"call:3.11/{3 * WORKERS_MAX - 1}" in pace.jobs_in_lot()
