"""A lot on its node: what is told of it, in which pieces, and all of it for a hello."""

from __future__ import annotations

from pypelinin.cluster.slots import HeldJobs
from pypelinin.wire.definitions import Failure
from pypelinin.wire.messages import JobFailure, Progress
from tests.playbook.scene import ints


def lot(statuses: bytes = b"", *failed: int, jobs: int = 5, text: str = "x") -> HeldJobs:
    failures = [JobFailure(job, Failure("exception", "E", text, "trace")) for job in failed]
    return HeldJobs(
        100, "A", ints(*[1] * jobs), ints(*range(jobs)), b"", 2, 9, jobs, b"",
        bytearray(statuses), failures,
    )  # fmt: skip


def told(held: HeldJobs, bytes_max: int = 10_000) -> list[tuple[int, bytes, list[int]]]:
    pieces = list(held.unreported(bytes_max))
    assert all(isinstance(piece, Progress) and piece.fence == 100 for piece in pieces)
    return [(p.start, p.statuses, [f.job for f in p.failures]) for p in pieces]


def test_only_what_is_new_is_told() -> None:
    held = lot(b"\1\1")
    assert told(held) == [(0, b"\1\1", [])]
    assert told(held) == []
    held.statuses += b"\1"
    assert told(held) == [(2, b"\1", [])]


def test_failures_go_with_their_statuses_and_once() -> None:
    held = lot(b"\1\2", 1)
    assert told(held) == [(0, b"\1\2", [1])]
    held.statuses += b"\2"
    held.failures.append(JobFailure(2, Failure("signal", "", "9")))
    assert told(held) == [(2, b"\2", [2])]


def test_many_failures_are_told_in_pieces_that_join_without_a_gap() -> None:
    held = lot(b"\2\1\2\2\1", 0, 2, 3)
    size = held.failures[0].failure.size
    pieces = told(held, bytes_max=size - 1)
    assert pieces == [(0, b"\2\1", [0]), (2, b"\2", [2]), (3, b"\2\1", [3])]
    assert held.reported == 5


def test_it_is_finished_when_the_last_of_its_jobs_ended() -> None:
    held = lot(b"\1\1\1\1")
    assert not held.finished
    held.end = 4  # the last one was taken back
    assert held.finished


def test_a_hello_tells_all_of_it_and_that_counts_as_told() -> None:
    held = lot(b"\1\2", 1)
    list(held.unreported(10_000))
    line = held.held(10_000)
    assert (line.fence, line.basis_epoch, line.basis_lsn) == (100, 2, 9)
    assert (line.runs, line.jobs, line.statuses) == (
        ints(1, 1, 1, 1, 1),
        ints(0, 1, 2, 3, 4),
        b"\1\2",
    )
    assert line.failures == tuple(held.failures)
    assert told(held) == []


def test_a_hello_does_not_tell_of_what_was_taken_back() -> None:
    held = lot(b"\1")
    held.end = 3
    assert held.held(10_000).jobs == ints(0, 1, 2)
    assert len(held.held(10_000).runs) == 3


def test_failures_over_the_bound_are_told_in_short() -> None:
    held = lot(b"\2\2\2", 0, 1, 2, text="y" * 500)
    size = held.failures[0].failure.size
    line = held.held(2 * size)
    assert [len(f.failure.text) for f in line.failures] == [500, 500, 100]
    assert [f.job for f in line.failures] == [0, 1, 2]
    assert line.failures[2].failure.traceback == ""
    assert held.failures[2].failure.traceback == "trace"  # it is still whole here
