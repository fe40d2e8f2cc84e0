"""What jobs printed and used, as text and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pypelinin.cli import evidence
from pypelinin.client.logs import Attempt, LogPart
from pypelinin.wire.definitions import Failure

WHY = Failure("signal", "SIGSEGV", "killed", "", "kiwi")
USED = Attempt(1, 9, "kiwi", False, 100.0, 2.5, 0.5, 10**9, True, 1500, 0)
DIED = Attempt(2, 12, "kiwi", False, 100.0, 0.5, 0.1, 5000, False, 0, 7, WHY)


def part(data: bytes, job: int = 0, attempt: int = 1, stream: str = "stdout", gap: int = 0) -> (
    LogPart
):  # fmt: skip
    return LogPart(job, attempt, attempt, stream, 0, data, gap)


def name_of(number: int) -> str:
    return f"job{number}"


def test_one_job_comes_as_it_is(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    plain = evidence.Plain()
    for one in (part(b"a\xff\n"), part(b"e", stream="stderr"), part(b"b", gap=1200), None):
        plain(one)
    out, err = capfdbinary.readouterr()
    assert out == b"a\xff\nb"
    assert err == b"e\n... 1,200 bytes of stdout are not here ...\n"


def test_another_attempt_is_announced(capsys: pytest.CaptureFixture[str]) -> None:
    plain = evidence.Plain()
    plain(part(b"one"))
    plain(part(b"two", attempt=2))
    assert capsys.readouterr() == ("onetwo", "\n--- attempt 2 ---\n")


def test_lines_of_many_jobs_are_whole_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    prefixed = evidence.Prefixed(name_of)
    prefixed(part(b"one\ntw"))
    prefixed(part(b"other\n", job=1))
    prefixed(part(b"o\nrest"))
    prefixed(part(b"error\n", stream="stderr", gap=5))
    assert capsys.readouterr() == (
        "job0: one\njob1: other\njob0: two\n",
        "job0: ... 5 bytes of stderr are not here ...\njob0: error\n",
    )
    prefixed(None)
    assert capsys.readouterr().out == "job0: rest\n"


def test_a_part_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    evidence.print_part(part("gr\u00fcn\n".encode(), gap=3), "peel")
    assert json.loads(capsys.readouterr().out) == {
        "job": "peel", "number": 0, "attempt": 1, "stream": "stdout", "offset": 0, "left_out": 3,
        "text": "gr\u00fcn\n",
    }  # fmt: skip


def document(*attempts: Attempt, **more: Any) -> dict[str, Any]:
    return {
        "number": 3, "name": "peel", "worker": "Cook", "state": "failed", "after": ["buy"],
        "failure": None, "run": "r1", "stderr": "",
        "attempts": [evidence.attempt_document(attempt) for attempt in attempts], **more,
    }  # fmt: skip


def test_a_job_with_its_attempts() -> None:
    found = document(USED, DIED, stderr="last words")
    assert json.loads(json.dumps(found)) == found
    text = "\n".join(evidence.job_lines(found, "job peel failed"))
    assert "run r1, job peel: failed\nworker Cook, number 3\nafter buy\n" in text
    first, second = (line for line in text.splitlines() if "kiwi" in line)
    assert "2.50 s" in first
    assert "1.00 GB" in first
    assert first.endswith("done")
    assert "up to " in second
    assert second.endswith("SIGSEGV")
    assert text.endswith("\njob peel failed\n\nthe end of its stderr:\nlast words")


def test_the_failure_is_the_jobs_or_that_of_its_last_attempt() -> None:
    final = {"type": "Timeout"}
    assert evidence.known_failure(document(DIED, failure=final)) == final
    known = evidence.known_failure(document(USED, DIED, USED))
    assert known is not None
    assert known["type"] == "SIGSEGV"
    assert evidence.known_failure(document(USED)) is None


def test_of_who_was_too_quick_it_is_said() -> None:
    lines = list(evidence.job_lines(document(state="done", after=[]), ""))
    assert "less than a millisecond" in lines[-1]
    running = Attempt(1, 9, "kiwi", True)
    lines = list(evidence.job_lines(document(running, state="running", after=[]), ""))
    assert lines[-1].endswith("running")
    assert "?" in lines[-1]
