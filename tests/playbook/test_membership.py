"""Who belongs to the cluster: what a new life, a taken name and a long absence do."""

from __future__ import annotations

import pytest

from pypelinin.cluster.membership import VERSION_CHARACTERS_MAX
from pypelinin.graph import states
from pypelinin.wire.codec import Blobs, pack_record
from pypelinin.wire.definitions import Capacity, Kind, Terms
from pypelinin.wire.messages import JoinBroker, Wait
from tests.playbook.scene import Node, Scene, wide


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_new_life_of_a_node_ends_what_the_one_before_had(scene: Scene) -> None:
    node = Node(scene, slots=1)
    node.join()
    scene.submit(wide(1))
    assert scene.state.runs.by_number[1].states == bytes((states.OUT,))
    again = Node(scene, incarnation="second life", slots=0)
    again.address = b"elsewhere"
    scene.now += 2 * scene.limits.heartbeat_interval_s + 0.1
    again.join()
    assert len(scene.state.members) == 1
    assert scene.state.attempts.lots == {}
    assert scene.state.runs.by_number[1].counts[states.QUEUED] == 1


def test_a_hello_of_before_the_one_that_the_journal_knows_says_nothing(scene: Scene) -> None:
    """It was on its way when the Router crashed; the node was given lots since."""
    node = Node(scene, slots=1)
    node.join()
    node.join()
    known = scene.restarted()
    late = Node(known, slots=1)
    late.hellos = 1
    late.join()  # its second hello
    assert late.welcome is None
    assert known.router.members.awaited
    late.join()  # its third
    assert late.welcome is not None
    assert not known.router.members.awaited


def test_what_a_node_says_that_it_has_is_kept_within_bounds(scene: Scene) -> None:
    absurd = Capacity(10**12, -5, {"gpu": 10**12, "tape": -1})
    node = Node(scene, slots=10**12, capacity=absurd)
    node.join()
    (known,) = scene.router.dispatch.coordinator.nodes.values()
    assert known.capacity == Capacity(1_000_000, 0, {"gpu": 1_000_000, "tape": 0})
    assert known.offered.cores == 1_000_000


def test_needs_of_lots_are_counted_once_when_a_node_joins_again(scene: Scene) -> None:
    node = Node(scene, slots=2)
    node.join()
    scene.submit(wide(2))
    coordinator = scene.router.dispatch.coordinator
    assert [known.left.cores for known in coordinator.nodes.values()] == [0]
    node.join()  # on the same Router: it has nothing of what it was given
    assert [known.left.cores for known in coordinator.nodes.values()] == [0]
    assert sum(coordinator.usage.values()) == 2
    coordinator.check()


def test_what_a_member_says_of_its_version_is_kept_within_bounds(scene: Scene) -> None:
    hello = JoinBroker(
        "node", "i", Capacity(1), Capacity(1), 0, ("A",), {}, 1, Blobs(),
        version="9" * 1000,
    )  # fmt: skip
    scene.ask(hello, b"node")
    (peer,) = scene.router.desk.peers.values()
    assert peer.version == "9" * VERSION_CHARACTERS_MAX


def test_two_nodes_of_one_name_are_told_so(scene: Scene) -> None:
    Node(scene).join()
    other = JoinBroker(
        "node",
        "another",
        Capacity(1),
        Capacity(1),
        0,
        ("A",),
        {},
        1,
        Blobs(),
    )
    scene.ask(other, b"other")
    (answer,) = [e.message for e in scene.envelopes(b"other") if isinstance(e.message, Wait)]
    assert "give each its own name" in answer.reason


def test_jobs_take_over_what_the_class_of_their_worker_says() -> None:
    scene = Scene()
    kind = Kind("A", {}, 1, 0, Terms(cores=2))
    node = Node(scene, slots=4)
    node.declared = (pack_record(kind), b"nonsense", pack_record(Kind("B", {}, 0, 0, Terms(-7))))
    scene.submit(wide(1), 1)
    node.join()
    assert node.next_lot().terms == Terms(cores=2), "of a run that was there before"
    scene.submit(wide(1, cores=1, timeout=9), 2)
    assert node.next_lot().terms == Terms(cores=2, timeout_s=9.0)


def test_what_a_class_says_no_more_counts_no_more() -> None:
    scene = Scene()
    node = Node(scene, slots=4)
    node.declared = (pack_record(Kind("A", {}, 0, 0, Terms(cores=2))),)
    node.join()
    node.leave()
    scene.commit()
    other = Node(scene, "node", "second life", slots=4)
    other.join()
    scene.submit(wide(1))
    assert other.next_lot().terms is None
