"""What a run grows by, as bytes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from pypelinin import Job
from pypelinin.errors import Cycle, DefinitionError
from pypelinin.growth import Existing, pack_growth
from pypelinin.runtime.functions import Functions
from pypelinin.runtime.values import pack_value
from pypelinin.wire.codec import unpack_plain, unpack_record
from pypelinin.wire.definitions import GROWTH_BYTES_MAX, Growth

Edges = Iterable[tuple[Job, Job]]


def as_it_is(values: Sequence[bytes | None]) -> Sequence[bytes | None]:
    return values


def packed(
    jobs: Iterable[Job], edges: Edges = (), known: frozenset[Job] = frozenset()
) -> tuple[Growth, list[Job]]:
    data, new = pack_growth(jobs, edges, "7", pack_value, Functions(), as_it_is, known)
    return unpack_record(Growth, data, 2 * GROWTH_BYTES_MAX), new


def names_in(growth: Growth) -> list[str]:
    starts = [0, *growth.ends]
    owns = (growth.payloads[low:high] for low, high in zip(starts, growth.ends, strict=False))
    return [unpack_plain(own)[0] for own in owns]


def test_new_jobs_are_numbered_with_upstreams_first() -> None:
    first = Job(abs, args=(1,))
    second = Job(pow, args=(first, 2), after=[Existing("old")])
    growth, new = packed([second])
    assert new == [first, second]
    assert list(growth.offsets) == [0, 0, 2]
    assert sorted(growth.upstreams) == [0, 2]  # the first new job, and the first name
    assert growth.names == ("old",)
    assert dict(zip(growth.upstreams, growth.reads, strict=True)) == {0: 1, 2: 0}


def test_jobs_without_a_name_are_told_apart() -> None:
    growth, _ = packed([Job(abs, args=(1,)), Job(abs, args=(2,)), Job(abs, name="mine", args=(3,))])
    assert names_in(growth) == ["abs+7", "abs+7-2", "mine"]


def test_functions_come_once() -> None:
    growth, _ = packed([Job(abs, args=(i,)) for i in range(10)])
    assert len(growth.functions) == len(growth.kinds) == 1


def test_late_edges() -> None:
    new = Job(abs, args=(1,))
    growth, _ = packed([new], [(new, Existing("report"))])
    assert list(growth.feeds) == [0, 0]
    assert growth.names == ("report",)


def test_jobs_that_a_client_knows_are_there_already() -> None:
    old = Job(abs, args=(1,), name="old")
    growth, new = packed([Job(abs, args=(old,))], known=frozenset([old]))
    assert len(new) == 1
    assert growth.names == ("old",)


@pytest.mark.parametrize(
    "edge", [("new", "other"), ("old", "new"), ("old", "older")], ids=lambda edge: "-".join(edge)
)
def test_a_late_edge_leads_from_new_to_old(edge: tuple[str, str]) -> None:
    jobs = {"new": Job(int), "other": Job(int), "old": Existing("a"), "older": Existing("b")}
    with pytest.raises(DefinitionError, match="An edge leads"):
        packed([jobs["new"]], [(jobs[edge[0]], jobs[edge[1]])])


def test_a_cycle_through_what_is_there() -> None:
    old = Existing("old")
    new = Job(abs, args=(old,))
    with pytest.raises(Cycle):
        packed([new], [(new, old)])


def test_too_much_at_once() -> None:
    with pytest.raises(DefinitionError, match="10,001 jobs"):
        packed([Job("W", name=str(i)) for i in range(10_001)])
    with pytest.raises(DefinitionError, match="too much"):
        packed([Job("W", name=str(i), data="x" * 60_000) for i in range(20)])
