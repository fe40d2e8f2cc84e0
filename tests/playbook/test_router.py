"""The Router: submitting, cancelling, trying again, lost nodes, restarts, what is told when."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pypelinin.cluster.events import (
    CommitFailed,
    Committed,
    Drain,
    Malformed,
    Publish,
    Received,
    RoomChanged,
    Say,
    Stop,
)
from pypelinin.config import Limits
from pypelinin.wire.codec import Blobs, Envelope
from pypelinin.wire.definitions import GONE, Capacity, Failure
from pypelinin.wire.messages import (
    Cancel,
    CancelJobs,
    Cluster,
    Configuration,
    DropJobs,
    GetCluster,
    GetConfiguration,
    GetJob,
    GetResults,
    GetStatus,
    JobFailure,
    JobsDone,
    JobsFinished,
    JobsReturned,
    JoinBroker,
    KillJobs,
    PipelineAdded,
    PipelineFinished,
    Progress,
    Refused,
    Rejoin,
    ReleaseResults,
    Returned,
    Status,
    Wait,
    Welcome,
)
from pypelinin.wire.rows import (
    CancelledRuns,
    Epoch,
    FinishedRun,
    GivenUp,
    HandedOut,
    JobsEnded,
    Left,
    Released,
    Submitted,
)
from tests.playbook.scene import (
    CLIENT,
    WALL,
    Node,
    Scene,
    chain,
    ints,
    run_id,
    status,
    submission,
    wide,
)

ERROR = Failure("exception", "ValueError", "no")


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.fixture
def node(scene: Scene) -> Node:
    node = Node(scene)
    node.join()
    return node


def fail(node: Node, failure: Failure = ERROR) -> int:
    """The next lot's one job fails; returns its job."""
    lot = node.next_lot()
    node.end(lot, b"\2", JobFailure(0, failure))
    return lot.jobs[0]


def count(scene: Scene, kind: type) -> int:
    return sum(isinstance(row, kind) for row in scene.rows)


def refusal_code(answer: object) -> str:
    assert isinstance(answer, Refused)
    return answer.refusal.code


# --- submitting ------------------------------------------------------------------------


def test_a_run_goes_from_submission_to_done(scene: Scene, node: Node) -> None:
    scene.submit(chain("A", "B"))
    lot = node.next_lot()
    assert (lot.worker, lot.jobs.tolist()) == ("A", [0])
    node.end(lot, b"\1")
    lot = node.next_lot()
    assert (lot.worker, lot.jobs.tolist()) == ("B", [1])
    assert status(scene).state == "running"
    scene.now = 5.0
    node.end(lot, b"\1")
    done = status(scene)
    assert (done.state, done.done, done.submitted_at, done.finished_at) == (
        "done", 2, WALL, WALL + 5.0,
    )  # fmt: skip


def test_accepted_is_told_after_the_commit_only(scene: Scene) -> None:
    scene.ask(submission(wide(1), 3))
    assert scene.mail() == []
    scene.turn(Committed(len(scene.rows) - 1))
    assert scene.mail() == []
    scene.commit()
    (answer,) = scene.mail()
    assert isinstance(answer, PipelineAdded)
    assert (answer.request, answer.results[0].run, answer.results[0].refusal) == (
        3, run_id(3), None,
    )  # fmt: skip


def test_hand_out_does_not_wait_for_the_commit(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    assert node.next_lot().jobs.tolist() == [0]
    assert scene.mail() == []


def test_a_submission_that_comes_twice_is_one_run(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    answer = scene.reply(submission(wide(1)))
    assert isinstance(answer, PipelineAdded)
    assert answer.results[0].refusal is None
    assert count(scene, Submitted) == 1
    node.end(node.next_lot(), b"\1")
    node.read()
    assert node.lots == []


def test_the_same_id_with_other_jobs_is_a_conflict(scene: Scene) -> None:
    scene.submit(wide(1))
    answer = scene.reply(submission(wide(2)))
    assert isinstance(answer, PipelineAdded)
    refusal = answer.results[0].refusal
    assert refusal is not None
    assert refusal.code == "conflict"
    assert status(scene).jobs == 1


def test_an_unknown_worker_is_refused_if_nodes_are_known(scene: Scene, node: Node) -> None:
    answer = scene.reply(submission(wide(1, "Nobody"), queue_anyway=False))
    assert isinstance(answer, PipelineAdded)
    refusal = answer.results[0].refusal
    assert refusal is not None
    assert refusal.code == "unknown worker"
    assert status(scene).state == "unknown"


def test_a_node_that_may_come_back_may_offer_an_unknown_worker(scene: Scene, node: Node) -> None:
    scene.commit()
    after = scene.restarted()
    answer = after.reply(submission(wide(1, "Nobody"), queue_anyway=False))
    assert isinstance(answer, PipelineAdded)
    assert answer.results[0].refusal is None


def test_too_many_queued_jobs_are_busy() -> None:
    scene = Scene(Limits(queued_jobs_max=2))
    scene.submit(wide(2), 1)
    scene.submit(wide(1), 2)  # at the limit
    assert refusal_code(scene.reply(submission(wide(1), 3))) == "busy"


# --- watching --------------------------------------------------------------------------


def finished(messages: list[object]) -> list[str]:
    return [run.run for m in messages if isinstance(m, PipelineFinished) for run in m.runs]


@pytest.mark.parametrize("by_status", [False, True])
def test_who_watches_is_told_the_end_once_and_after_the_commit(
    scene: Scene, node: Node, by_status: bool
) -> None:
    scene.submit(wide(1), watch=not by_status)
    if by_status:
        scene.ask(GetStatus(2, (run_id(1),), True))
    scene.commit()
    scene.mail()
    node.end(node.next_lot(), b"\1")
    assert isinstance(scene.rows[-1], FinishedRun)
    scene.turn(Committed(len(scene.rows) - 1))
    assert finished(scene.mail()) == []
    scene.commit()
    assert finished(scene.mail()) == [run_id(1)]
    scene.tick(1.0)
    scene.commit()
    assert finished(scene.mail()) == []


def test_who_does_not_watch_is_not_told(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    node.end(node.next_lot(), b"\1")
    scene.commit()
    assert finished(scene.mail()) == []


# --- cancelling ------------------------------------------------------------------------


def test_a_queued_run_that_is_cancelled_ends_at_once(scene: Scene) -> None:
    scene.submit(chain("A", "B"), watch=True)
    scene.ask(Cancel(2, (run_id(1), "nobody")))
    assert finished(scene.mail()) == []
    scene.commit()
    _, answer, news = scene.mail()
    assert isinstance(answer, Status)
    assert [(run.run, run.state, run.cancelled) for run in answer.runs] == [
        (run_id(1), "cancelled", 2)
    ]
    assert finished([news]) == [run_id(1)]
    node = Node(scene)
    node.join()
    assert node.lots == []


def test_of_a_running_run_only_what_runs_goes_on(scene: Scene, node: Node) -> None:
    scene.submit(wide(3))
    running, dropped = node.next_lot(), node.next_lot()
    scene.ask(Cancel(2, (run_id(1),)))
    assert node.read() == [DropJobs((running.fence, dropped.fence))]
    node.tell(JobsReturned((Returned(dropped.fence, 0),)))
    assert status(scene).state == "running"
    node.end(running, b"\1")
    ended = status(scene)
    assert (ended.state, ended.done, ended.cancelled) == ("cancelled", 1, 2)
    node.read()
    assert node.lots == []


def test_a_failure_of_a_cancelled_run_is_not_tried_again(scene: Scene, node: Node) -> None:
    scene.submit(wide(1, retries=5))
    lot = node.next_lot()
    scene.ask(Cancel(2, (run_id(1),)))
    node.end(lot, b"\2", JobFailure(0, ERROR))
    assert status(scene).state == "failed"


def test_a_run_that_waits_for_another_try_can_be_cancelled(scene: Scene, node: Node) -> None:
    scene.submit(wide(1, retries=5))
    fail(node)
    scene.ask(Cancel(2, (run_id(1),)))
    assert status(scene).state == "cancelled"
    scene.wait(2.0, node)
    node.read()
    assert node.lots == []


def test_a_run_is_cancelled_with_what_runs_of_it(scene: Scene, node: Node) -> None:
    scene.submit(wide(3))
    lots = [node.next_lot(), node.next_lot()]
    scene.ask(Cancel(7, (run_id(1),), running=True))
    assert KillJobs(tuple(lot.fence for lot in lots)) in node.read()
    for lot in lots:
        node.end(lot, b"\2", JobFailure(0, ERROR))
    assert (status(scene).state, status(scene).cancelled) == ("cancelled", 3)


def test_a_run_one_of_whose_jobs_is_cancelled_goes_on(scene: Scene) -> None:
    scene.submit(wide(2), queue_anyway=True)
    scene.ask(CancelJobs(7, run_id(1), ints(0)))
    assert status(scene).state == "running"
    scene.ask(CancelJobs(8, run_id(1), ints(0, 1)))
    assert status(scene).state == "cancelled"


def test_cancelling_twice_or_after_the_end_changes_nothing(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    node.end(node.next_lot(), b"\1")
    scene.ask(Cancel(2, (run_id(1),)))
    scene.submit(wide(1), 2)
    scene.ask(Cancel(2, (run_id(2),)))
    scene.ask(Cancel(3, (run_id(2),)))
    assert count(scene, CancelledRuns) == 1
    assert status(scene, 1).state == "done"


# --- trying again ----------------------------------------------------------------------


def test_a_failure_is_tried_again_after_a_delay_that_doubles() -> None:
    scene = Scene(Limits(retry_base_s=1.0))
    node = Node(scene)
    node.join()
    scene.submit(wide(1, retries=3))
    for delay in (1.0, 2.0, 4.0):
        lot = node.next_lot()
        node.end(lot, b"\2", JobFailure(0, ERROR))
        scene.wait(0.49 * delay, node)
        node.read()
        assert node.lots == []
        scene.wait(0.52 * delay, node)
        node.read()
        assert [again.jobs for again in node.lots] == [lot.jobs]
        assert node.lots[0].fence > lot.fence
    node.end(node.next_lot(), b"\1")
    done = status(scene)
    assert (done.state, done.done, done.error) == ("done", 1, None)


def test_the_deadline_is_the_next_try(scene: Scene, node: Node) -> None:
    scene.submit(wide(1, retries=1))
    scene.commit()
    scene.wait(1.0, node)
    scene.commit()
    fail(node)
    assert scene.now < scene.router.deadline() <= scene.now + 0.5


def test_without_retries_left_the_run_fails_and_the_rest_is_skipped(
    scene: Scene, node: Node
) -> None:
    scene.submit(chain("A", "B", "C", retries=1))
    fail(node)
    scene.wait(1.0, node)
    fail(node, Failure("exception", "KeyError", "last"))
    failed = status(scene)
    assert (failed.state, failed.failed, failed.skipped) == ("failed", 1, 2)
    assert (failed.error, failed.error_job) == (Failure("exception", "KeyError", "last"), "0")


def test_what_was_given_back_is_handed_out_anew(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    node.tell(JobsReturned((Returned(lot.fence, 0),)))
    again = node.next_lot()
    assert again.jobs == lot.jobs
    assert again.fence > lot.fence
    node.end(lot, b"\1")  # too late: it said that it had not begun
    assert status(scene).done == 0
    node.end(again, b"\1")
    assert status(scene).done == 1


def test_a_node_that_wants_nothing_gets_nothing(scene: Scene, node: Node) -> None:
    node.tell(GetJob(Capacity(0), 0, {}))
    scene.submit(wide(1))
    node.read()
    assert node.lots == []
    node.tell(GetJob(Capacity(1), 0, {}))
    assert node.next_lot().jobs.tolist() == [0]


# --- lost nodes ------------------------------------------------------------------------


def test_a_lost_nodes_jobs_go_to_another(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    other = Node(scene, "other")
    other.join()
    scene.wait(9.0, other)
    other.read()
    assert other.lots == []
    scene.wait(2.0, other)
    again = other.next_lot()
    assert (again.jobs, again.fence > lot.fence) == (lot.jobs, True)
    other.end(again, b"\1")
    assert status(scene).state == "done"


def test_a_ping_keeps_the_lease(scene: Scene, node: Node) -> None:
    scene.wait(30.0, node)
    assert count(scene, Left) == 0


def test_a_late_outcome_after_the_lease_changes_nothing(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    scene.wait(11.0)
    assert count(scene, Left) == 1
    before = len(scene.rows)
    node.end(lot, b"\1")
    assert len(scene.rows) == before
    assert Rejoin() in node.read()
    node.join(node.held(lot, b"\1"))
    assert node.welcome is not None
    assert node.welcome.drop == (lot.fence,)
    assert status(scene).done == 0
    assert node.next_lot().jobs == lot.jobs


def test_a_job_whose_nodes_are_lost_too_often_fails() -> None:
    scene = Scene(Limits(lost_max=1))
    scene.submit(chain("A", "B"))
    for incarnation in ("one", "two"):
        node = Node(scene, "node", incarnation)
        node.join()
        node.next_lot()
        scene.wait(11.0)
    assert count(scene, GivenUp) == 1
    failed = status(scene)
    assert (failed.state, failed.failed, failed.skipped) == ("failed", 1, 1)
    assert failed.error is not None
    assert failed.error.cause == "lost"
    assert "2 times" in failed.error.text
    assert "node" in failed.error.text


def test_a_goodbye_gives_jobs_back_and_blames_nobody(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    node.leave()
    assert scene.state.members == {}
    assert not scene.state.runs.by_number[1].lost
    other = Node(scene, "other")
    other.join()
    assert other.next_lot().jobs == lot.jobs


def test_a_goodbye_is_acknowledged_when_it_is_durable(scene: Scene, node: Node) -> None:
    assert node.link is not None
    node.leave()
    node.read()
    assert node.link.unacknowledged == 1
    scene.commit()
    node.read()
    assert node.link.unacknowledged == 0


def test_a_new_incarnation_ends_what_the_one_before_had(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    scene.wait(2.5)  # it died: nothing is heard of it
    newer = Node(scene, node.name, "newer")
    newer.join()
    assert newer.next_lot().jobs == lot.jobs
    assert scene.state.runs.by_number[1].lost[0] == 1
    node.end(lot, b"\1")
    assert status(scene).done == 0


def test_two_that_live_do_not_throw_each_other_out(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    scene.wait(2.5, node)
    other = Node(scene, node.name, "other")
    (wait,) = other.join()
    assert isinstance(wait, Wait)
    assert "'node'" in wait.reason
    node.end(lot, b"\1")
    assert status(scene).done == 1


def test_a_double_of_a_hello_changes_nothing(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    node.read()
    rows = len(scene.rows)
    node.hellos -= 1
    assert not any(isinstance(m, Welcome) for m in node.join())
    assert len(scene.rows) == rows
    node.end(node.next_lot(), b"\1")  # on the link of before
    assert status(scene).done == 1


def test_an_old_hello_does_not_undo_what_was_given_since(scene: Scene, node: Node) -> None:
    """It comes late, to a Router that was not there when it was sent."""
    node.join()
    scene.submit(wide(1))
    lot = node.next_lot()
    after = scene.restarted()
    node.scene, hellos = after, node.hellos
    for late in range(1, hellos + 1):
        node.hellos = late - 1
        assert not any(isinstance(m, Welcome) for m in node.join())
    assert lot.fence in after.state.attempts.lots
    node.join(node.held(lot, b"\1"))
    assert status(after).state == "done"
    assert count(after, HandedOut) == 1


def test_a_lot_that_a_newer_hello_does_not_name_was_never_got(scene: Scene, node: Node) -> None:
    """The node gave up waiting for the welcome, and so for the lot behind it."""
    scene.submit(wide(1))
    lot = node.next_lot()
    node.epoch = 0
    node.join()
    again = node.next_lot()
    assert (again.jobs, again.fence > lot.fence) == (lot.jobs, True)


def test_a_pause_of_the_router_is_nobodys_silence(scene: Scene, node: Node) -> None:
    scene.tick(60.0)
    assert count(scene, Left) == 0
    scene.wait(11.0)
    assert count(scene, Left) == 1


# --- restarts --------------------------------------------------------------------------


def test_after_a_restart_a_lot_is_adopted_and_its_outcome_counts(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    after = scene.restarted()
    node.scene = after
    node.join(node.held(lot))
    assert node.welcome is not None
    assert (node.welcome.epoch, node.welcome.drop) == (2, ())
    node.end(lot, b"\1")
    assert node.lots == []
    assert status(after).state == "done"
    assert count(after, HandedOut) == 1


def test_a_hand_out_that_was_not_durable_is_adopted_by_its_basis(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    assert isinstance(scene.rows[-1], HandedOut)
    after = scene.restarted(len(scene.rows) - 1)
    node.scene = after
    node.join(node.held(lot, b"\1"))
    assert node.welcome is not None
    assert node.welcome.drop == ()
    assert status(after).state == "done"


def test_what_builds_on_lost_rows_is_void(scene: Scene, node: Node) -> None:
    scene.submit(chain("A", "B"))
    first = node.next_lot()
    node.end(first, b"\1")
    second = node.next_lot()
    lost = next(i for i, row in enumerate(scene.rows) if isinstance(row, JobsEnded))
    after = scene.restarted(lost)
    node.scene = after
    node.join(node.held(first, b"\1"), node.held(second))
    assert node.welcome is not None
    assert node.welcome.drop == (second.fence,)
    again = node.next_lot()  # A counts, so B goes out anew
    assert (again.worker, again.fence > second.fence) == ("B", True)
    node.end(second, b"\1")
    assert status(after).done == 1


@pytest.mark.parametrize("own", [True, False])
def test_lots_of_another_cluster_are_void(scene: Scene, node: Node, own: bool) -> None:
    """A Router that began with another journal may have given the same numbers."""
    scene.submit(wide(1))
    lot = node.next_lot()
    node.scene = scene.restarted()
    node.cluster = scene.state.cluster if own else "d" * 32
    node.join(node.held(lot, b"\1"))
    assert node.welcome is not None
    assert node.welcome.drop == (() if own else (lot.fence,))
    assert status(node.scene).done == own


def test_outcomes_in_a_hello_count_and_are_not_counted_twice(scene: Scene, node: Node) -> None:
    scene.submit(wide(1, retries=9))
    lot = node.next_lot()
    after = scene.restarted()
    node.scene = after
    failed = replace(node.held(lot, b"\2"), failures=(JobFailure(0, ERROR),))
    node.join(failed)
    node.join(failed)
    assert after.state.runs.by_number[1].failed_again[0] == 1


def test_old_runs_wait_for_their_nodes_and_new_ones_do_not(scene: Scene, node: Node) -> None:
    scene.submit(wide(1), 1)
    lot = node.next_lot()
    after = scene.restarted()
    other = Node(after, "other", slots=9)
    other.join()
    after.submit(wide(1), 2)
    assert other.next_lot().runs.tolist() == [2]
    after.wait(9.5, other)
    other.read()
    assert other.lots == []
    after.wait(1.0, other)  # the lease is over: the node is lost
    again = other.next_lot()
    assert (again.runs, again.jobs) == (lot.runs, lot.jobs)


def test_a_node_that_does_not_tell_of_a_lot_does_not_have_it(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    lot = node.next_lot()
    after = scene.restarted()
    node.scene = after
    node.join()
    again = node.next_lot()
    assert (again.jobs, again.fence > lot.fence) == (lot.jobs, True)
    assert not after.state.runs.by_number[1].lost


def test_each_life_is_an_epoch_that_knows_where_the_one_before_ended(scene: Scene) -> None:
    scene.submit(wide(1))
    after = scene.restarted()
    row = after.rows[len(scene.rows)]
    assert isinstance(row, Epoch)
    assert (row.epoch, row.base, row.cluster) == (2, len(scene.rows), "c" * 32)


# --- the desk --------------------------------------------------------------------------


def test_a_welcome_waits_for_the_joining_to_be_durable(scene: Scene) -> None:
    node = Node(scene)
    scene.submit(wide(1))
    scene.ask(
        JoinBroker("node", "i", Capacity(1), Capacity(1), 0, ("A",), {}, 1, Blobs()),
        node.address,
    )
    assert node.read() == []
    scene.commit()
    messages = node.read()
    assert isinstance(messages[0], Welcome)
    assert len(node.lots) == 1


def test_the_configuration_tells_what_all_use(scene: Scene) -> None:
    answer = scene.reply(GetConfiguration(7, "broker", "1", 1, WALL))
    assert answer == Configuration(
        7, "c" * 32, 1, "1", "tcp://news", {"store": {}}, WALL + scene.now
    )


def test_a_router_behind_what_a_client_saw_refuses(scene: Scene) -> None:
    assert refusal_code(scene.reply(GetConfiguration(7, "client", "1", 2))) == "version"


def test_a_clock_that_is_off_is_said(scene: Scene) -> None:
    scene.ask(GetConfiguration(7, "broker", "1", 0, WALL + 60.0))
    said = [c for c in scene.commands if isinstance(c, Say) and "clock" in c.text]
    assert ["+60 s" in each.text for each in said] == [True]


def test_the_cluster_is_told_with_nodes_runs_and_jobs(scene: Scene, node: Node) -> None:
    scene.submit(wide(3))
    answer = scene.reply(GetCluster(7))
    assert isinstance(answer, Cluster)
    assert (answer.runs_open, answer.jobs_queued, answer.jobs_running) == (1, 1, 2)
    assert [(each.name, each.state, each.running) for each in answer.nodes] == [("node", "up", 2)]
    awaited = scene.restarted().reply(GetCluster(7))
    assert isinstance(awaited, Cluster)
    assert [(each.name, each.state) for each in awaited.nodes] == [("node", "awaited")]


def test_what_no_client_can_ask_is_refused(scene: Scene) -> None:
    assert refusal_code(scene.reply(GetJob(Capacity(1), 1, {}))) == "malformed"


def test_bytes_that_are_no_message_are_refused_without_a_number(scene: Scene) -> None:
    scene.turn(Malformed(CLIENT, "version", "Protocol 9."))
    scene.commit()
    (answer,) = scene.mail()
    assert isinstance(answer, Refused)
    assert (answer.request, answer.refusal.code, answer.refusal.what) == (
        0, "version", "Protocol 9.",
    )  # fmt: skip


def test_a_message_of_an_unknown_session_is_told_to_rejoin(scene: Scene) -> None:
    scene.turn(Received(b"x", Envelope(GetJob(Capacity(1), 1, {}), 12345, 1)))
    assert scene.mail(b"x") == [Rejoin()]


def test_a_member_is_acknowledged_after_the_commit_only(scene: Scene, node: Node) -> None:
    assert node.link is not None
    scene.submit(wide(1))
    node.end(node.next_lot(), b"\1")
    scene.wait(2.0)
    node.read()
    assert node.link.unacknowledged == 1
    scene.commit()
    scene.wait(2.0)
    node.read()
    assert node.link.unacknowledged == 0


def test_hints_are_published(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    node.end(node.next_lot(), b"\1")
    scene.wait(11.0)
    topics = [c.topic for c in scene.commands if isinstance(c, Publish)]
    assert set(topics) >= {"node joined", "pipeline finished", "job finished", "node left"}


# --- results that were taken -----------------------------------------------------------


def returns(node: Node, result: bytes) -> None:
    """The node's next job is done, and this is what it returned."""
    lot = node.next_lot()
    node.tell(JobsFinished((Progress(lot.fence, 0, b"\1", (), (result,)),)))


def results(scene: Scene, number: int = 1) -> dict[int, bytes]:
    return scene.state.runs.by_number[number].results


def test_results_that_were_taken_go_once(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    returns(node, b"mine")
    assert results(scene) == {0: b"mine"}
    for _ in range(2):
        scene.reply(ReleaseResults(5, (run_id(1), "unknown")))
    assert results(scene) == {0: GONE}
    assert count(scene, Released) == 1


def test_what_is_released_before_its_end_goes_at_its_end(scene: Scene, node: Node) -> None:
    scene.submit(wide(1))
    scene.ask(ReleaseResults(5, (run_id(1),)))
    assert status(scene).state == "running"
    returns(node, b"mine")
    assert results(scene) == {0: GONE}


def test_who_follows_is_told_before_a_run_is_forgotten(scene: Scene, node: Node) -> None:
    scene.state.runs.limits = replace(scene.limits, taken_bytes_max=0)
    scene.submit(wide(1))
    scene.reply(GetResults(4, run_id(1), 0, True))
    scene.ask(ReleaseResults(5, (run_id(1),)))
    scene.commit()
    scene.mail()
    returns(node, b"mine")
    scene.commit()
    (told,) = [m for m in scene.mail() if isinstance(m, JobsDone)]
    assert [part.run for part in told.runs] == [run_id(1)]
    assert scene.state.runs.by_number == {}


def test_runs_that_were_taken_are_forgotten_when_they_are_large(scene: Scene, node: Node) -> None:
    for number in range(1, 5):
        scene.submit(wide(1), number)
        returns(node, b"")
    size = scene.state.runs.by_number[1].size
    scene.state.runs.limits = replace(scene.limits, taken_bytes_max=2 * size + 10)
    for number in (1, 3, 3):
        scene.ask(ReleaseResults(5, (run_id(number),)))
    assert list(scene.state.runs.by_number) == [1, 2, 3, 4]
    scene.ask(ReleaseResults(5, (run_id(4),)))
    assert list(scene.state.runs.by_number) == [2, 3, 4]
    scene.ask(ReleaseResults(5, (run_id(2),)))
    assert list(scene.state.runs.by_number) == [2, 4]
    assert scene.restarted().state.digest()["runs"] == scene.state.digest()["runs"]


# --- the end ---------------------------------------------------------------------------


def stops(commands: list[object]) -> list[Stop]:
    return [command for command in commands if isinstance(command, Stop)]


def test_a_drain_ends_when_all_is_durable(scene: Scene) -> None:
    scene.submit(wide(1))
    assert stops(scene.turn(Drain())) == []
    assert stops(scene.commit()) == [Stop()]


def test_a_second_drain_ends_at_once(scene: Scene) -> None:
    scene.submit(wide(1))
    scene.turn(Drain())
    assert stops(scene.turn(Drain())) == [Stop()]


def test_a_journal_that_takes_no_rows_is_the_end(scene: Scene) -> None:
    (stop,) = stops(scene.turn(CommitFailed("disk full")))
    assert "disk full" in stop.error


# --- a full disk ------------------------------------------------------------------------

FULL = RoomChanged("The disk of the journal is full: only 3.0 MB free.")


def told(commands: list[object], level: str) -> list[str]:
    return [one.text for one in commands if isinstance(one, Say) and one.level == level]


def test_a_full_disk_refuses_new_runs_with_the_reason(scene: Scene, node: Node) -> None:
    (line,) = told(scene.turn(FULL), "error")
    assert "only 3.0 MB free" in line
    assert told(scene.turn(FULL), "error") == []
    answer = scene.reply(submission(wide(1)))
    assert isinstance(answer, PipelineAdded)
    refusal = answer.results[0].refusal
    assert refusal is not None
    assert refusal.code == "busy"
    assert "only 3.0 MB free" in refusal.what
    assert "Make room" in refusal.remedy
    assert not scene.state.runs.numbers


def test_a_run_that_is_known_is_not_refused_on_a_full_disk(scene: Scene) -> None:
    scene.submit(wide(1), queue_anyway=True)
    scene.turn(FULL)
    answer = scene.reply(submission(wide(1), queue_anyway=True))
    assert isinstance(answer, PipelineAdded)
    assert answer.results[0].refusal is None


def test_on_a_full_disk_what_runs_is_recorded_and_nothing_begins(scene: Scene, node: Node) -> None:
    scene.submit(chain("A", "B"))
    lot = node.next_lot()
    scene.turn(FULL)
    scene.submit(wide(1), 2)
    node.end(lot, b"\1" * len(lot.jobs))
    assert status(scene).done == len(lot.jobs)
    outs = count(scene, HandedOut)
    scene.wait(5.0, node)
    assert count(scene, HandedOut) == outs
    (line,) = told(scene.turn(RoomChanged("")), "info")
    assert "room again" in line
    assert count(scene, HandedOut) == outs + 1


def test_a_router_that_is_stuck_on_a_full_disk_ends_when_asked(scene: Scene) -> None:
    scene.submit(wide(1), queue_anyway=True)
    scene.turn(RoomChanged(FULL.short, stuck=True))
    (stop,) = stops(scene.turn(Drain()))
    assert "disk is full" in stop.error
