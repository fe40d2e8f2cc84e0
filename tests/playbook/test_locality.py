"""Jobs go where what they read is, if there is room."""

from __future__ import annotations

from array import array
from collections import Counter

from pypelinin.cluster.locality import Locality
from pypelinin.graph import states
from pypelinin.wire.definitions import KEPT, value_size
from tests.playbook.scene import chain, ints, state_with
from tests.playbook.test_coordinator import A, coordinator, lots_of, node, queues_with

LARGE = KEPT + b"r/values|0|5000000|@1"
SMALL = KEPT + b"r/values|0|70000|@1"


def test_a_node_has_what_it_made_and_what_it_read() -> None:
    state = state_with(chain("A", "B", "C"))
    run = state.runs.by_number[1]
    run.reads = {1: array("I", [0]), 2: array("I", [0, 1])}
    run.results = {0: LARGE, 1: SMALL}
    known = Locality(state.runs)
    assert known.near(1, 2) == Counter()
    known.ended(run, ints(0), bytes((states.DONE,)), 7)
    known.ended(run, ints(1), bytes((states.FAILED,)), 9)
    assert known.near(1, 1) == {7: 5_000_000}
    known.ended(run, ints(1), bytes((states.DONE,)), 8)
    assert known.near(1, 2) == {7: 5_000_000, 8: 5_070_000}
    known.forget(1)
    assert known.near(1, 2) == Counter()


def test_small_results_are_nowhere_near() -> None:
    state = state_with(chain("A", "B"))
    run = state.runs.by_number[1]
    run.reads, run.results = {1: array("I", [0])}, {0: b"mx"}
    known = Locality(state.runs)
    known.ended(run, ints(0), bytes((states.DONE,)), 7)
    assert known.near(1, 1) == Counter()
    assert value_size(b"mx") == value_size(KEPT + b"nonsense") == 0


def test_the_node_that_has_most_of_it_is_chosen() -> None:
    nodes = coordinator(node(1, slots=2), node(2, slots=8), node(3, slots=4))
    queues = queues_with((A, 1))
    (lot,) = nodes.place(queues, 0.0, lambda run, job: Counter({2: 10, 3: 5}))
    assert lot.node.number == 2


def test_without_room_there_it_does_not_wait() -> None:
    nodes = coordinator(node(1, slots=1), node(2, slots=1), node(3, slots=4))
    lots_of(nodes, queues_with((A, 1)))  # takes node 1
    (lot,) = nodes.place(queues_with((A, 1)), 0.0, lambda run, job: Counter({1: 10}))
    assert lot.node.number == 2
