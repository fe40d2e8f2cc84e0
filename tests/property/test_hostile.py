"""Machines are total: no message of a peer makes `handle` raise or breaks an invariant."""

from __future__ import annotations

from random import Random

import pytest

from pypelinin.cluster.broker import Broker
from pypelinin.cluster.client import Client
from pypelinin.cluster.events import Received, Send
from pypelinin.cluster.link import Link
from pypelinin.cluster.pipeliner import Pipeliner
from pypelinin.cluster.slots import (
    KillSlot,
    RecallLot,
    RunLot,
    SlotExited,
    SlotProgressed,
    SlotRecalled,
    SlotStarted,
    StartSlot,
)
from pypelinin.cluster.state import State
from pypelinin.config import Limits
from pypelinin.machine import Command, Event
from pypelinin.wire.codec import Envelope, Record
from pypelinin.wire.definitions import Capacity, Failure
from pypelinin.wire.messages import (
    MESSAGES,
    AddJob,
    AddPipeline,
    AssignRuns,
    Cancel,
    Configuration,
    DropJobs,
    ForgetRuns,
    GetConfiguration,
    GetDefinition,
    GetJob,
    GetPipelines,
    GetStatus,
    JobsFinished,
    JobsOut,
    JobsReturned,
    JobsSettled,
    JoinBroker,
    JoinPipeliner,
    PipelineAdded,
    PipelineFinished,
    PipelineSettled,
    Rejoin,
    Status,
    Welcome,
    Withdraw,
)
from pypelinin.wire.rows import pack_row, unpack_row
from tests.playbook.scene import Node, Planner, Scene, chain, wide
from tests.property.nonsense import Nonsense

CHUNK = 20
FROM_NODES: tuple[type[Record], ...] = (JobsFinished, JobsFinished, JobsReturned, GetJob)
FROM_PLANNERS: tuple[type[Record], ...] = (AddJob, AddJob, PipelineSettled)
FROM_CLIENTS: tuple[type[Record], ...] = (
    JoinPipeliner, Cancel, GetStatus, GetPipelines, GetDefinition, GetConfiguration,
)  # fmt: skip


class Story:
    """A Router with one node and one Pipeliner, all of whom say anything."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        self.nonsense = Nonsense(random)
        limits = Limits(
            resident_jobs_max=random.choice((0, 1000)),
            lost_max=1,
            partial_bytes_max=random.choice((100, 10**9)),
        )
        self.scene = Scene(limits)
        self.node, self.planner = Node(self.scene), Planner(self.scene, "p")
        self.node.join()
        if random.random() < 0.7:
            self.planner.join()
        pipelines = (wide(5, retries=1), chain("A", "B", "C"), wide(3, "B"))
        for number in range(1, 5):
            self.scene.submit(random.choice(pipelines), number)
        self.scene.commit()

    def step(self) -> None:
        random, nonsense, scene = self.random, self.nonsense, self.scene
        self.node.read()
        if self.planner.link:
            self.planner.read()
        state = scene.state
        known = [
            *state.runs.by_number,
            *state.attempts.lots,
            state.next_assignment - 1,
            state.epoch,
        ]
        nonsense.numbers[13:] = known
        nonsense.words[6:] = [run.id for run in state.runs.by_number.values()]
        random.choice(
            (self._node_says, self._node_says, self._planner_says, self._planner_says,
             self._client_asks, self._client_asks, self._hello, self._outcome, self._time,
             scene.commit, self._restart)
        )()  # fmt: skip

    def _any(self, likely: tuple[type[Record], ...]) -> Record:
        common = self.random.random() < 0.8
        return self.nonsense.record(self.random.choice(likely if common else [*MESSAGES.values()]))

    def _node_says(self) -> None:
        message = self._any(FROM_NODES)
        if self.node.link and not isinstance(message, (Welcome, Rejoin)):
            self.node.tell(message)

    def _planner_says(self) -> None:
        if self.planner.link:
            self.planner.tell(self._any(FROM_PLANNERS))

    def _client_asks(self) -> None:
        message = self._any(FROM_CLIENTS)
        if self.random.random() < 0.4 or isinstance(message, AddPipeline):
            message = self.nonsense.submission()
        self.scene.ask(message, self.random.choice((b"x", self.node.address, b"client")))

    def _capacity(self) -> Capacity:
        choice = self.random.choice
        resources = choice(({}, {"gpu": choice((0, 1, -3, 10**12))}))
        return Capacity(choice((0, 1, -3, 10**12)), choice((0, 5, -3, 10**18)), resources)

    def _hello(self) -> None:
        node, choice = self.node, self.random.choice
        node.hellos += 1
        message = JoinBroker(
            node.name, choice((node.incarnation, node.incarnation, "another")),
            self._capacity(), self._capacity(), choice((0, 1, -3, 10**12)), ("A", "B"), {},
            node.hellos, self.nonsense.inventory(self.scene.state),
        )  # fmt: skip
        self.scene.ask(message, node.address)
        self.scene.commit()
        node.read()
        node.join()

    def _outcome(self) -> None:
        if self.node.lots and self.node.link:
            self.node.end(self.node.lots[-1], self.random.choice((b"\1", b"\2", b"\1\2\1")))

    def _time(self) -> None:
        pings = self.node.link is not None and self.random.random() < 0.7
        self.scene.wait(self.random.choice((0.5, 1.0, 3.0)), *([self.node] if pings else []))

    def _restart(self) -> None:
        rows = len(self.scene.rows) - self.random.randrange(3)
        old, self.scene = self.scene, self.scene.restarted(rows)
        self.node.scene = self.planner.scene = self.scene
        self.nonsense.numbers[13:] = [*old.state.attempts.lots]
        self._hello()
        if self.random.random() < 0.7:
            self.planner.join()


@pytest.mark.parametrize("start", range(0, 120, CHUNK))
def test_nothing_a_peer_says_breaks_a_router(start: int) -> None:
    for seed in range(start, start + CHUNK):
        story = Story(seed)
        for _ in range(100):
            story.step()
        replayed = State(story.scene.limits)
        for row in story.scene.rows:
            replayed.apply(unpack_row(pack_row(row)))
        assert replayed.digest() == story.scene.state.digest(), f"seed {seed}"


class Member:
    """A Broker or Pipeliner whose Router says anything; its slots do what they are told."""

    def __init__(self, machine: Broker | Pipeliner, random: Random) -> None:
        self.machine = machine
        self.random = random
        self.now = 100.0
        self.link: Link | None = None
        self.coming: list[Event] = []
        self.running: dict[int, int] = {}

    def turn(self, *events: Event) -> None:
        self.now += self.random.choice((0.0, 0.01, 0.2, 1.5))
        batch = [*self.coming, *events]
        self.coming = []
        for slot, jobs in list(self.running.items()):
            if self.random.random() < 0.3:
                batch.append(SlotProgressed(slot, b"\1" * jobs, (), 0.01))
                del self.running[slot]
        for command in self.machine.handle(batch, self.now):
            self._perform(command)
        if isinstance(self.machine, Broker):
            self.machine.check()

    def hear(self, message: Record) -> None:
        mine = self.machine.member.link
        if self.link is not None and mine is not None and mine.session == self.link.session:
            self.turn(Received(b"", self.link.send(message)))
        else:
            self.turn()

    def _perform(self, command: Command) -> None:
        match command:
            case Send(_, Envelope(GetConfiguration())):
                self._answer(Configuration(1, "c", 1, "1", "b", {}))
            case Send(_, Envelope(JoinBroker() | JoinPipeliner() as hello)):
                self.link = Link(self.random.randrange(1, 1000), 0.2)
                self._answer(Welcome("inc", hello.hello, self.link.session, "c", 1, 5))
            case StartSlot(slot):
                self.coming.append(SlotStarted(slot, ("A", "B")))
            case RunLot(slot=slot, jobs=jobs):
                self.running[slot] = len(jobs)
            case KillSlot(slot):
                self.running.pop(slot, None)
                self.coming.append(SlotExited(slot, Failure("a", "b", "c"), 0))
            case RecallLot(slot) if self.running.get(slot, 0) > 1:
                self.coming.append(SlotRecalled(slot, self.running[slot] - 1))
                self.running[slot] = 1

    def _answer(self, message: Record) -> None:
        self.coming.append(Received(b"", Envelope(message)))


TO_BROKERS = (JobsOut, JobsOut, JobsOut, DropJobs, ForgetRuns, Welcome)
TO_PIPELINERS = (AssignRuns, AssignRuns, JobsSettled, JobsSettled, Withdraw)


@pytest.mark.parametrize("role", ["broker", "pipeliner"])
def test_nothing_a_router_says_breaks_a_member(role: str) -> None:
    for seed in range(60):
        random = Random(seed)
        nonsense = Nonsense(random)
        broker = Broker("n", "inc", Capacity(2), {}, Limits(), "1")
        machine = broker if role == "broker" else Pipeliner("p", "inc", Limits())
        member = Member(machine, random)
        likely = TO_BROKERS if role == "broker" else TO_PIPELINERS
        for _ in range(100):
            nonsense.numbers[13:] = [1, 2, 3, *broker.bench.lots]
            common = random.random() < 0.8
            member.hear(nonsense.record(random.choice(likely if common else [*MESSAGES.values()])))


def test_nothing_a_router_says_breaks_a_client() -> None:
    nonsense = Nonsense(Random(0))
    client = Client(Limits())
    client.watch(["A", "B"])
    for i in range(2000):
        if i % 7 == 0:
            client.request(lambda n: GetStatus(n, ("A",), True), float(i))
        cls = nonsense.random.choice((Status, PipelineFinished, PipelineAdded, *MESSAGES.values()))
        client.handle([Received(b"", Envelope(nonsense.record(cls)))], i / 10)
        client.check()
