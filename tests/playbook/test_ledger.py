"""The ledger: what is granted is there, and no more than the node has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pypelinin.cluster.ledger import Ledger
from pypelinin.wire.definitions import Capacity, Terms

NODE = Capacity(4, 1000, {"gpu": 2})


def test_grants_until_there_is_no_more() -> None:
    ledger = Ledger(NODE)
    assert [ledger.grant(fence, None) is not None for fence in range(5)] == [True] * 4 + [False]
    ledger.free(2)
    assert ledger.grant(9, None) is not None
    ledger.check()


def test_devices_are_the_lowest_free_ones() -> None:
    ledger = Ledger(NODE, {"gpu": (7, 3)})
    gpu = Terms(resources={"gpu": 1})
    one, two = ledger.grant(1, gpu), ledger.grant(2, gpu)
    assert one is not None
    assert two is not None
    assert (one.devices, two.devices) == ({"gpu": (3,)}, {"gpu": (7,)})
    assert ledger.grant(3, gpu) is None
    ledger.free(1)
    again = ledger.grant(4, gpu)
    assert again is not None
    assert again.devices == {"gpu": (3,)}
    ledger.check()


def test_all_cores_but_one_and_the_whole_node() -> None:
    ledger = Ledger(NODE)
    assert ledger.grant(1, None) is not None
    assert ledger.grant(2, Terms(cores=-2)) is None
    most = ledger.grant(3, Terms(cores=-1))
    assert most is not None
    assert most.need.cores == 3
    ledger.free(1)
    ledger.free(3)
    whole = ledger.grant(4, Terms(cores=-2))
    assert whole is not None
    assert (whole.need.cores, whole.need.memory) == (4, 1000)
    assert ledger.grant(5, None) is None


def test_memory_above_the_share_of_a_core_leaves_less_for_others() -> None:
    ledger = Ledger(NODE)
    assert ledger.grant(1, Terms(memory=800)) is not None
    assert ledger.grant(2, None) is None
    assert ledger.grant(3, Terms(memory=200)) is not None
    ledger.check()


def test_others_on_the_node_leave_less() -> None:
    ledger = Ledger(NODE)
    for fence in range(3):
        ledger.grant(fence, None)
    ledger.set_limit(Capacity(2, 500, {}), {"gpu": (0, 1)})
    assert ledger.grant(7, None) is None
    ledger.free(0)
    ledger.free(1)
    assert ledger.grant(8, None) is not None
    assert ledger.grant(9, None) is None
    most = ledger.grant(10, Terms(cores=-1))
    assert most is None
    ledger.check()


def test_a_node_that_does_not_know_its_memory_counts_none() -> None:
    ledger = Ledger(Capacity(2))
    assert ledger.grant(1, Terms(memory=10**12)) is not None
    assert ledger.grant(2, None) is not None


needs = st.builds(
    Terms,
    st.sampled_from((1, 1, 2, 4, 5, -1, -2)),
    st.sampled_from((0, 0, 100, 400, 1000, 2000)),
    st.sampled_from(({}, {"gpu": 1}, {"gpu": 2}, {"tape": 1})),
)
steps = st.lists(
    st.one_of(st.none(), needs, st.integers(0, 30), st.builds(Capacity, st.integers(0, 4)))
)


@given(steps)
def test_whatever_is_asked_no_more_is_granted_than_there_is(story: list[object]) -> None:
    ledger = Ledger(NODE)
    for fence, step in enumerate(story):
        if isinstance(step, int):
            if step in ledger.granted:
                ledger.free(step)
        elif isinstance(step, Capacity):
            own = ledger.devices.get("gpu", ())
            ledger.set_limit(Capacity(step.cores, 250 * step.cores, {"gpu": 1}), {"gpu": (*own, 1)})
        else:
            assert step is None or isinstance(step, Terms)
            ledger.grant(fence, step)
        ledger.check()
        assert sum(grant.need.cores for grant in ledger.granted.values()) <= NODE.cores
        assert sum(grant.need.memory for grant in ledger.granted.values()) <= NODE.memory
