"""Putting together what the Router keeps of a job."""

from __future__ import annotations

from collections.abc import Iterator

import msgpack
import pytest

from pypelinin.client.logs import Joined, LogRequests
from pypelinin.errors import NotFound
from pypelinin.wire.codec import Blobs
from pypelinin.wire.evidence import ENDING, STDERR, STDOUT, USAGE, LogEntry, Logs


def entry(data: bytes, offset: int = 0, kind: int = STDOUT, job: int = 0, fence: int = 1) -> (
    tuple[LogEntry, bytes]
):  # fmt: skip
    return LogEntry(kind, job, fence, offset, len(data)), data


def test_what_comes_twice_is_told_once_and_gaps_are_counted() -> None:
    joined = Joined()
    first = joined.add(*entry(b"one"))
    assert first is not None
    assert (first.data, first.offset, first.left_out, first.attempt) == (b"one", 0, 0, 1)
    assert joined.add(*entry(b"one")) is None
    longer = joined.add(*entry(b"onetwo"))
    assert longer is not None
    assert (longer.data, longer.offset) == (b"two", 3)
    later = joined.add(*entry(b"end", 10))
    assert later is not None
    assert (later.data, later.left_out) == (b"end", 4)
    assert joined.add(*entry(b"late", 6)) is None


def test_streams_attempts_and_jobs_are_apart() -> None:
    joined = Joined()
    joined.add(*entry(b"one"))
    assert joined.add(*entry(b"", kind=USAGE, fence=2)) is None
    error = joined.add(*entry(b"error", kind=STDERR, fence=3))
    other = joined.add(*entry(b"other", job=1, fence=4))
    assert error is not None
    assert other is not None
    assert (error.stream, error.attempt, error.left_out) == ("stderr", 3, 0)
    assert (other.stream, other.attempt) == ("stdout", 1)


class Asker(LogRequests):
    """Answers from a list instead of a Router."""

    def __init__(self, *answers: Logs) -> None:
        self.answers: Iterator[Logs] = iter(answers)
        self.asked: list[tuple[int, int, int, int]] = []
        self.waited = 0

    def _logs(self, run: str, job: int, fence: int, place: int, kinds: int) -> Logs:
        self.asked.append((job, fence, place, kinds))
        return next(self.answers)

    def _drive(self, *_: object, **__: object) -> None:
        self.waited += 1


def answer(
    *entries: tuple[LogEntry, bytes], at: int = 0, end: bool = True, still: bool = False,
    running: int = 0,
) -> Logs:  # fmt: skip
    data = b"".join(data for _, data in entries)
    node = "kiwi" if running else ""
    return Logs(1, tuple(one for one, _ in entries), Blobs([data]), at, end, still, running, node)


def test_it_asks_until_the_end() -> None:
    asker = Asker(answer(entry(b"one"), at=50, end=False), answer(entry(b"two", 3), at=70))
    assert [part.data for part in asker.logs("r1")] == [b"one", b"two"]
    assert [place for _, _, place, _ in asker.asked] == [0, 50]
    assert asker.waited == 0


def test_following_goes_on_until_the_job_has_ended_and_a_moment_longer() -> None:
    asker = Asker(
        answer(entry(b"one"), at=50, still=True), answer(at=50, still=True),
        answer(entry(b"two", 3), at=70), answer(entry(b"three", 6), at=90),
    )  # fmt: skip
    assert [part.data for part in asker.logs("r1", 0, follow=True)] == [b"one", b"two", b"three"]
    assert asker.waited == 3


USED = msgpack.packb(["kiwi", 100.0, 1.5, 0.5, 7, True, 3, 0])
ENDED = msgpack.packb(["kiwi", "exception", "E", "text", "trace"])


def test_attempts_are_put_together_in_their_order() -> None:
    asker = Asker(
        answer(entry(USED, kind=USAGE, fence=5), entry(ENDED, kind=ENDING, fence=3), at=9,
               end=False),
        answer(entry(USED, kind=USAGE, fence=3), running=8),
    )  # fmt: skip
    first, second, third = asker.attempts("r1", 0)
    assert (first.number, first.fence, first.node, first.wall_s) == (1, 3, "kiwi", 1.5)
    assert first.failure is not None
    assert (first.failure.type, first.failure.node) == ("E", "kiwi")
    assert (second.cpu_s, second.memory_peak, second.own_peak) == (0.5, 7, True)
    assert (second.stdout_bytes, second.stderr_bytes, second.failure) == (3, 0, None)
    assert (third.running, third.node, third.wall_s) == (True, "kiwi", None)


@pytest.mark.parametrize(("attempt", "fence"), [(1, 3), (2, 5), (-1, 5), (-2, 3)])
def test_one_attempt_is_asked_for_by_its_fence(attempt: int, fence: int) -> None:
    both = answer(entry(USED, kind=USAGE, fence=3), entry(USED, kind=USAGE, fence=5))
    asker = Asker(both, answer())
    assert list(asker.logs("r1", 0, attempt=attempt)) == []
    assert asker.asked[1][1] == fence


@pytest.mark.parametrize("attempt", [0, 3, -3])
def test_an_attempt_that_is_not_known_is_said(attempt: int) -> None:
    both = answer(entry(USED, kind=USAGE, fence=3), entry(USED, kind=USAGE, fence=5))
    with pytest.raises(NotFound, match="2 attempts are known"):
        list(Asker(both).logs("r1", 0, attempt=attempt))
