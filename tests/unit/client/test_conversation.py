"""Runs that were compiled elsewhere are sent, and their outcomes come as they are known."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from pypelinin.client.conversation import Conversation
from pypelinin.client.results import Outcome, error_of, raised
from pypelinin.config import Limits
from pypelinin.errors import DefinitionError, Unreachable
from pypelinin.graph import states
from pypelinin.graph.job import Job
from pypelinin.local import LocalPort
from pypelinin.pipeline import Pipeline
from pypelinin.runtime.functions import Functions
from pypelinin.runtime.values import pack_value, unpack_value

pytestmark = pytest.mark.timeout(60)
WAIT_S = 20.0
NUMBERS = count()
Part = tuple[bytes, bytes]


def embedded(directory: Path | None = None) -> Conversation:
    port = LocalPort(1, directory=directory)
    return Conversation(port=port, limits=port.limits)


@pytest.fixture(scope="module")
def talk() -> Iterator[Conversation]:
    with embedded() as made:
        yield made


def compiled(*jobs: Job, run: str = "") -> tuple[str, bytes, list[Part]]:
    run = run or f"{next(NUMBERS):032}"
    return run, *Pipeline(jobs).compile(run, "me", pack_value, Functions())


def submit(talk: Conversation, *jobs: Job) -> str:
    run, header, parts = compiled(*jobs)
    talk.submit_compiled(run, header, parts)
    return run


def converse_until(talk: Conversation, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        talk.converse(0.05)


def gather(talk: Conversation, *jobs: tuple[str, int]) -> dict[tuple[str, int], Outcome]:
    """The outcomes of these (run, job)s, and all others that come before."""
    found: dict[tuple[str, int], Outcome] = {}

    def complete() -> bool:
        for run, outcomes in talk.take_outcomes():
            found.update({(run, job): outcome for job, outcome in outcomes.items()})
        return found.keys() >= set(jobs)

    converse_until(talk, complete)
    return found


def through(gate: str) -> str:
    """Tell that it runs, and end when the gate is open."""
    import time
    from pathlib import Path

    Path(gate + ".began").touch()
    until = time.monotonic() + 60
    while not Path(gate).exists() and time.monotonic() < until:
        time.sleep(0.005)
    return "through"


def fail(text: str) -> None:
    raise KeyError(text)


# --- outcomes ---------------------------------------------------------------------------------


def test_outcomes_come_each_with_its_result(talk: Conversation) -> None:
    run = submit(talk, Job(abs, args=(-1,)), Job(abs, args=(-2,)))
    found = gather(talk, (run, 0), (run, 1))
    assert [unpack_value(found[run, job].result) for job in (0, 1)] == [1, 2]
    assert {outcome.status for outcome in found.values()} == {states.DONE}
    assert list(talk.take_outcomes()) == []


def test_a_failure_comes_with_its_exception(talk: Conversation) -> None:
    run = submit(talk, Job(fail, args=("missing",), name="mine"))
    outcome = gather(talk, (run, 0))[run, 0]
    assert isinstance(raised(outcome), KeyError)
    assert "Job 'mine'" in str(error_of(run, "mine", outcome))
    assert "KeyError: 'missing'" in str(error_of(run, "mine", outcome))


def test_many_runs_are_followed_at_once(talk: Conversation) -> None:
    runs = [submit(talk, Job(abs, args=(-i,))) for i in range(50)]
    found = gather(talk, *((run, 0) for run in runs))
    assert [unpack_value(found[run, 0].result) for run in runs] == list(range(50))


def test_outcomes_come_while_other_jobs_of_the_run_go_on(
    talk: Conversation, tmp_path: Path
) -> None:
    quick = Job(abs, args=(-1,))
    slow = Job(through, args=(str(tmp_path / "gate"),), after=quick)
    run = submit(talk, slow)
    assert (run, 1) not in gather(talk, (run, 0))
    (tmp_path / "gate").touch()
    assert gather(talk, (run, 1))[run, 1].status == states.DONE


def test_of_a_forgotten_run_nothing_comes(talk: Conversation, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    forgotten = submit(talk, Job(through, args=(str(gate),)))
    converse_until(talk, (tmp_path / "gate.began").exists)
    talk.forget(forgotten)
    gate.touch()
    kept = submit(talk, Job(abs, args=(-1,)))
    assert (forgotten, 0) not in gather(talk, (kept, 0))


def test_outcomes_of_before_a_restart_are_told_again(tmp_path: Path) -> None:
    run, header, parts = compiled(Job(abs, args=(-7,)))
    for _ in range(2):
        with embedded(tmp_path) as talk:
            talk.submit_compiled(run, header, parts)
            assert unpack_value(gather(talk, (run, 0))[run, 0].result) == 7


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["header", "structure", "details"])
def test_bytes_that_are_no_run_are_refused_and_others_go_on(
    talk: Conversation, broken: str
) -> None:
    run, header, [(structure, details)] = compiled(Job(abs, args=(-1,)))
    part = (b"junk" if broken == "structure" else structure,
            b"junk" if broken == "details" else details)  # fmt: skip
    talk.submit_compiled(run, b"junk" if broken == "header" else header, [part])
    converse_until(talk, lambda: run in talk.refused)
    assert isinstance(talk.refused[run], DefinitionError)
    assert "not valid" in str(talk.refused.pop(run))
    talk.forget(run)
    other = submit(talk, Job(abs, args=(-1,)))
    assert (other, 0) in gather(talk, (other, 0))
    assert talk.refused == {}


def test_another_run_of_the_same_name_is_refused(talk: Conversation) -> None:
    run = submit(talk, Job(abs, args=(-1,), name="one"))
    gather(talk, (run, 0))
    _, header, parts = compiled(Job(abs, args=(-1,), name="another"), run=run)
    talk.submit_compiled(run, header, parts)
    converse_until(talk, lambda: run in talk.refused)
    assert "exists with other content" in str(talk.refused.pop(run))


# --- cancelling -------------------------------------------------------------------------------


def test_jobs_are_cancelled_whether_they_run_or_wait(talk: Conversation, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    running, waiting = Job(through, args=(str(gate),)), Job(abs, args=(-1,))
    run = submit(talk, running, waiting)
    converse_until(talk, (tmp_path / "gate.began").exists)
    behind = submit(talk, Job(abs, args=(-5,)))
    talk.cancel_jobs(run, [0, 1])
    found = gather(talk, (run, 0), (run, 1), (behind, 0))
    assert [found[run, job].status for job in (0, 1)] == [states.CANCELLED] * 2
    assert found[behind, 0].status == states.DONE, "the slot is free again"


def test_cancelling_what_there_is_not_changes_nothing(talk: Conversation) -> None:
    ended = submit(talk, Job(abs, args=(-1,)))
    gather(talk, (ended, 0))
    talk.cancel_jobs("no such run", [0])
    talk.cancel_jobs(ended, [0, 1_000_000])
    other = submit(talk, Job(abs, args=(-1,)))
    found = gather(talk, (other, 0))
    assert {found.get((ended, job), found[other, 0]).status for job in (0, 1)} == {states.DONE}


# --- time -------------------------------------------------------------------------------------


def test_it_sleeps_no_longer_than_it_may(talk: Conversation) -> None:
    began = time.monotonic()
    talk.converse(0.02)
    assert time.monotonic() - began < 10


def test_wake_ends_the_sleep_from_any_thread() -> None:
    with embedded() as talk:
        began = time.monotonic()
        thread = threading.Thread(target=talk.wake)
        thread.start()
        talk.converse(30.0)
        thread.join()
        assert time.monotonic() - began < 20


def test_a_router_that_is_silent_is_told_in_time() -> None:
    limits = Limits(client_deadline_s=0.2)
    with Conversation("tcp://127.0.0.1:1", limits=limits) as talk:
        run, header, parts = compiled(Job(abs, args=(-1,)))
        talk.submit_compiled(run, header, parts)
        with pytest.raises(Unreachable, match=r"tcp://127\.0\.0\.1:1"):
            converse_until(talk, lambda: False)


def test_a_router_that_falls_silent_is_told_while_a_run_is_watched() -> None:
    limits = Limits(client_silence_s=0.2, client_deadline_s=50.0)
    with Conversation("tcp://127.0.0.1:1", limits=limits) as talk:
        talk.converse(0.3)  # nobody is waited for: silence means nothing
        submit(talk, Job(abs, args=(-1,)))
        began = time.monotonic()
        with pytest.raises(Unreachable):
            converse_until(talk, lambda: False)
        assert time.monotonic() - began >= 0.2
