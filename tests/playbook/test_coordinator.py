"""The coordinator: which node gets jobs of which class, and how many at once."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from pypelinin.cluster.coordinator import (
    AHEAD_MAX,
    LOT_BYTES_MAX,
    RESERVE_AFTER_S,
    Coordinator,
    Node,
    Placed,
)
from pypelinin.cluster.queues import Queues
from pypelinin.wire.definitions import Capacity, Kind, Terms
from tests.playbook.scene import ints

A, B, LONG = (Kind(worker, {}, 0, 0) for worker in ("A", "B", "Long"))


def node(
    number: int = 1,
    slots: int = 1,
    ahead: int = 0,
    pace: dict[str, int] | None = None,
    workers: tuple[str, ...] = ("A", "B", "Long"),
    labels: dict[str, str] | None = None,
    memory: int = 0,
    **resources: int,
) -> Node:
    has = Capacity(slots, memory, resources)
    made = Node(number, f"node{number}", "i", frozenset(workers), labels or {}, has)
    made.offer(has, ahead, pace or {}, 5000)
    return made


def left_nothing() -> Node:
    """A node of which others use everything."""
    made = node()
    made.offer(Capacity(0), 0, {}, 1)
    return made


def coordinator(*nodes: Node) -> Coordinator:
    return Coordinator({each.number: each for each in nodes})


fences = count(1)


def needing(worker: str = "A", priority: int = 0, **terms: Any) -> Kind:
    return Kind(worker, {}, 0, priority, Terms(**terms))


def queues_with(*counts: tuple[Kind, int], widest: int = 1) -> Queues:
    queues = Queues()
    for run, (kind, jobs) in enumerate(counts, 1):
        queues.add(kind, "me", run, ints(*range(jobs)), widest=widest)
    return queues


def lots_of(nodes: Coordinator, queues: Queues, now: float = 0.0) -> list[Placed]:
    """What is placed now."""
    lots = []
    for lot in nodes.place(queues, now):
        nodes.hold(lot.node, next(fences), lot.held)
        lots.append(lot)
    nodes.check()
    queues.check()
    return lots


def placed(nodes: Coordinator, queues: Queues, now: float = 0.0) -> list[tuple[int, str, int]]:
    """(node, worker, jobs) of each lot, in order."""
    found = lots_of(nodes, queues, now)
    return [(lot.node.number, lot.waiting.worker, len(lot.jobs)) for lot in found]


def free(nodes: Coordinator) -> None:
    """All lots end."""
    for each in nodes.nodes.values():
        for fence in list(each.held):
            nodes.free(each.number, fence)
    nodes.check()


# --- who could -------------------------------------------------------------------------


def test_an_unknown_worker_is_refused_with_the_name_that_is_close() -> None:
    refusal = coordinator(node(workers=("Downloader", "Parser"))).refusal(
        Kind("Downlaoder", {}, 0, 0)
    )
    assert refusal is not None
    assert refusal.code == "unknown worker"
    assert "Did you mean 'Downloader'?" in refusal.what
    assert "Known: Downloader, Parser." in refusal.what


def test_labels_that_no_node_carries_are_refused_with_what_there_is() -> None:
    refusal = coordinator(node(labels={"disk": "fast"}), node(2)).refusal(
        Kind("A", {"gpu": "yes"}, 0, 0)
    )
    assert refusal is not None
    assert refusal.code == "impossible"
    assert "gpu=yes" in refusal.what
    assert "node1 (disk=fast); node2 (no labels)" in refusal.what


def test_what_one_node_can_run_is_not_refused() -> None:
    nodes = coordinator(node(labels={"gpu": "yes"}), node(2, workers=("B",)))
    assert nodes.refusal(Kind("A", {"gpu": "yes"}, 0, 0)) is None


def test_without_nodes_nothing_is_refused() -> None:
    assert coordinator().refusal(A) is None


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ((), "no broker connected"),
        ((node(workers=("B",)),), "no broker offers A"),
        ((node(),), "all slots are busy"),
        ((left_nothing(),), "other clusters or runs use all cores of the nodes that could run it"),
    ],
)
def test_the_reason_why_a_job_waits(nodes: tuple[Node, ...], reason: str) -> None:
    assert coordinator(*nodes).reason(A) == reason


# --- who gets --------------------------------------------------------------------------


def test_a_node_gets_no_more_lots_than_it_wants() -> None:
    nodes = coordinator(node(slots=2))
    queues = queues_with((A, 5))
    assert placed(nodes, queues) == [(1, "A", 1), (1, "A", 1)]
    assert placed(nodes, queues) == []
    assert queues.count == 3


def test_jobs_go_only_where_worker_and_labels_fit() -> None:
    gpu = Kind("A", {"gpu": "yes"}, 0, 0)
    nodes = coordinator(
        node(1, slots=9, labels={"gpu": "no"}),
        node(2, slots=9, labels={"gpu": "yes"}, workers=("B",)),
        node(3, slots=1, labels={"gpu": "yes", "disk": "fast"}),
    )
    assert placed(nodes, queues_with((gpu, 3))) == [(3, "A", 1)]


def test_the_node_where_the_least_stays_free_goes_first_and_the_older_if_equal() -> None:
    nodes = coordinator(node(1, slots=3), node(2, slots=1), node(3, slots=2))
    order = [number for number, _, _ in placed(nodes, queues_with((A, 6)))]
    assert order == [2, 3, 3, 1, 1, 1]


def test_classes_take_turns() -> None:
    lots = placed(coordinator(node(slots=4)), queues_with((A, 9), (B, 9)))
    assert [worker for _, worker, _ in lots] == ["A", "B", "A", "B"]


def test_turns_go_on_where_they_stopped() -> None:
    nodes = coordinator(node(slots=1))
    queues = queues_with((A, 9), (B, 9))
    assert placed(nodes, queues) == [(1, "A", 1)]
    free(nodes)
    assert placed(nodes, queues) == [(1, "B", 1)]


def test_a_higher_priority_goes_first_and_alone() -> None:
    queues = queues_with((A, 2), (Kind("B", {}, 0, 5), 2))
    lots = placed(coordinator(node(slots=3)), queues)
    assert [worker for _, worker, _ in lots] == ["B", "B", "A"]


def test_a_class_without_a_node_does_not_hold_others_up() -> None:
    queues = queues_with((Kind("Nobody", {}, 0, 9), 2), (A, 1))
    assert placed(coordinator(node()), queues) == [(1, "A", 1)]


# --- ahead -----------------------------------------------------------------------------


def test_only_short_jobs_go_ahead_of_slots() -> None:
    assert len(placed(coordinator(node(ahead=2)), queues_with((A, 9)))) == 1
    assert len(placed(coordinator(node(ahead=2, pace={"A": 1})), queues_with((A, 9)))) == 3


def test_a_long_class_that_waits_is_not_kept_out_by_short_ones() -> None:
    nodes = coordinator(node(ahead=2, pace={"A": 1}))
    queues = queues_with((A, 9), (LONG, 1))
    assert placed(nodes, queues) == [(1, "A", 1)]
    free(nodes)
    assert placed(nodes, queues)[0] == (1, "Long", 1)


def test_a_long_class_that_cannot_run_there_keeps_nothing_from_going_ahead() -> None:
    nodes = coordinator(node(ahead=2, pace={"A": 1}, workers=("A",)))
    assert len(placed(nodes, queues_with((A, 9), (LONG, 1)))) == 3


# --- how many --------------------------------------------------------------------------


def test_a_lot_is_one_job_until_the_worker_was_measured() -> None:
    assert placed(coordinator(node()), queues_with((A, 99))) == [(1, "A", 1)]


def test_a_lot_is_as_large_as_the_pace() -> None:
    assert placed(coordinator(node(pace={"A": 10})), queues_with((A, 99))) == [(1, "A", 10)]


def test_few_jobs_are_spread_over_all_rooms() -> None:
    nodes = coordinator(node(1, slots=2, pace={"A": 100}), node(2, slots=2, pace={"A": 100}))
    lots = placed(nodes, queues_with((A, 8)))
    assert [(number, jobs) for number, _, jobs in lots] == [(1, 2), (1, 2), (2, 2), (2, 2)]


def test_wide_payloads_make_small_lots() -> None:
    nodes = coordinator(node(pace={"A": 100}))
    queues = queues_with((A, 99), widest=LOT_BYTES_MAX // 4)
    assert placed(nodes, queues) == [(1, "A", 4)]


def test_a_payload_over_the_bound_still_goes_alone() -> None:
    nodes = coordinator(node(pace={"A": 100}))
    assert placed(nodes, queues_with((A, 9), widest=2 * LOT_BYTES_MAX)) == [(1, "A", 1)]


def test_what_a_node_wants_is_kept_within_what_it_has() -> None:
    made = node(slots=2, memory=100, gpu=1)
    made.offer(Capacity(9, 10**9, {"gpu": -1, "x": 3}), AHEAD_MAX + 1, {"A": 0, "B": 10**9}, 5000)
    assert made.offered == Capacity(2, 100, {"gpu": 0})
    assert (made.ahead, made.pace) == (AHEAD_MAX, {"A": 1, "B": 5000})
    made.offer(Capacity(-1), -1, {}, 5000)
    assert (made.offered.cores, made.ahead) == (0, 0)


# --- needs -----------------------------------------------------------------------------


def test_a_job_goes_where_what_it_needs_is_free() -> None:
    nodes = coordinator(node(1, slots=2), node(2, slots=4, gpu=1), node(3, slots=8, gpu=1))
    queues = queues_with((needing(cores=4), 1), (needing("B", resources={"gpu": 1}), 3))
    assert placed(nodes, queues) == [(2, "A", 1), (3, "B", 1)]
    assert queues.count == 2  # node 2 has a gpu and no core


@pytest.mark.parametrize(("cores", "taken"), [(-1, 3), (-2, 4)])
def test_all_cores_but_one_and_the_whole_node(cores: int, taken: int) -> None:
    nodes = coordinator(node(slots=4))
    queues = queues_with((A, 1))
    assert len(placed(nodes, queues)) == 1
    queues.add(needing("B", cores=cores), "me", 2, ints(0))
    queues.add(needing("B", cores=cores), "me", 2, ints(1))
    lots = lots_of(nodes, queues)
    assert [lot.held.need.cores for lot in lots] == ([] if cores == -2 else [3])
    free(nodes)
    assert [lot.held.need.cores for lot in lots_of(nodes, queues)] == [taken]


def test_a_job_that_says_nothing_counts_with_the_memory_of_its_cores() -> None:
    nodes = coordinator(node(slots=4, memory=1000))
    queues = queues_with((needing(memory=600), 1), (A, 4))
    lots = lots_of(nodes, queues)
    assert [lot.held.need.memory for lot in lots] == [600, 250]
    assert [lot.held.weight for lot in lots] == [3, 1]  # the cores that it displaces


def test_what_no_node_could_ever_run_is_refused_with_the_nodes() -> None:
    nodes = coordinator(node(1, slots=4, memory=8_000_000_000), node(2, slots=2, gpu=1))
    refusal = nodes.refusal(needing(cores=8, memory=2_000_000_000))
    assert refusal is not None
    assert refusal.code == "impossible"
    assert "it needs 8 cores, 2.00 GB" in refusal.what
    assert "node1 (4 cores, 8.00 GB); node2 (2 cores, 1 gpu)" in refusal.what
    assert nodes.refusal(needing(cores=4)) is None
    assert nodes.refusal(needing(resources={"gpu": 2})) is not None


def test_a_job_whose_memory_rises_has_to_fit_at_its_largest() -> None:
    nodes = coordinator(node(slots=4, memory=1000))
    small = Kind("A", {}, 0, 0, Terms(memory=100), (500, 1000))
    large = Kind("A", {}, 0, 0, Terms(memory=100), (500, 1001))
    assert nodes.refusal(small) is None
    assert nodes.refusal(large) is not None
    queues = Queues()
    queues.add(small, "me", 1, ints(0), memory_kills=7)
    assert lots_of(nodes, queues)[0].held.need.memory == 1000


def test_the_reason_says_what_it_needs_and_what_is_free() -> None:
    nodes = coordinator(node(slots=4, gpu=1))
    placed(nodes, queues_with((A, 2)))
    reason = nodes.reason(needing(cores=3, resources={"gpu": 1}))
    assert reason == "it needs 3 cores, 1 gpu; free now: node1 2 cores, 1 gpu"
    assert "no connected node could run it" in nodes.reason(needing(cores=5))


def test_a_lot_of_isolated_jobs_is_one_job() -> None:
    nodes = coordinator(node(pace={"A": 100}))
    assert placed(nodes, queues_with((needing(isolate=True), 50))) == [(1, "A", 1)]


def test_jobs_whose_slot_died_are_tried_on_another_node_if_there_is_one() -> None:
    nodes = coordinator(node(1, slots=1), node(2, slots=4))
    queues = Queues()
    queues.add(A, "me", 1, ints(0), avoid="node1")
    assert placed(nodes, queues) == [(2, "A", 1)]
    nodes.leave(2)
    queues.add(A, "me", 1, ints(1), avoid="node1")
    assert placed(nodes, queues) == [(1, "A", 1)]


# --- fairness --------------------------------------------------------------------------


def test_who_has_the_least_of_the_cluster_goes_first() -> None:
    nodes = coordinator(node(slots=6))
    queues = Queues()
    queues.add(needing("A", cores=2), "greedy", 1, ints(*range(9)))
    queues.add(B, "greedy", 2, ints(*range(9)))
    queues.add(B, "modest", 3, ints(*range(9)))
    lots = lots_of(nodes, queues)
    assert sum(lot.held.need.cores for lot in lots) == 6
    assert max(nodes.usage.values()) - min(nodes.usage.values()) <= 2  # a lot is not divided
    nodes.free(1, next(iter(nodes.nodes[1].held)))
    poorer = min(("greedy", "modest"), key=lambda who: nodes.usage[who])
    assert lots_of(nodes, queues)[0].held.submitter == poorer


def test_a_node_that_is_shared_gets_one_that_needs_more_than_it_offers() -> None:
    """Only when it has that job it can ask others there for so much."""
    queues, shared = queues_with((needing(cores=4), 1), (A, 1)), node(1, slots=4)
    shared.offer(Capacity(1), 0, {}, 1)
    coordinates = coordinator(shared)
    first, *more = coordinates.place(queues, 0.0)
    assert (first.waiting.terms and first.waiting.terms.cores, more) == (4, [])
    coordinates.hold(shared, 7, first.held)
    coordinates.check()


def test_what_needs_more_than_a_shared_node_offers_waits_until_that_has_nothing_else() -> None:
    shared = node(1, slots=4)
    shared.offer(Capacity(2), 0, {}, 1)
    coordinates = coordinator(shared)
    (small,) = coordinates.place(queues_with((A, 1)), 0.0)
    coordinates.hold(shared, 7, small.held)
    large = queues_with((needing(cores=4), 1))
    assert list(coordinates.place(large, 0.0)) == []
    coordinates.free(1, 7)
    assert len(list(coordinates.place(large, 1.0))) == 1


def test_a_node_that_offers_it_all_goes_before_one_that_has_to_ask() -> None:
    shared, free = node(1, slots=4), node(2, slots=4)
    shared.offer(Capacity(1), 0, {}, 1)
    (placed,) = coordinator(shared, free).place(queues_with((needing(cores=2), 1)), 0.0)
    assert placed.node is free


def test_a_node_that_drains_is_asked_for_nothing() -> None:
    draining = node(1, slots=4)
    draining.offer(Capacity(1), 0, {}, 1)
    draining.draining = True
    assert list(coordinator(draining).place(queues_with((needing(cores=4), 1)), 0.0)) == []


def test_a_large_job_is_not_overtaken_for_ever() -> None:
    nodes = coordinator(node(slots=2))
    queues = queues_with((A, 50), (needing("B", cores=2), 1))
    now, first = 0.0, None
    for turn in range(20):
        one = next(iter(nodes.nodes[1].held), None)
        if one is not None:
            nodes.free(1, one)  # one ends after the other, never both
        if "B" in [worker for _, worker, _ in placed(nodes, queues, now)]:
            first = now
            break
        assert turn < 19, "the large job starves"
        now += 0.5
    assert first is not None
    assert RESERVE_AFTER_S <= first <= RESERVE_AFTER_S + 1.5


def test_a_reserved_node_is_for_the_more_urgent_all_the_same() -> None:
    nodes = coordinator(node(slots=2))
    queues = queues_with((A, 2), (needing("B", cores=2), 1))
    placed(nodes, queues)
    placed(nodes, queues, 1.0)
    placed(nodes, queues, 1.1 + RESERVE_AFTER_S)
    assert nodes.nodes[1].reserved is not None
    nodes.free(1, next(iter(nodes.nodes[1].held)))
    queues.add(A, "me", 9, ints(0))
    assert placed(nodes, queues, 5.0) == []
    queues.add(Kind("A", {}, 0, 5), "me", 9, ints(1))
    assert placed(nodes, queues, 5.0) == [(1, "A", 1)]


def test_a_node_that_leaves_takes_its_lots_out_of_the_account() -> None:
    nodes = coordinator(node(slots=3))
    placed(nodes, queues_with((A, 3)))
    assert nodes.usage == {"me": 3}
    nodes.leave(1)
    assert nodes.usage == {}
    back = node(slots=3)
    nodes.join(back, [(7, None, "me"), (8, Terms(cores=2), "you")])
    nodes.check()
    assert (back.left.cores, nodes.usage) == (0, {"me": 1, "you": 2})


def test_a_node_where_others_must_give_up_something_first_is_the_last_choice() -> None:
    shared, free = node(1, slots=4), node(2, slots=8)
    shared.at_once = 1
    nodes = coordinator(shared, free)
    assert [number for number, _, _ in placed(nodes, queues_with((A, 3)))] == [1, 2, 2]
