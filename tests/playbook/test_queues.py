"""Queues: submitters take turns, what comes back goes first, nothing is lost or doubled."""

from __future__ import annotations

import pytest

from pypelinin.cluster.queues import LOT_RUNS_MAX, ClassKey, Queues
from pypelinin.wire.definitions import Kind
from tests.playbook.scene import ints

A = Kind("A", {}, 0, 0)


@pytest.fixture
def queues() -> Queues:
    return Queues()


def only(queues: Queues) -> ClassKey:
    (key,) = queues.classes
    return key


def taken(queues: Queues, jobs_max: int) -> list[tuple[int, int]]:
    submitter = next(iter(queues.classes[only(queues)].lines))
    runs, jobs = queues.take(only(queues), submitter, jobs_max)
    queues.check()
    return list(zip(runs, jobs, strict=True))


def test_submitters_take_turns(queues: Queues) -> None:
    queues.add(A, "many", 1, ints(0, 1, 2))
    queues.add(A, "few", 2, ints(0))
    assert [taken(queues, 1) for _ in range(4)] == [[(1, 0)], [(2, 0)], [(1, 1)], [(1, 2)]]
    assert not queues.classes


def test_one_lot_is_of_one_submitter(queues: Queues) -> None:
    queues.add(A, "one", 1, ints(0, 1))
    queues.add(A, "other", 2, ints(0, 1))
    assert taken(queues, 10) == [(1, 0), (1, 1)]


def test_a_lot_goes_over_the_runs_of_its_submitter(queues: Queues) -> None:
    queues.add(A, "me", 1, ints(0, 1))
    queues.add(A, "me", 2, ints(5, 6))
    assert taken(queues, 3) == [(1, 0), (1, 1), (2, 5)]
    assert taken(queues, 3) == [(2, 6)]


def test_a_lot_has_a_bounded_number_of_runs(queues: Queues) -> None:
    for run in range(1, LOT_RUNS_MAX + 2):
        queues.add(A, "me", run, ints(0))
    assert len(taken(queues, 5000)) == LOT_RUNS_MAX
    assert queues.count == 1


def test_first_goes_before_what_waits(queues: Queues) -> None:
    queues.add(A, "me", 1, ints(0, 1))
    queues.add(A, "me", 2, ints(7), first=True)
    assert taken(queues, 2) == [(2, 7), (1, 0)]


def test_classes_are_by_worker_labels_and_priority(queues: Queues) -> None:
    kinds = [A, Kind("B", {}, 0, 0), Kind("A", {"gpu": "yes"}, 0, 0), Kind("A", {}, 0, 5)]
    for kind in kinds:
        queues.add(kind, "me", 1, ints(0))
    assert len(queues.classes) == len(kinds)
    queues.add(Kind("A", {}, 9, 0), "me", 2, ints(0))  # retries make no class
    assert len(queues.classes) == len(kinds)


def test_the_key_of_a_higher_priority_is_smaller(queues: Queues) -> None:
    queues.add(A, "me", 1, ints(0))
    queues.add(Kind("A", {}, 0, 5), "me", 2, ints(0))
    assert queues.classes[min(queues.classes)].priority == 5


def test_drop_takes_out_cancelled_runs_and_nothing_else(queues: Queues) -> None:
    queues.add(A, "me", 1, ints(0, 1, 2))
    queues.add(A, "me", 2, ints(0))
    queues.add(A, "you", 1, ints(8))
    taken(queues, 1)
    dropped = queues.drop({1})
    queues.check()
    assert sorted((run, jobs.tolist()) for run, jobs in dropped) == [(1, [1, 2]), (1, [8])]
    assert taken(queues, 9) == [(2, 0)]


def test_a_class_that_drop_empties_is_gone(queues: Queues) -> None:
    queues.add(A, "me", 1, ints(0))
    queues.drop({1})
    assert not queues.classes
    assert queues.drop({1}) == []


def test_count_is_what_waits_in_all_classes(queues: Queues) -> None:
    queues.add(A, "me", 1, ints(0, 1, 2))
    queues.add(Kind("B", {}, 0, 0), "me", 1, ints(3))
    assert queues.count == 4
    queues.take(next(iter(queues.classes)), "me", 2)
    assert queues.count == 2


def test_the_widest_payload_of_a_class_is_remembered(queues: Queues) -> None:
    queues.add(A, "me", 1, ints(0), widest=500)
    queues.add(A, "me", 2, ints(0), widest=20)
    assert queues.classes[only(queues)].widest == 500


def test_the_check_sees_a_wrong_count(queues: Queues) -> None:
    queues.add(A, "me", 1, ints(0))
    queues.classes[only(queues)].count = 2
    with pytest.raises(AssertionError):
        queues.check()
