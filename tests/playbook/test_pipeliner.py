"""The Pipeliner: what is ready after which outcome, and nothing about runs of before."""

from __future__ import annotations

import pytest

from pypelinin.cluster.events import Drain, Malformed, Received, Send, Stop
from pypelinin.cluster.link import Link
from pypelinin.cluster.pipeliner import Pipeliner, Planner, join_parts
from pypelinin.config import Limits
from pypelinin.errors import BadMessage
from pypelinin.graph import states
from pypelinin.graph.job import Job
from pypelinin.machine import Command
from pypelinin.pipeline import Pipeline
from pypelinin.wire.codec import Blobs, Envelope, Record, pack_record
from pypelinin.wire.definitions import Refusal, Structure
from pypelinin.wire.messages import (
    AddJob,
    AssignedRun,
    AssignRuns,
    JobsSettled,
    JoinPipeliner,
    Leave,
    PipelineSettled,
    Refused,
    Settled,
    SettledRun,
    Welcome,
    Withdraw,
)
from tests.playbook.scene import chain, ints, pack, wide

A, B, C, D = (Job(name) for name in "ABCD")
DIAMOND = Pipeline({A: (B, C), (B, C): D})


def assign(
    *pipelines: Pipeline, assignment: int = 7, known: bytes = b"", cancelled: bool = False
) -> AssignRuns:
    """They are runs 1, 2, ..."""
    runs, blobs = [], []
    for number, pipeline in enumerate(pipelines, 1):
        _, parts = pipeline.compile("r" * 32, "me", pack)
        jobs = len(pipeline.jobs)
        runs.append(AssignedRun(number, assignment, jobs, len(parts), cancelled))
        blobs += [known, *(part[0] for part in parts)]
    return AssignRuns(tuple(runs), Blobs(blobs))


def settled(*jobs: int, statuses: bytes = b"", number: int = 1, assignment: int = 7) -> JobsSettled:
    statuses = statuses or bytes((states.DONE,)) * len(jobs)
    return JobsSettled((Settled(number, assignment, ints(*jobs), statuses),))


def ready(answers: list[Record]) -> list[tuple[int, list[int]]]:
    return [
        (run.number, run.jobs.tolist())
        for answer in answers
        if isinstance(answer, AddJob)
        for run in answer.runs
    ]


def over(answers: list[Record]) -> list[int]:
    return [r.number for a in answers if isinstance(a, PipelineSettled) for r in a.runs]


@pytest.fixture
def planner() -> Planner:
    return Planner(100)


# --- the planner -----------------------------------------------------------------------


def test_jobs_are_ready_when_all_they_wait_for_are_done(planner: Planner) -> None:
    assert ready(planner.handle([assign(DIAMOND)])) == [(1, [0])]
    assert ready(planner.handle([settled(0)])) == [(1, [1, 2])]
    assert planner.handle([settled(2)]) == []
    assert ready(planner.handle([settled(1)])) == [(1, [3])]
    assert planner.handle([settled(3)]) == [PipelineSettled((SettledRun(1, 7),))]
    assert len(planner) == 0


def test_a_failure_ends_what_is_behind_it(planner: Planner) -> None:
    planner.handle([assign(chain("A", "B", "C"))])
    answers = planner.handle([settled(0, statuses=bytes((states.FAILED,)))])
    assert (ready(answers), over(answers)) == ([], [1])


def test_outcomes_of_another_assignment_do_not_count(planner: Planner) -> None:
    planner.handle([assign(chain("A", "B"))])
    assert planner.handle([settled(0, assignment=6)]) == []
    assert planner.handle([settled(0, number=9)]) == []
    assert ready(planner.handle([settled(0)])) == [(1, [1])]


def test_a_run_goes_on_from_what_is_known(planner: Planner) -> None:
    known = bytes((states.DONE, states.DONE, states.OPEN, states.OPEN))
    assert ready(planner.handle([assign(DIAMOND, known=known)])) == [(1, [2])]


def test_a_run_that_is_over_already_is_told_so(planner: Planner) -> None:
    answers = planner.handle([assign(chain("A", "B"), known=bytes((states.DONE, states.DONE)))])
    assert (ready(answers), over(answers)) == ([], [1])


def test_an_assignment_anew_replaces_the_one_before(planner: Planner) -> None:
    planner.handle([assign(chain("A", "B"))])
    assert ready(planner.handle([assign(chain("A", "B"), assignment=8)])) == [(1, [0])]
    assert planner.handle([settled(0)]) == []
    assert ready(planner.handle([settled(0, assignment=8)])) == [(1, [1])]


def test_of_a_withdrawn_run_nothing_more_is_ready(planner: Planner) -> None:
    planner.handle([assign(chain("A", "B"))])
    assert planner.handle([Withdraw(ints(1, 99))]) == []  # A runs
    answers = planner.handle([settled(0)])
    assert (ready(answers), over(answers)) == ([], [1])


def test_a_run_assigned_as_cancelled_hands_out_nothing_new(planner: Planner) -> None:
    """What is ready is named, so that the Router can say what became of it."""
    answers = planner.handle([assign(chain("A", "B"), cancelled=True)])
    assert ready(answers) == [(1, [0])]
    answers = planner.handle([settled(0, statuses=bytes((states.CANCELLED,)))])
    assert (ready(answers), over(answers)) == ([], [1])


def test_one_answer_for_all_runs_of_a_batch(planner: Planner) -> None:
    planner.handle([assign(chain("A", "B"), chain("A", "B"))])
    answers = planner.handle([settled(0, number=1), settled(0, number=2)])
    assert len(answers) == 1
    assert ready(answers) == [(1, [1]), (2, [1])]


def test_large_answers_are_cut() -> None:
    answers = Planner(4).handle([assign(wide(6), wide(3))])
    sizes = [sum(len(run.jobs) for run in a.runs) for a in answers if isinstance(a, AddJob)]
    assert (max(sizes), sum(sizes)) == (4, 9)
    assert [job for number, jobs in ready(answers) for job in jobs if number == 1] == [*range(6)]


def test_many_runs_that_are_over_are_told_in_several_messages() -> None:
    planner = Planner(2)
    planner.handle([assign(*(wide(1) for _ in range(5)))])
    answers = planner.handle([settled(0, number=n) for n in range(1, 6)])
    assert [len(a.runs) for a in answers if isinstance(a, PipelineSettled)] == [2, 2, 1]


def test_parts_make_one_graph() -> None:
    parts = [
        Structure(0, ints(0, 0, 1), ints(0)),
        Structure(2, ints(0, 0), ints()),
        Structure(3, ints(0, 2, 3), ints(1, 2, 0)),
    ]
    graph = join_parts(pack_record(part) for part in parts)
    assert [list(graph.upstreams_of(job)) for job in range(5)] == [[], [0], [], [1, 2], [0]]


def test_a_part_that_is_none_is_a_bad_message() -> None:
    with pytest.raises(BadMessage):
        join_parts(iter([b"nonsense"]))


# --- the daemon ------------------------------------------------------------------------


class Book:
    """A Pipeliner and the Router's side of its link."""

    def __init__(self) -> None:
        self.pipeliner = Pipeliner("p", "i", Limits())
        self.link = Link(0, 0.2)
        self.hellos = 0

    def turn(self, *envelopes: Envelope, now: float = 0.0) -> list[Record]:
        commands = self.pipeliner.handle([Received(b"", e) for e in envelopes], now)
        self.pipeliner.check()
        return self.sent(commands)

    def sent(self, commands: list[Command]) -> list[Record]:
        return [c.envelope.message for c in commands if isinstance(c, Send)]

    def join(self, now: float = 0.0) -> None:
        self.pipeliner.member.leave(now)
        (hello,) = self.turn(now=now)
        assert isinstance(hello, JoinPipeliner)
        self.link = Link(50 + hello.hello, 0.2)
        self.turn(Envelope(Welcome("i", hello.hello, self.link.session, "c", 1, 1)), now=now)


@pytest.fixture
def book() -> Book:
    made = Book()
    made.join()
    return made


def test_it_answers_over_the_link(book: Book) -> None:
    assert ready(book.turn(book.link.send(assign(chain("A", "B"))))) == [(1, [0])]
    assert ready(book.turn(book.link.send(settled(0)))) == [(1, [1])]


def test_a_new_welcome_makes_all_of_before_void(book: Book) -> None:
    book.turn(book.link.send(assign(chain("A", "B"))))
    book.join(1.0)
    assert len(book.pipeliner.planner) == 0
    assert book.turn(book.link.send(settled(0)), now=1.0) == []


def test_a_drain_says_goodbye_and_stops(book: Book) -> None:
    commands = book.pipeliner.handle([Drain()], 0.0)
    assert (book.sent(commands), commands[-1]) == ([Leave()], Stop())


def test_a_router_of_another_version_stops_one_that_never_joined() -> None:
    malformed = Malformed(b"", "version", "Protocol 9.")
    (stop, *_) = Pipeliner("p", "i", Limits()).handle([malformed], 0.0)
    assert isinstance(stop, Stop)
    assert "Protocol 9." in stop.error


def test_a_version_later_on_does_not_stop_it(book: Book) -> None:
    commands = book.pipeliner.handle([Malformed(b"", "version", "Protocol 9.")], 0.0)
    assert not any(isinstance(command, Stop) for command in commands)


def test_a_key_that_is_refused_ends_it() -> None:
    pipeliner = Pipeliner("p", "i", Limits())
    refused = Refused(0, Refusal("key", "It is unknown.", "Ask for one."))
    commands = pipeliner.handle([Received(b"", Envelope(refused))], 0.0)
    assert Stop("It is unknown. Ask for one.") in commands
