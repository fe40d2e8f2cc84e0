"""The coordinator: which node gets jobs of which class, and how many at once."""

from __future__ import annotations

import pytest

from pypelinin.cluster.coordinator import LOT_BYTES_MAX, SLOTS_MAX, Coordinator, Node
from pypelinin.cluster.queues import Queues
from pypelinin.wire.definitions import Kind
from tests.playbook.scene import ints

A, B, LONG = (Kind(worker, {}, 0, 0) for worker in ("A", "B", "Long"))


def node(
    number: int = 1,
    slots: int = 1,
    ahead: int = 0,
    pace: dict[str, int] | None = None,
    workers: tuple[str, ...] = ("A", "B", "Long"),
    labels: dict[str, str] | None = None,
) -> Node:
    made = Node(number, f"node{number}", "i", frozenset(workers), labels or {})
    made.offer(slots, ahead, pace or {}, 5000)
    return made


def coordinator(*nodes: Node) -> Coordinator:
    return Coordinator({each.number: each for each in nodes})


def queues_with(*counts: tuple[Kind, int], widest: int = 1) -> Queues:
    queues = Queues()
    for run, (kind, count) in enumerate(counts, 1):
        queues.add(kind, "me", run, ints(*range(count)), widest=widest)
    return queues


def placed(nodes: Coordinator, queues: Queues) -> list[tuple[int, str, int]]:
    """(node, worker, jobs) of each lot, in order."""
    lots = [(n.number, c.worker, len(jobs)) for n, c, _, jobs, _ in nodes.place(queues)]
    nodes.check()
    queues.check()
    return lots


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


def test_the_node_with_the_most_free_slots_goes_first_and_the_older_if_equal() -> None:
    nodes = coordinator(node(1, slots=1), node(2, slots=3), node(3, slots=1))
    order = [number for number, _, _ in placed(nodes, queues_with((A, 5)))]
    assert order == [2, 2, 1, 2, 3]


def test_classes_take_turns() -> None:
    lots = placed(coordinator(node(slots=4)), queues_with((A, 9), (B, 9)))
    assert [worker for _, worker, _ in lots] == ["A", "B", "A", "B"]


def test_turns_go_on_where_they_stopped() -> None:
    nodes = coordinator(node(slots=1))
    queues = queues_with((A, 9), (B, 9))
    assert placed(nodes, queues) == [(1, "A", 1)]
    nodes.nodes[1].lots = 0
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
    nodes.nodes[1].lots = 0  # the slot is free again
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
    assert [(number, jobs) for number, _, jobs in lots] == [(1, 2), (2, 2), (1, 2), (2, 2)]


def test_wide_payloads_make_small_lots() -> None:
    nodes = coordinator(node(pace={"A": 100}))
    queues = queues_with((A, 99), widest=LOT_BYTES_MAX // 4)
    assert placed(nodes, queues) == [(1, "A", 4)]


def test_a_payload_over_the_bound_still_goes_alone() -> None:
    nodes = coordinator(node(pace={"A": 100}))
    assert placed(nodes, queues_with((A, 9), widest=2 * LOT_BYTES_MAX)) == [(1, "A", 1)]


def test_what_a_node_wants_is_kept_within_bounds() -> None:
    made = node()
    made.offer(-1, SLOTS_MAX + 1, {"A": 0, "B": 10**9}, 5000)
    assert (made.slots, made.ahead, made.pace) == (0, SLOTS_MAX, {"A": 1, "B": 5000})
