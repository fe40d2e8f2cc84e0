"""The original's pipelines on a real cluster, and what is new beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zmq

from pypelinin import DefinitionError, Job, JobError, Pipeline, PipelineManager
from pypelinin.errors import Cancelled, Failed, Refused
from pypelinin.stores import FileStore
from pypelinin.wire.codec import PROTOCOL
from tests.integration.cluster import ROOT, RealCluster, until
from tests.integration.jobs import notes

DIAMOND = {Job("Number"): (Job("Left"), Job("Right")), (Job("Left"), Job("Right")): Job("Add")}


def noops(count: int) -> list[Pipeline]:
    return [Pipeline({Job("Noop"): None}) for _ in range(count)]


def results(cluster: RealCluster) -> FileStore:
    return FileStore(cluster.directory / "results")


def noting(log: Path, *keys: str, worker: str = "Note", **options: Any) -> list[Job]:
    """Jobs that append their key to *log*."""
    data = {"log": str(log)}
    return [Job(worker, {**data, "key": key}, name=key, **options) for key in keys]


# --- with a store -----------------------------------------------------------------------------


def test_a_diamond_passes_data_through_the_store(
    cluster: RealCluster, manager: PipelineManager
) -> None:
    pipelines = [Pipeline(DIAMOND, data={"number": n}) for n in range(20)]
    manager.run(pipelines)
    for n, pipeline in enumerate(pipelines):
        assert pipeline.state == "done"
        found = results(cluster).load(str(pipeline.id))
        assert found["sum"] == (n + 1) + (2 * n + 1)


def test_jobs_that_save_at_once_on_two_brokers_lose_nothing(
    cluster: RealCluster, manager: PipelineManager
) -> None:
    keys = [f"key-{n}" for n in range(200)]
    manager.run(pipeline := Pipeline({tuple(Job("Echo", {k: k}, name=k) for k in keys): None}))
    # Echo gets {} from a FileStore, as it requires nothing: each job is kept under no key
    assert results(cluster).load(str(pipeline.id)) == {}
    jobs = [Job("Pid", name=key) for key in keys]
    manager.run(pipeline := Pipeline({tuple(jobs): None}))
    found = results(cluster).load(str(pipeline.id))
    assert sorted(found) == sorted(keys)
    slots = [pid for name in ("broker-1", "broker-2") for pid in cluster.slot_pids(name)]
    assert set(found.values()) <= set(slots)


def test_both_brokers_get_work(
    cluster: RealCluster, manager: PipelineManager, tmp_path: Path
) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    data = {"log": str(log), "gate": str(gate)}
    jobs = tuple(Job("GateByRequire", data, name=str(n)) for n in range(4))
    manager.start(pipeline := Pipeline({jobs: None}, data=data))
    until(lambda: len(notes(log)) == 4, "four jobs at once on four slots")
    gate.touch()
    manager.wait(pipeline)
    assert len({line["pid"] for line in notes(log)}) == 4


# --- without a store --------------------------------------------------------------------------


def test_jobs_run_in_the_order_of_the_graph(bare: RealCluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    a, b, c, d, e = noting(log, *"abcde")
    graph: dict[Any, Any] = {a: (b, c), (b, c): d, e: None}
    bare.manager().run([Pipeline(graph) for _ in range(10)])
    lines = notes(log)
    assert Counter(line["key"] for line in lines) == dict.fromkeys("abcde", 10)
    order = [line["key"] for line in lines if line["key"] != "e"]
    assert order[0] == "a"
    assert order[-1] == "d"
    ends = {key: [i for i, k in enumerate(order) if k == key] for key in "abcd"}
    for nth in range(10):  # the nth "d" comes after at least n + 1 of each other
        assert all(ends[key][nth] < ends["d"][nth] for key in "abc")


def test_data_reaches_the_workers_as_it_was(bare: RealCluster, tmp_path: Path) -> None:
    values = [
        None, 1.5, "ü\U0001f4a9", b"\x00", [1, [2]], {"a": {"b": None}}, (1, 2), {3, 4},
        {1: 2}, 2**70, "\udcff", Path("x"),
    ]  # fmt: skip
    log = tmp_path / "log"
    pipelines = [Pipeline({Job("Repr"): None}, data={"log": str(log), "value": v}) for v in values]
    own = Pipeline({Job("Repr", {"log": str(log), "value": "own"}): None}, data="not this")
    manager = bare.manager()
    manager.run([*pipelines, own])
    assert Counter(line["value"] for line in notes(log)) == Counter(
        [ascii(value) for value in values] + ["'own'"]
    )


def test_a_class_of_the_script_travels_by_value(bare: RealCluster, tmp_path: Path) -> None:
    class Local:
        def __repr__(self) -> str:
            return "a local object"

    data = {"log": str(tmp_path / "log"), "value": Local()}
    bare.manager().run(Pipeline({Job("Repr"): None}, data=data))
    assert notes(tmp_path / "log")[0]["value"] == "a local object"


def test_the_same_worker_twice(bare: RealCluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    first = Job("Note", {"log": str(log), "key": 1})
    second = Job("Note", {"log": str(log), "key": 2}, name="again")
    bare.manager().run(Pipeline({first: second}))
    assert [line["key"] for line in notes(log)] == [1, 2]


def test_a_thousand_pipelines_of_one_job_finish(bare: RealCluster) -> None:
    manager = bare.manager()
    for pipeline in (pipelines := noops(1000)):
        manager.start(pipeline)
    assert manager.started_pipelines == 1000
    manager.wait(timeout=60)
    assert manager.finished_pipelines == 1000
    assert {pipeline.state for pipeline in pipelines} == {"done"}


def test_the_loop_of_the_original_works(bare: RealCluster) -> None:
    """Names and shape of the original's send_pipelines.py."""
    manager = PipelineManager(api=bare.api, broadcast=bare.broadcast)
    pipelines = noops(20)
    for pipeline in pipelines:
        assert manager.start(pipeline) == pipeline.id
    finished: list[Pipeline] = []
    deadline = time.monotonic() + 30
    while manager.finished_pipelines < manager.started_pipelines:
        assert time.monotonic() < deadline
        manager.update(0.5)
        for pipeline in manager.pipelines:
            if pipeline not in finished and manager.finished(pipeline):
                finished.append(pipeline)
    assert all(manager.finished(pipeline) for pipeline in pipelines)
    assert all(0 <= one.duration < 30 for one in pipelines)  # type: ignore[operator]  # all ended
    manager.close()


def test_a_pipeline_object_is_started_once(bare: RealCluster) -> None:
    manager = bare.manager()
    manager.start(pipeline := noops(1)[0])
    with pytest.raises(ValueError, match=f"started before, as run {pipeline.id}"):
        manager.start(pipeline)
    with pytest.raises(ValueError, match="started before"):
        manager.start_all([other := noops(1)[0], other])
    manager.wait(pipeline)


def test_a_key_makes_submission_idempotent(bare: RealCluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    one, two = (Pipeline({noting(log, "a")[0]: None}) for _ in range(2))
    manager = bare.manager()
    key = f"key of {tmp_path}"
    assert manager.start(one, key=key) == manager.start(two, key=key)
    manager.wait()
    assert len(notes(log)) == 1
    with pytest.raises(DefinitionError, match="exists with other content"):
        manager.start(Pipeline({Job("Noop"): None}), key=key)


def test_a_failure_skips_what_waits_for_it_and_nothing_else(
    bare: RealCluster, tmp_path: Path
) -> None:
    a, b, c = noting(tmp_path / "log", *"abc")
    pipeline = Pipeline({Job("Fail"): a, b: c, a: Job("Noop")})
    manager = bare.manager()
    manager.run(pipeline, raise_on_failure=False)
    status = manager.status(pipeline)
    assert pipeline.state == status.state == "failed"
    assert (status.done, status.failed, status.skipped) == (2, 1, 2)
    assert sorted(line["key"] for line in notes(tmp_path / "log")) == ["b", "c"]
    error = manager.error(pipeline)
    assert isinstance(error, Failed)
    assert "Job 'Fail'" in str(error)
    assert "ValueError: no such luck" in str(error)
    assert "raise ValueError" in str(error.__cause__)
    assert "pypelinin/runtime" not in str(error.__cause__)


def test_finished_is_true_for_a_failed_pipeline(bare: RealCluster) -> None:
    manager = bare.manager()
    manager.start(pipeline := Pipeline({Job("Fail"): None}))
    until(lambda: manager.finished(pipeline), "the failure")
    assert manager.finished_pipelines == 1
    with pytest.raises(JobError, match="no such luck"):
        manager.wait()


def test_retries_until_it_works(bare: RealCluster, tmp_path: Path) -> None:
    data = {"log": str(tmp_path / "log")}
    manager = bare.manager()
    manager.run(pipeline := Pipeline({Job("FailTwice", data, retries=2): Job("Noop")}))
    assert pipeline.state == "done"
    assert len(notes(tmp_path / "log")) == 3
    assert manager.status(pipeline).error is None
    data = {"log": str(tmp_path / "other")}
    with pytest.raises(Failed, match="not yet"):
        manager.run(Pipeline({Job("FailTwice"): None}, data=data, retries=1))
    assert len(notes(tmp_path / "other")) == 2


def test_the_error_is_that_of_the_job_that_failed_for_good(
    bare: RealCluster, tmp_path: Path
) -> None:
    again = Job("FailTwice", {"log": str(tmp_path / "log")}, retries=5)
    manager = bare.manager()
    with pytest.raises(Failed, match=r"Job 'Fail' of run .* no such luck"):
        manager.run(Pipeline({again: Job("Fail")}))


def test_a_higher_priority_goes_first(bare: RealCluster, tmp_path: Path) -> None:
    log, gates = tmp_path / "log", [tmp_path / "first", tmp_path / "second"]
    manager = bare.manager()
    for gate in gates:
        data = {"log": str(log), "gate": str(gate)}
        manager.start(Pipeline({Job("Gate"): None}, data=data))
    until(lambda: len(notes(log)) == 2, "both slots are taken")
    ranked = []
    for priority in (0, 5, -5, 9):
        key = {"log": str(tmp_path / "order"), "key": priority}
        ranked.append(Pipeline({Job("Ranked", key, priority=priority): None}))
    manager.start_all(ranked)
    until(lambda: manager.cluster().jobs_queued == 4, "none is ahead of a slot")
    gates[0].touch()  # one slot does all four
    manager.wait(ranked)
    gates[1].touch()
    manager.wait()
    assert [line["key"] for line in notes(tmp_path / "order")] == [9, 5, 0, -5]


def test_cancel(bare: RealCluster, tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    data = {"log": str(log), "gate": str(gate), "key": "gate"}
    after = noting(log, "after")[0]
    many = tuple(Job("Noop", name=f"n{n}") for n in range(1000))
    manager = bare.manager()
    manager.start(pipeline := Pipeline({Job("Gate", data): after, after: many}))
    manager.start(other := Pipeline({Job("Noop"): None}))
    until(lambda: notes(log), "its begin")
    manager.cancel(pipeline)
    assert manager.status(pipeline).running == 1
    gate.touch()
    manager.wait(raise_on_failure=False)
    assert pipeline.state == "cancelled"
    assert other.state == "done"
    assert [line["key"] for line in notes(log)] == ["gate", "gate"]
    status = manager.status(pipeline)
    assert (status.done, status.cancelled) == (1, 1001)
    with pytest.raises(Cancelled, match=str(pipeline.id)):
        manager.wait(pipeline)
    manager.cancel(pipeline)  # once more changes nothing
    with pytest.raises(Refused, match="no run 00"):
        manager.cancel("00" * 16)


def test_cancel_what_nobody_has_begun(bare: RealCluster, tmp_path: Path) -> None:
    data = {"log": str(tmp_path / "log"), "gate": str(tmp_path / "gate")}
    manager = bare.manager()
    blockers = [Pipeline({Job("Gate"): None}, data=data) for _ in range(2)]
    manager.start_all(blockers)
    until(lambda: len(notes(tmp_path / "log")) == 2, "both slots are taken")
    waiting = [Pipeline({noting(tmp_path / "never", "x")[0]: None}) for _ in range(50)]
    manager.start_all(waiting)
    manager.cancel(waiting)
    manager.wait(waiting, timeout=30, raise_on_failure=False)
    assert {pipeline.state for pipeline in waiting} == {"cancelled"}
    assert not any(manager.finished(pipeline) for pipeline in blockers)
    (tmp_path / "gate").touch()
    manager.wait(blockers)
    assert not (tmp_path / "never").exists()


# --- others who look --------------------------------------------------------------------------

ATTACH = """
import sys
from pypelinin import PipelineManager
with PipelineManager(sys.argv[1]) as manager:
    pipeline = manager.attach(sys.argv[2])
    print(sorted(job.name for job in pipeline.jobs), pipeline.data["key"], flush=True)
    manager.wait(pipeline)
    print(pipeline.state, manager.finished_pipelines)
"""


def test_attach_from_another_process(bare: RealCluster, tmp_path: Path) -> None:
    data = {"log": str(tmp_path / "log"), "gate": str(tmp_path / "gate"), "key": "k"}
    manager = bare.manager()
    run = manager.start(Pipeline({Job("Gate"): Job("Noop", name="last")}, data=data))
    other = subprocess.Popen(
        [sys.executable, "-c", ATTACH, bare.api, run],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert other.stdout
    assert other.stdout.readline() == "['Gate', 'last'] k\n"
    (tmp_path / "gate").touch()
    assert other.communicate(timeout=30)[0] == "done 1\n"
    assert other.returncode == 0


def test_who_comes_late_learns_that_it_is_finished(bare: RealCluster) -> None:
    early = bare.manager()
    early.run(pipeline := Pipeline({Job("Noop"): Job("Echo")}, data={"x": 1}))
    late = bare.manager()
    found = late.attach(str(pipeline.id))
    assert late.finished(found)
    assert (found.state, late.finished_pipelines) == ("done", 1)
    assert found == Pipeline({Job("Noop"): Job("Echo")}, data={"x": 1})
    assert late.wait(str(pipeline.id))[0] is found


def test_status_list_and_cluster(bare: RealCluster, tmp_path: Path) -> None:
    data = {"log": str(tmp_path / "log"), "gate": str(tmp_path / "gate")}
    manager = bare.manager()
    run = manager.start(pipeline := Pipeline({Job("Gate"): Job("Noop")}, data, labels={"a": "b"}))
    until(lambda: notes(tmp_path / "log"), "its begin")
    status = manager.status(run)
    assert (status.state, status.jobs, status.running, status.done) == ("running", 2, 1, 0)
    assert status.labels == {"a": "b"}
    assert [r.run for r in manager.list_runs("running")] == [run]
    (node,) = bare.nodes()
    assert (node.name, node.slots, node.running) == ("broker-1", 2, 1)
    assert {"Gate", "Noop"} <= set(node.workers)
    assert manager.cluster().runs_open == 1
    (tmp_path / "gate").touch()
    manager.wait(pipeline)
    assert manager.list_runs()[0].run == run
    assert manager.list_runs("running") == []
    with pytest.raises(Refused, match="There is no run"):
        manager.status("00" * 16)


def test_events_are_broadcast_with_their_place(bare: RealCluster) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.subscribe("pipeline finished")
        socket.connect(bare.broadcast)
        socket.rcvtimeo = 200
        manager = bare.manager()

        def heard() -> list[bytes] | None:
            manager.run(pipeline := Pipeline({Job("Noop"): None}))
            try:
                while True:
                    found = socket.recv_multipart()
                    if msgpack.unpackb(found[1])["runs"] == [pipeline.id]:
                        return found  # and not that of a run before, which came late
            except zmq.Again:
                return None  # the subscription was not there yet

        topic, body = until(heard, "an event")
        first = msgpack.unpackb(body)
        assert topic == b"pipeline finished"
        assert first["epoch"] == 1
        socket.rcvtimeo = 10_000
        manager.run(pipeline := Pipeline({Job("Noop"): None}))
        second = msgpack.unpackb(socket.recv_multipart()[1])
        assert second["runs"] == [pipeline.id]
        # hints of progress are numbered too, and this socket does not take them
        assert first["seq"] < second["seq"] <= first["seq"] + 3


def test_a_plain_req_socket_is_answered(bare: RealCluster) -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.rcvtimeo = 10_000
        socket.connect(bare.api)
        for request in (7, 8):
            message = [PROTOCOL, "get configuration", [request, "client", "x"], 0, 0, 0]
            socket.send(msgpack.packb(message))
            protocol, name, fields, *_ = msgpack.unpackb(socket.recv())
            assert (protocol, name, fields[0]) == (PROTOCOL, "configuration", request)
            assert fields[4] == bare.broadcast


# --- clusters of their own --------------------------------------------------------------------


def test_what_a_store_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = {"store": {"log": str(log)}, "monitoring interval": 0.1}
    store = "tests.integration.job_stores:InfoStore"
    with RealCluster(tmp_path / "c", store=store, config=config, pipeliners=0) as cluster:
        manager = cluster.manager()
        job = Job("Number", name="first")
        manager.run(pipeline := Pipeline({job: Job("Echo", data=[1])}, data={"number": 2}))
        until(lambda: sum(n["call"] == "save_monitoring" for n in notes(log)) > 2, "samples")
        manager.run([Pipeline({Job("Echo"): None}, data=n) for n in range(300)])
    calls = [line for line in notes(log) if line["call"] != "save_monitoring"]
    retrieve, save, retrieve_2, save_2 = calls[:4]
    assert [line["call"] for line in calls[:4]] == ["retrieve", "save"] * 2
    info = retrieve["info"]
    assert info.pop("fence") > 0
    assert info == {
        "worker": "Number",
        "worker_requires": ["number"],
        "data": {"number": 2},
        "job": "first",
        "job_number": 0,
        "pipeline": pipeline.id,
        "attempt": 1,
    }
    assert save["info"].pop("worker_result") == {"left": 2, "right": 4}
    assert save["info"].pop("fence")
    assert save["info"] == info
    assert retrieve_2["info"]["data"] == [1]
    assert retrieve_2["info"]["worker_requires"] == []
    assert save_2["info"]["worker_result"] == [1]
    samples = [line["data"] for line in notes(log) if line["call"] == "save_monitoring"]
    assert samples[0]["node"] == "broker-1"
    assert samples[0]["host"]["memory"]["total"] > 0
    assert any(len(sample["processes"]) >= 4 for sample in samples)  # broker, nursery, slots
    of_jobs = {line["pid"] for line in calls}
    assert len(of_jobs) <= 2
    assert not of_jobs & {line["pid"] for line in notes(log) if line["call"] == "save_monitoring"}


@pytest.mark.parametrize("monitoring", ["BrokenMonitoring", "StuckMonitoring"])
def test_a_store_that_cannot_monitor_harms_no_job(monitoring: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    config = {"store": {"log": str(log)}, "monitoring interval": 0.1}
    store = f"tests.integration.job_stores:{monitoring}"
    with RealCluster(tmp_path / "c", store=store, config=config, pipeliners=0) as cluster:
        until(lambda: notes(log), "a sample")
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            cluster.manager().run(noops(100), timeout=20)
        if monitoring == "BrokenMonitoring":
            until(lambda: len(notes(log)) > 2, "samples: it is tried again")
        assert "is gone" not in cluster.log("router")


def test_several_modules_labels_and_a_broker_that_comes_later(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "extra_jobs.py").write_text(
        "from tests.integration.jobs import note\n"
        "class Extra:\n"
        "    def process(self, data):\n"
        "        note(data['log'], key='extra')\n"
        "__all__ = ['Extra']\n"
    )
    log = tmp_path / "log"
    with RealCluster(tmp_path / "c", pipeliners=0) as cluster:
        manager = cluster.manager()
        cluster.start_broker(
            "broker-2", workers=["tests.integration.jobs", "extra_jobs"], labels={"disk": "fast"}
        )
        cluster.joined(2)
        a = noting(log, "a", labels={"disk": "fast"})[0]
        manager.run(Pipeline({a: Job("Extra", {"log": str(log)})}))
        assert {line["pid"] for line in notes(log)} <= set(cluster.slot_pids("broker-2"))
        with pytest.raises(DefinitionError, match=r"disk=slow.*broker-2 \(disk=fast\)"):
            manager.start(Pipeline({Job("Noop", labels={"disk": "slow"}): None}))
        slow = Pipeline({Job("Noop", labels={"disk": "slow"}): None})
        run = manager.start(slow, queue_anyway=True)
        assert manager.describe(run)[1].status.reason == "no broker offers Noop with disk=slow"
        cluster.start_broker("broker-3", labels={"disk": "slow"})
        manager.wait(slow, timeout=20)


def test_jobs_wait_for_the_first_broker(tmp_path: Path) -> None:
    with RealCluster(tmp_path, brokers=0, pipeliners=0) as cluster:
        manager = cluster.manager()
        run = manager.start(pipeline := Pipeline({Job("Noop"): None}))
        assert manager.describe(run)[1].status.reason == "no broker connected"
        with pytest.raises(TimeoutError, match="1 of 1 pipelines are not finished"):
            manager.wait(pipeline, timeout=0.2)
        cluster.start_broker("broker-1")
        manager.wait(pipeline, timeout=20)


@pytest.mark.parametrize("resident_jobs_max", [0, 1000])
def test_a_pipeline_of_many_jobs_in_parts(tmp_path: Path, resident_jobs_max: int) -> None:
    """More than one part, through a Pipeliner of its own or the resident one."""
    limits = {"resident_jobs_max": resident_jobs_max}
    with RealCluster(tmp_path, limits=limits, check=False) as cluster:
        first = tuple(Job("Noop", name=f"a{n}") for n in range(60_000))
        middle, last = Job("Echo"), tuple(Job("Noop", name=f"b{n}") for n in range(500))
        manager = cluster.manager()
        manager.run(pipeline := Pipeline({first: middle, middle: last}), timeout=60)
        assert manager.status(pipeline).done == 60_501
        described, answer = manager.describe(str(pipeline.id))
        assert len(described.jobs) == 60_501
        assert set(answer.blobs[1]) == {1}


def test_large_data(tmp_path: Path) -> None:
    """Of jobs and of pipelines, in lots that would be larger than any frame."""
    with RealCluster(tmp_path, check=False) as cluster:
        manager = cluster.manager()
        manager.run(Pipeline({tuple(Job("Noop", name=str(n)) for n in range(50)): None}))
        jobs = tuple(Job("Noop", "x" * 500_000, name=str(n)) for n in range(60))
        manager.run(Pipeline({jobs: Job("Noop")}), timeout=30)
        manager.run([Pipeline({Job("Noop"): None}, "x" * 1_000_000) for _ in range(30)], timeout=30)


def test_thousands_of_failures(tmp_path: Path) -> None:
    """Of pipelines and of jobs, with texts that together are larger than any message."""
    with RealCluster(tmp_path, check=False) as cluster:
        manager = cluster.manager()
        pipelines = [Pipeline({Job("Fail"): None}) for _ in range(2000)]
        manager.run(pipelines, timeout=30, raise_on_failure=False)
        assert all(isinstance(manager.error(pipeline), Failed) for pipeline in pipelines)
        assert len(manager.list_runs("failed", limit=1000)) == 1000
        late = cluster.manager()
        attached = [late.attach(str(pipeline.id)) for pipeline in pipelines[:20]]
        assert {pipeline.state for pipeline in attached} == {"failed"}
        jobs = tuple(Job("RaiseLong", name=str(n)) for n in range(200))
        manager.run(pipeline := Pipeline({jobs: None}), timeout=30, raise_on_failure=False)
        _, described = manager.describe(str(pipeline.id))
        assert (described.status.failed, len(described.failures)) == (200, 100)


def test_monitoring_and_json_of_a_file_store(tmp_path: Path) -> None:
    config = {"store": {"directory": str(tmp_path / "results")}, "monitoring interval": 0.1}
    store = "pypelinin.stores:FileStore"
    with RealCluster(tmp_path / "c", store=store, config=config, pipeliners=0):
        figures = FileStore(tmp_path / "results")
        until(lambda: len(figures.load_monitoring()) > 1, "figures")
    assert json.dumps(figures.load_monitoring()[0]["host"]["cpu"])
