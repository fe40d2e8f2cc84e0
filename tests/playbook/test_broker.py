"""The Broker: lots onto slots, outcomes to the Router, blocked and dead slots, the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from pypelinin.cluster.broker import Broker
from pypelinin.cluster.events import Drain, Malformed, Received, Say, Send, Stop
from pypelinin.cluster.link import Link
from pypelinin.cluster.pool import AGAIN_S, BAD_STARTS_MAX, RESTART_S
from pypelinin.cluster.slots import (
    Configured,
    KillSlot,
    RecallLot,
    RunLot,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
    StartSlot,
)
from pypelinin.config import Limits
from pypelinin.graph import states
from pypelinin.machine import Command, Event
from pypelinin.wire.codec import Blobs, Envelope, Record, unpack_record
from pypelinin.wire.definitions import Capacity, Failure, Refusal
from pypelinin.wire.messages import (
    Configuration,
    DropJobs,
    ForgetRuns,
    GetConfiguration,
    GetJob,
    HeldLot,
    JobFailure,
    JobsFinished,
    JobsOut,
    JobsReturned,
    JoinBroker,
    Leave,
    Lot,
    Progress,
    Refused,
    RunForSlot,
    Welcome,
)
from tests.playbook.scene import ints, run_id

ERROR = Failure("exception", "E", "text")
KILLED = Failure("signal", "SIGKILL", "killed")
CONFIGURATION = Configuration(1, "c", 1, "1", "", {"store": {"x": 1}}, 0.0)


def lot(fence: int, *jobs: int, run: int = 1, worker: str = "A") -> Lot:
    return Lot(fence, worker, ints(*[run] * len(jobs)), ints(*jobs))


class Book:
    """A Broker, its slots and its Router by hand."""

    def __init__(self, slots: int = 2, limits: Limits | None = None) -> None:
        self.broker = Broker("n", "i", Capacity(slots), {"gpu": "yes"}, limits or Limits(), "1")
        self.link = Link(0, 0.2)
        self.now = 0.0
        self.sent: list[Record] = []
        self.deaf = False

    def turn(self, *events: Event) -> list[Command]:
        """The commands but those to send; what was sent is in `sent`."""
        commands = self.broker.handle(list(events), self.now)
        self.broker.check()
        for command in commands:
            if isinstance(command, Send) and not self.deaf:
                self._take(command.envelope)
        return [command for command in commands if not isinstance(command, Send)]

    def _take(self, envelope: Envelope) -> None:
        if not envelope.session:
            self.sent.append(envelope.message)
        elif envelope.session == self.link.session:
            message, _ = self.link.receive(envelope, self.now)
            if message is not None:
                self.sent.append(message)

    def tick(self, seconds: float) -> list[Command]:
        self.now += seconds
        return self.turn()

    def hear(self, message: Record) -> list[Command]:
        return self.turn(Received(b"", Envelope(message)))

    def tell(self, message: Record) -> list[Command]:
        return self.turn(Received(b"", self.link.send(message)))

    def acknowledge(self) -> list[Command]:
        """The Router has committed all it received."""
        self.link.acknowledge(self.link.received)
        return self.turn(Received(b"", self.link.ping()))

    def mail(self) -> list[Record]:
        sent, self.sent = self.sent, []
        return sent

    def start(self) -> None:
        """Configured, all slots up, welcomed."""
        self.turn()
        self.hear(CONFIGURATION)
        self.turn(SlotStarted(0, ("A", "B")))
        for slot in range(1, self.broker.bench.pool.most):
            self.turn(SlotStarted(slot, ("A", "B")))
        self.welcome()
        self.mail()

    def hello(self) -> JoinBroker:
        return [m for m in self.sent if isinstance(m, JoinBroker)][-1]

    def rejoin(self) -> JoinBroker:
        self.broker.member.leave(self.now)
        self.turn()
        return self.hello()

    def welcome(self, *drop: int, epoch: int = 1) -> list[Command]:
        number = self.hello().hello
        self.link = Link(1000 + number, 0.2)
        return self.hear(Welcome("i", number, self.link.session, "c", epoch, 5, drop))

    def give(self, *lots: Lot, blobs: Sequence[bytes] = ()) -> list[RunLot]:
        """Lots of run 1; returns what the slots are to run now."""
        header = (RunForSlot(1, run_id(1)),)
        message = JobsOut(1, 9, header, lots, Blobs([b"header", *blobs]))
        return runs(self.tell(message))

    def end(self, slot: int, statuses: bytes, *failed: int, each_s: float = 1.0) -> list[Command]:
        failures = tuple(JobFailure(job, ERROR) for job in failed)
        return self.turn(SlotProgressed(slot, statuses, failures, each_s * len(statuses)))


def runs(commands: list[Command]) -> list[RunLot]:
    return [command for command in commands if isinstance(command, RunLot)]


def kinds(commands: Sequence[object]) -> list[type]:
    return [type(command) for command in commands if not isinstance(command, Say)]


def told(messages: list[Record]) -> list[Progress]:
    return [lot for m in messages if isinstance(m, JobsFinished) for lot in m.lots]


def returned(messages: list[Record]) -> list[tuple[int, int]]:
    return [(r.fence, r.start) for m in messages if isinstance(m, JobsReturned) for r in m.lots]


def asked(messages: list[Record]) -> list[GetJob]:
    return [m for m in messages if isinstance(m, GetJob)]


def held(hello: JoinBroker) -> list[HeldLot]:
    return [unpack_record(HeldLot, packed) for packed in hello.held]


@pytest.fixture
def book() -> Book:
    made = Book()
    made.start()
    return made


def line(fence: int, *jobs: int) -> Lot:
    """Each job follows the one before."""
    return replace(lot(fence, *jobs), follows=b"\0" + b"\1" * (len(jobs) - 1))


# --- the beginning ---------------------------------------------------------------------


def test_it_asks_for_the_configuration_until_it_has_it() -> None:
    book = Book()
    assert book.turn() == []
    assert kinds(book.mail()) == [GetConfiguration]
    book.tick(0.9)
    assert book.mail() == []
    book.tick(0.1)
    assert kinds(book.mail()) == [GetConfiguration]
    commands = book.hear(CONFIGURATION)
    assert Configured({"store": {"x": 1}}) in commands
    assert book.hear(CONFIGURATION) == []


def test_one_slot_imports_first_and_says_what_the_node_offers() -> None:
    book = Book(slots=3)
    assert [c for c in book.hear(CONFIGURATION) if isinstance(c, StartSlot)] == [StartSlot(0)]
    assert not any(isinstance(m, JoinBroker) for m in book.sent)
    commands = book.turn(SlotStarted(0, ("A", "B")))
    assert commands == [StartSlot(1), StartSlot(2)]
    hello = book.hello()
    assert (hello.workers, hello.labels, hello.offer.cores, hello.ahead) == (
        ("A", "B"), {"gpu": "yes"}, 3, 3,
    )  # fmt: skip
    assert hello.held == ()


@pytest.mark.parametrize(
    "event",
    [
        SlotStarted(0, (), Failure("import", "ImportError", "no module x")),
        SlotExited(0, Failure("signal", "SIGSEGV", "no module x"), 0),
    ],
)
def test_workers_that_cannot_be_imported_end_it(event: Event) -> None:
    book = Book()
    book.hear(CONFIGURATION)
    (stop,) = (c for c in book.turn(event) if isinstance(c, Stop))
    assert "no module x" in stop.error


def test_a_first_slot_without_a_process_is_tried_again() -> None:
    """There was none to be had at that moment."""
    full = Failure("exit", "OSError", "no process could be started for the slot: try again")
    book = Book()
    book.hear(CONFIGURATION)
    for _ in range(BAD_STARTS_MAX - 1):
        assert [type(c) for c in book.turn(SlotStarted(0, (), full))] == [Say]
        assert StartSlot(0) in book.tick(AGAIN_S)
    (stop,) = (c for c in book.turn(SlotStarted(0, (), full)) if isinstance(c, Stop))
    assert "try again" in stop.error


@pytest.mark.parametrize(
    "event",
    [
        Received(b"", Envelope(Refused(1, Refusal("version", "Router too old.", "Update.")))),
        Malformed(b"", "version", "Router too old."),
    ],
)
def test_a_router_it_cannot_work_with_ends_it(event: Event) -> None:
    (stop, *_) = Book().turn(event)
    assert isinstance(stop, Stop)
    assert "Router too old." in stop.error


def test_a_role_that_may_not_join_ends_it() -> None:
    """It was told the configuration, which every role may ask for."""
    book = Book()
    book.hear(CONFIGURATION)
    (stop, *_) = book.hear(Refused(0, Refusal("role", "Your key may not run jobs.")))
    assert isinstance(stop, Stop)


def test_a_key_that_is_revoked_later_does_not_end_it() -> None:
    book = Book()
    book.start()
    commands = book.hear(Refused(0, Refusal("key", "Your key is not valid any more.")))
    assert [c.text for c in commands if isinstance(c, Say)] == ["Your key is not valid any more. "]
    assert not any(isinstance(c, Stop) for c in commands)


def test_a_clock_that_is_off_is_said() -> None:
    book = Book()
    commands = book.hear(Configuration(1, "c", 1, "1", "", {}, 60.0))
    assert any(isinstance(c, Say) and "-60 s" in c.text for c in commands)


# --- feeding ---------------------------------------------------------------------------


def test_lots_go_to_free_slots_and_wait_for_others(book: Book) -> None:
    first, second = book.give(lot(10, 0), lot(20, 1), lot(30, 2))
    assert [(r.slot, r.fence, r.jobs.tolist()) for r in (first, second)] == [
        (0, 10, [0]),
        (1, 20, [1]),
    ]
    (third,) = runs(book.end(1, b"\1"))
    assert (third.slot, third.fence) == (1, 30)


def test_a_slot_gets_header_worker_and_payloads(book: Book) -> None:
    (run,) = book.give(lot(10, 4, 5, worker="B"), blobs=[b"payloads"])
    assert (run.worker, run.payloads, run.skip) == ("B", b"payloads", 0)
    assert run.headers == {1: (run_id(1), b"header")}


def test_forgotten_runs_have_no_headers_any_more(book: Book) -> None:
    book.give(lot(10, 0))
    book.tell(ForgetRuns(ints(1, 99)))
    assert book.broker.bench.runs == {}


# --- progress --------------------------------------------------------------------------


def test_each_outcome_is_told_once_and_in_order(book: Book) -> None:
    book.give(lot(10, 0, 1, 2))
    book.mail()
    book.end(0, b"\1")
    assert told(book.mail()) == [Progress(10, 0, b"\1")]
    book.end(0, b"\2\1", 0)
    assert told(book.mail()) == [Progress(10, 1, b"\2\1", (JobFailure(1, ERROR),))]
    book.turn()
    assert told(book.mail()) == []


def test_a_lot_stays_until_its_last_outcome_is_acknowledged(book: Book) -> None:
    book.give(lot(10, 0))
    book.end(0, b"\1")
    assert list(book.broker.bench.lots) == [10]
    book.acknowledge()
    assert book.broker.bench.lots == {}


def test_measured_short_jobs_are_asked_for_many_at_a_time(book: Book) -> None:
    book.give(lot(10, 0), lot(20, 1, worker="B"))
    book.end(0, b"\1", each_s=0.0001)
    (question,) = asked(book.mail())
    assert (question.offer.cores, question.ahead, question.pace) == (2, 2, {"A": 100})
    book.end(1, b"\1", each_s=5.0)
    assert asked(book.mail()) == []  # B is long: nothing new to say


def test_one_slow_job_is_enough_to_be_long(book: Book) -> None:
    book.give(lot(10, 0, 1, 2))
    book.end(0, b"\1", each_s=0.0001)
    assert asked(book.mail())[-1].pace == {"A": 100}
    book.end(0, b"\1", each_s=0.05)
    assert asked(book.mail())[-1].pace == {}


def test_the_pace_has_a_bound(book: Book) -> None:
    book.give(lot(10, 0))
    book.end(0, b"\1", each_s=0.0)
    assert asked(book.mail())[-1].pace == {"A": Limits().lot_jobs_max}


# --- blocked slots ---------------------------------------------------------------------


def test_a_blocked_slot_gives_the_rest_of_its_lot_back(book: Book) -> None:
    book.give(lot(10, 0, 1, 2))
    assert book.broker.deadline() == pytest.approx(0.1)
    assert book.tick(0.09) == []
    assert book.tick(0.02) == [RecallLot(0)]
    assert book.tick(0.1) == []  # once
    book.mail()
    book.turn(SlotRecalled(0, 2))
    assert returned(book.mail()) == [(10, 1)]
    book.end(0, b"\1")
    assert told(book.mail()) == [Progress(10, 0, b"\1")]
    book.acknowledge()
    assert book.broker.bench.lots == {}
    assert book.broker.bench.pool.idle == 2


def test_a_blocked_slot_with_one_job_has_nothing_to_give_back(book: Book) -> None:
    book.give(lot(10, 0))
    assert book.tick(1.0) == []


def test_if_the_job_ended_meanwhile_the_slot_is_free(book: Book) -> None:
    book.give(lot(10, 0, 1))
    book.tick(0.2)
    book.end(0, b"\1")
    book.mail()
    book.turn(SlotRecalled(0, 1))
    assert returned(book.mail()) == [(10, 1)]
    assert book.broker.bench.pool.idle == 2


def test_a_recall_that_came_too_late_changes_nothing(book: Book) -> None:
    book.give(lot(10, 0, 1))
    book.tick(0.2)
    book.turn(SlotRecalled(0, 0))
    assert returned(book.mail()) == []
    book.end(0, b"\1\1")
    assert book.broker.bench.pool.idle == 2


def test_with_all_slots_busy_and_one_blocked_what_waits_goes_back() -> None:
    book = Book(slots=1)
    book.start()
    book.give(lot(10, 0), lot(20, 1), lot(30, 2))
    book.mail()
    book.tick(0.2)
    sent = book.mail()
    assert returned(sent) == [(20, 0), (30, 0)]
    assert [(q.offer.cores, q.ahead) for q in asked(sent)] == [(1, 0)]
    assert runs(book.end(0, b"\1")) == []
    assert [(q.offer.cores, q.ahead) for q in asked(book.mail())] == [(1, 1)]


# --- dropping --------------------------------------------------------------------------


def test_dropped_lots_are_not_begun_and_running_ones_recalled() -> None:
    book = Book(slots=1)
    book.start()
    book.give(lot(10, 0, 1), lot(20, 2))
    book.mail()
    assert book.tell(DropJobs((10, 20, 99))) == [RecallLot(0)]
    assert returned(book.mail()) == [(20, 0)]
    book.turn(SlotRecalled(0, 1))
    assert returned(book.mail()) == [(10, 1)]
    assert runs(book.end(0, b"\1")) == []


# --- dying slots -----------------------------------------------------------------------


def test_the_death_of_a_slot_blames_only_the_job_that_ran(book: Book) -> None:
    book.give(lot(10, 0, 1, 2, 3), blobs=[b"payloads"])
    book.end(0, b"\1")
    book.mail()
    commands = book.turn(SlotExited(0, KILLED, 2))
    assert told(book.mail()) == [Progress(10, 1, b"\2", (JobFailure(1, KILLED),))]
    (again,) = runs(commands)
    assert (again.slot, again.fence, again.skip, again.jobs.tolist(), again.payloads) == (
        1, 12, 2, [2, 3], b"payloads",
    )  # fmt: skip
    assert StartSlot(0) in commands


def test_a_slot_that_died_between_jobs_blames_nobody(book: Book) -> None:
    book.give(lot(10, 0, 1))
    book.mail()
    (again,) = runs(book.turn(SlotExited(0, KILLED, 2)))
    assert (again.fence, again.jobs.tolist()) == (10, [0, 1])
    assert told(book.mail()) == []


def test_a_slot_that_dies_of_its_own_is_started_again_later(book: Book) -> None:
    book.turn(SlotExited(0, KILLED, 0))
    assert book.broker.bench.pool.idle == 1
    assert book.tick(RESTART_S / 2) == []
    assert book.tick(RESTART_S) == [StartSlot(0)]
    book.turn(SlotStarted(0, ("A", "B")))
    assert book.broker.bench.pool.idle == 2


def test_a_slot_that_cannot_start_is_tried_again(book: Book) -> None:
    book.turn(SlotExited(0, KILLED, 0))
    book.tick(1.0)
    book.turn(SlotStarted(0, (), ERROR))
    assert book.tick(0.9) == []
    assert book.tick(0.1) == [StartSlot(0)]


def test_if_no_slot_can_start_what_waits_fails() -> None:
    book = Book(slots=1)
    book.start()
    book.turn(SlotExited(0, KILLED, 0))
    book.give(lot(10, 0, 1), lot(20, 2))
    book.tick(1.0)
    book.mail()
    book.turn(SlotStarted(0, (), ERROR))
    assert [(p.fence, p.statuses) for p in told(book.mail())] == [(10, b"\2\2"), (20, b"\2")]


# --- joining again ---------------------------------------------------------------------


def test_a_hello_tells_everything_that_is_not_safe(book: Book) -> None:
    book.give(lot(10, 0, 1), lot(20, 2), lot(30, 3))
    book.end(0, b"\2", 0)
    book.end(1, b"\1")
    assert [
        (h.fence, h.basis_epoch, h.basis_lsn, h.jobs.tolist(), h.statuses, len(h.failures))
        for h in held(book.rejoin())
    ] == [(10, 1, 9, [0, 1], b"\2", 1), (20, 1, 9, [2], b"\1", 0), (30, 1, 9, [3], b"", 0)]


def test_what_is_safe_is_not_in_a_hello(book: Book) -> None:
    book.give(lot(10, 0), lot(20, 1))
    book.end(0, b"\1")
    book.acknowledge()
    assert [h.fence for h in held(book.rejoin())] == [20]


def test_after_a_welcome_only_what_is_new_since_the_hello_is_told(book: Book) -> None:
    book.give(lot(10, 0, 1))
    book.end(0, b"\1")
    book.rejoin()
    book.end(0, b"\1")  # while there is no link
    book.mail()
    assert [h.statuses for h in held(book.rejoin())] == [b"\1\1"]
    book.welcome(epoch=2)
    assert told(book.mail()) == []
    book.acknowledge()
    assert book.broker.bench.lots == {}


def test_an_outcome_between_hello_and_welcome_is_told_on_the_link(book: Book) -> None:
    book.give(lot(10, 0, 1))
    book.rejoin()
    book.end(0, b"\1")
    book.welcome(epoch=2)
    assert told(book.mail()) == [Progress(10, 0, b"\1")]


def test_a_lot_told_finished_in_a_hello_goes_when_the_link_is_acknowledged(book: Book) -> None:
    book.give(lot(10, 0))
    book.end(0, b"\1")
    book.rejoin()
    book.welcome(epoch=2)
    assert list(book.broker.bench.lots) == [10]
    book.acknowledge()
    assert book.broker.bench.lots == {}


def test_void_lots_are_killed_and_never_told_of(book: Book) -> None:
    book.give(lot(10, 0), lot(20, 1), lot(30, 2))
    book.rejoin()
    commands = book.welcome(10, 30, epoch=2)
    assert [c for c in commands if isinstance(c, KillSlot)] == [KillSlot(0)]
    assert list(book.broker.bench.lots) == [20]
    book.mail()
    book.end(0, b"\1")  # it was on its way
    book.turn(SlotExited(0, KILLED, 0))
    assert told(book.mail()) == []
    assert list(book.broker.bench.lots) == [20]


def test_a_lot_that_was_given_back_is_given_back_again(book: Book) -> None:
    book.give(lot(10, 0, 1, 2))
    book.tick(0.2)
    book.rejoin()
    book.turn(SlotRecalled(0, 2))
    book.mail()
    book.rejoin()
    book.welcome(epoch=2)
    assert returned(book.mail()) == [(10, 1)]


def test_jobs_go_on_while_there_is_no_router(book: Book) -> None:
    book.give(lot(10, 0), lot(20, 1), lot(30, 2))
    book.rejoin()
    assert not book.broker.member.joined
    assert [run.fence for run in runs(book.end(0, b"\1"))] == [30]


# --- the end ---------------------------------------------------------------------------


def test_a_drain_finishes_what_runs_and_gives_the_rest_back() -> None:
    book = Book(slots=1)
    book.start()
    book.give(lot(10, 0, 1), lot(20, 2))
    book.mail()
    assert kinds(book.turn(Drain())) == [RecallLot]
    sent = book.mail()
    assert returned(sent) == [(20, 0)]
    assert [(q.offer.cores, q.ahead) for q in asked(sent)] == [(0, 0)]
    book.turn(SlotRecalled(0, 1))
    assert kinds(book.end(0, b"\1")) == []
    assert Leave() not in book.mail()  # not safe yet
    assert kinds(book.acknowledge()) == []
    assert book.mail() == [Leave()]
    assert kinds(book.acknowledge()) == [Stop]


def test_what_comes_while_draining_goes_back(book: Book) -> None:
    book.give(lot(10, 0))
    book.turn(Drain())
    book.mail()
    assert book.give(lot(20, 1)) == []
    assert returned(book.mail()) == [(20, 0)]


def test_a_second_drain_stops_at_once(book: Book) -> None:
    book.give(lot(10, 0))
    book.turn(Drain())
    book.mail()
    assert Stop in kinds(book.turn(Drain()))
    assert book.mail()[-1] == Leave()


def test_a_drain_with_nothing_and_nobody_stops_at_once() -> None:
    book = Book()
    assert Stop in kinds(book.turn(Drain()))


def test_a_drain_does_not_wait_for_ever_for_a_router(book: Book) -> None:
    book.give(lot(10, 0))
    book.end(0, b"\1")
    assert kinds(book.turn(Drain())) == []
    book.deaf = True
    grace = Limits().kill_grace_s
    assert Stop not in kinds(book.tick(grace - 0.1))
    commands = book.tick(0.2)
    assert Stop in kinds(commands)
    assert any(isinstance(c, Say) and c.level == "warning" for c in commands)


def test_a_slot_that_dies_while_draining_is_not_started_again(book: Book) -> None:
    book.give(lot(10, 0, 1))
    book.turn(Drain())
    book.mail()
    commands = book.turn(SlotExited(0, KILLED, 1))
    assert not any(isinstance(c, (StartSlot, RunLot)) for c in commands)
    sent = book.mail()
    assert ([p.statuses for p in told(sent)], returned(sent)) == ([b"\2"], [(10, 1)])


# --- lines: jobs that follow one another -------------------------------------------------------

UNBEGUN = bytes((states.UNBEGUN,))


def test_a_slot_is_told_what_follows(book: Book) -> None:
    (command,) = book.give(line(10, 0, 1, 2))
    assert command.follows == b"\0\1\1"


def test_what_a_slot_left_out_is_told(book: Book) -> None:
    book.give(line(10, 0, 1, 2))
    book.end(0, b"\1\2" + UNBEGUN, 1)
    assert [lot.statuses for lot in told(book.mail())] == [b"\1\2" + UNBEGUN]


def test_a_slot_cannot_leave_out_what_follows_nothing(book: Book) -> None:
    book.give(lot(10, 0, 1))
    book.end(0, UNBEGUN * 2)
    assert [lot.statuses for lot in told(book.mail())] == [b"\2\2"]
    (command,) = book.give(line(20, 2, 3))
    book.end(command.slot, UNBEGUN * 2)
    assert [lot.statuses for lot in told(book.mail())] == [b"\2" + UNBEGUN]


def test_with_the_job_that_killed_the_slot_ends_its_line(book: Book) -> None:
    book.give(line(10, 0, 1, 2))
    book.end(0, b"\1")
    book.turn(SlotExited(0, KILLED, 1))
    assert [lot.statuses for lot in told(book.mail())] == [b"\1", b"\2" + UNBEGUN]
    assert book.broker.ledger.granted == {}


def test_behind_a_line_that_broke_the_lot_goes_on(book: Book) -> None:
    both = replace(lot(10, 0, 1, 2, 3), follows=b"\0\1\0\1")
    book.give(both)
    (again,) = runs(book.turn(SlotExited(0, KILLED, 3)))
    assert (again.jobs.tolist(), again.follows, again.fence) == ([2, 3], b"\0\1", 12)


def test_a_slot_that_died_behind_a_failure_leaves_its_line_out(book: Book) -> None:
    book.give(line(10, 0, 1, 2))
    book.end(0, b"\2", 0)
    book.turn(SlotExited(0, KILLED, 2))  # it took no token any more
    assert b"".join(lot.statuses for lot in told(book.mail())) == b"\2" + UNBEGUN * 2


def test_a_line_whose_slot_cannot_start_fails_at_its_head_only(book: Book) -> None:
    book = Book(slots=1)
    book.start()
    book.give(line(10, 0, 1, 2))
    book.turn(SlotExited(0, KILLED, 3))
    book.tick(RESTART_S)
    book.turn(SlotStarted(0, (), ERROR))
    assert b"".join(lot.statuses for lot in told(book.mail())) == b"\2" + UNBEGUN * 2


def test_a_recalled_line_ends_where_it_was_recalled(book: Book) -> None:
    book.give(line(10, 0, 1, 2))
    book.turn(SlotRecalled(0, 1))
    book.end(0, b"\2" + UNBEGUN, 0)
    mail = book.mail()
    assert b"".join(lot.statuses for lot in told(mail)) == b"\2" + UNBEGUN
    assert returned(mail) == [(10, 2)]


def test_a_hello_tells_what_follows(book: Book) -> None:
    book.give(line(10, 0, 1, 2))
    (lot_,) = held(book.rejoin())
    assert lot_.follows == b"\0\1\1"


@pytest.mark.parametrize("follows", [b"\1\1", b"\0", b"\0\1\1", b"\0\2"])
def test_a_lot_whose_arrays_do_not_fit_is_not_taken(book: Book, follows: bytes) -> None:
    assert book.give(replace(lot(10, 0, 1), follows=follows)) == []
    assert book.broker.bench.lots == {}
