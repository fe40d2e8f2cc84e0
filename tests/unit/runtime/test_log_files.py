"""The Router's files of what jobs printed: appended, read from a place on, bounded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pypelinin.runtime.log_files import HEAD, MARK, RUN_SHARE, LogFiles
from pypelinin.wire.codec import Blobs
from pypelinin.wire.definitions import Failure
from pypelinin.wire.evidence import (
    ENDING,
    LOGS_BYTES_MAX,
    STDERR,
    STDOUT,
    USAGE,
    AttemptUsage,
    Evidence,
    GetLogs,
    Logs,
    Printed,
)

MIB = 2**20


class Kept:
    """Log files, what they warned of, and which runs go on."""

    def __init__(self, directory: Path, bytes_max: int = 100 * MIB) -> None:
        self.said: list[str] = []
        self.open: set[str] = set()
        self.files = LogFiles(
            directory / "logs", bytes_max, lambda run: run in self.open, self.said.append
        )
        self.files.start([])

    def print(
        self, data: bytes, run: str = "r1", job: int = 0, fence: int = 1, stream: int = STDOUT,
        offset: int = 0, live: bool = False,
    ) -> None:  # fmt: skip
        one = Printed(run, job, fence, stream, offset, len(data), live)
        self.files.keep("kiwi", Evidence((one,), (), Blobs([data])))

    def read(self, run: str = "r1", job: int = -1, fence: int = 0, at: int = 0,
             kinds: int = 15) -> Logs:  # fmt: skip
        return self.files.read(GetLogs(5, run, job, fence, at, kinds), True, 0, "")

    def all(self, **question: int) -> list[bytes]:
        found, at = [], 0
        while True:
            answer = self.read(at=at, **question)
            place = 0
            for entry in answer.entries:
                found.append(answer.blobs[0][place : place + entry.size])
                place += entry.size
            if answer.end:
                return found
            assert answer.next > at
            at = answer.next


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path)


def test_what_was_kept_is_read_in_its_order(kept: Kept) -> None:
    kept.print(b"one")
    kept.print(b"error", job=1, fence=2, stream=STDERR)
    kept.print(b"two", offset=3)
    assert kept.all() == [b"one", b"error", b"two"]
    assert kept.all(job=0) == [b"one", b"two"]
    assert kept.all(fence=2) == [b"error"]
    assert kept.all(kinds=1 << STDERR) == [b"error"]
    answer = kept.read()
    assert (answer.request, answer.end, answer.open) == (5, True, True)
    assert [entry.offset for entry in answer.entries] == [0, 0, 3]
    kept.print(b"three", offset=6)
    assert kept.read(at=answer.next).blobs[0] == b"three"
    assert kept.read("unknown").end


def test_usage_and_endings_are_kept_with_their_node(kept: Kept) -> None:
    usage = AttemptUsage("r1", 3, 9, 100.0, 1.5, 0.5, 10 * MIB, True, 4, 0)
    kept.files.keep("kiwi", Evidence((), (usage,), Blobs([b""])))
    kept.files.keep_ending("r1", 3, 9, Failure("exception", "E", "text", "trace", "kiwi"))
    answer = kept.read(job=3)
    assert [entry.kind for entry in answer.entries] == [USAGE, ENDING]
    assert b"kiwi" in answer.blobs[0]
    assert b"trace" in answer.blobs[0]


def test_an_answer_is_bounded(kept: Kept) -> None:
    for number in range(40):
        kept.print(bytes([number]) * 50_000, offset=number * 50_000)
    answer = kept.read()
    assert LOGS_BYTES_MAX <= len(answer.blobs[0]) < LOGS_BYTES_MAX + 50_000
    assert not answer.end
    assert b"".join(kept.all()) == b"".join(bytes([n]) * 50_000 for n in range(40))
    for number in range(5000):
        kept.print(b"", run="many", job=number)
    assert len(kept.read("many").entries) == 2000


def test_another_start_goes_on_and_deletes_what_nobody_knows(kept: Kept, tmp_path: Path) -> None:
    kept.print(b"one")
    kept.print(b"other", run="r2")
    again = Kept(tmp_path / "elsewhere")
    again.files = LogFiles(tmp_path / "logs", 100 * MIB, lambda run: False, again.said.append)
    again.files.start(["r1"])
    again.print(b"two", offset=3)
    assert again.all() == [b"one", b"two"]
    assert os.listdir(tmp_path / "logs") == ["r1"]


def test_a_run_has_a_part_and_the_oldest_that_is_over_goes_first(tmp_path: Path) -> None:
    kept = Kept(tmp_path, bytes_max=RUN_SHARE * 10_000)
    kept.print(b"x" * 9_000)
    kept.print(b"x" * 9_000, offset=9_000)
    assert [len(part) for part in kept.all()] == [9_000]
    assert kept.read().dropped
    assert "there is too much of it" in kept.said[0]
    kept.open.add("r1")
    for number in range(2, 6):
        kept.print(b"x" * 9_000, run=f"r{number}")
    assert sorted(os.listdir(tmp_path / "logs")) == ["r1", "r3", "r4", "r5"]
    assert kept.read("r2").dropped
    assert len(kept.said) == 1  # once a minute


def test_what_is_forgotten_is_gone(kept: Kept, tmp_path: Path) -> None:
    kept.print(b"one")
    kept.print(b"live", live=True)
    kept.files.drop(["r1", "unknown"])
    assert kept.all() == []
    assert os.listdir(tmp_path / "logs") == []


def test_live_output_is_shown_until_the_attempt_has_ended(kept: Kept, tmp_path: Path) -> None:
    kept.print(b"head")
    kept.print(b"newest", offset=1000, live=True)
    kept.print(b"newer", offset=2000, live=True)
    assert kept.all() == [b"head", b"newer"]
    assert (tmp_path / "logs" / "r1").stat().st_size == HEAD.size + 4
    usage = AttemptUsage("r1", 0, 1, 100.0, 1.5, 0.5, 10, True, 4, 0)
    kept.files.keep("kiwi", Evidence((), (usage,), Blobs([b""])))
    assert kept.all(kinds=1 << STDOUT) == [b"head"]


def test_live_output_is_bounded(kept: Kept) -> None:
    for fence in range(20):
        kept.print(b"x" * MIB, fence=fence, live=True)
    assert kept.read(fence=1).entries == ()
    assert len(kept.read(fence=19).entries) == 1


def test_garbage_is_passed_over(kept: Kept, tmp_path: Path) -> None:
    kept.print(b"one")
    with (tmp_path / "logs" / "r1").open("ab") as file:
        file.write(b"garbage" + MARK + b"\xff" * HEAD.size)
    kept.files.start(["r1"])
    kept.print(b"two", offset=3)
    assert kept.all() == [b"one", b"two"]


def test_a_full_disk_loses_entries_and_says_so(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.print(b"one")
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(data) // 2]))
    kept.print(b"two", offset=3)
    monkeypatch.undo()
    assert "the disk is full" in kept.said[0]
    kept.print(b"three", offset=6)
    assert kept.all() == [b"one", b"three"]
    assert kept.read().dropped


def test_a_name_that_is_no_name_of_a_file_is_not_written(kept: Kept, tmp_path: Path) -> None:
    kept.print(b"one", run="../../etc")
    assert os.listdir(tmp_path / "logs") == []
