"""What worker classes say of their jobs."""

from __future__ import annotations

from typing import ClassVar

import pytest

from pypelinin import Worker
from pypelinin.errors import DefinitionError
from pypelinin.runtime.declarations import declared
from pypelinin.wire.codec import unpack_record
from pypelinin.wire.definitions import FRAME_BYTES_MAX, Kind, Terms


class Plain(Worker):
    pass


class Large(Worker):
    cores = 4
    memory = ("2GB", "4GB")
    retries = 3
    labels: ClassVar = {"disk": "fast"}
    env: ClassVar = {"MODE": "a"}
    timeout = "10min"


class Odd:
    """Its own business."""

    @property
    def timeout(self) -> int:
        return 5

    def memory(self) -> None: ...


def kinds(**workers: type) -> list[Kind]:
    return [unpack_record(Kind, one, FRAME_BYTES_MAX) for one in declared(workers)]


def test_a_class_that_says_nothing_declares_nothing() -> None:
    assert kinds(Plain=Plain, Odd=Odd) == []


def test_what_a_class_says() -> None:
    terms = Terms(4, 2 * 10**9, {}, 600.0, False, {"MODE": "a"})
    assert kinds(Large=Large, Plain=Plain) == [
        Kind("Large", {"disk": "fast"}, 3, 0, terms, (4 * 10**9,))
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("cores", 0, "cores is a whole number"),
        ("memory", "much", "'much' is no size"),
        ("retries", -1, "retries is a whole number"),
        ("timeout", "soon", "'soon' is no time"),
    ],
)
def test_nonsense_names_the_class(name: str, value: object, said: str) -> None:
    with pytest.raises(DefinitionError, match=f"Worker Bad: .*{said}"):
        declared({"Bad": type("Bad", (Worker,), {name: value})})


def test_what_a_job_says_comes_first() -> None:
    (large,) = kinds(Large=Large)
    own = Kind("Large", {}, 0, 7, Terms(2, env={"MODE": "b", "X": "1"}))
    found = own.over(large)
    assert (found.retries, found.priority, found.labels) == (3, 7, {"disk": "fast"})
    assert found.terms == Terms(2, 2 * 10**9, {}, 600.0, False, {"MODE": "b", "X": "1"})
    assert found.more_memory == (4 * 10**9,)
    assert Kind("Plain", {}, 0, 0).over(Kind("Plain", {}, 0, 0)).terms is None
