"""What goes wrong gets a clear error at once, and harms nothing else."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack
import psutil
import pytest
import zmq

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.errors import (
    DefinitionError,
    Failed,
    JobError,
    Killed,
    Lost,
    NotPicklable,
    UnknownWorker,
    Unreachable,
    VersionMismatch,
)
from pypelinin.wire.codec import PROTOCOL
from pypelinin.wire.definitions import FRAME_BYTES_MAX
from tests.integration.cluster import DAEMON, ROOT, RealCluster, until
from tests.integration.jobs import notes

MIB = 1024 * 1024
GROWTH_MAX = 64 * MIB


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """One Broker without a store; its slots may log tracebacks."""
    with RealCluster(tmp_path_factory.mktemp("bare"), tracebacks=True) as started:
        yield started


def still_works(cluster: RealCluster) -> None:
    cluster.manager().run([Pipeline({Job("Noop"): Job("Noop", name="n2")}) for _ in range(5)], 20)


# --- jobs -------------------------------------------------------------------------------------

ENDINGS = [
    ("Fail", Failed, "ValueError: no such luck"),
    ("SysExit", Failed, "SystemExit: that is all"),
    ("Interrupt", Failed, "KeyboardInterrupt"),
    ("Exit", Killed, "exited with code 3"),
    ("Segfault", Killed, "SIGSEGV"),
    ("KillSelf", Killed, "SIGKILL"),
    ("RaiseSurrogate", Failed, r"FileNotFoundError: file \\udcff is missing"),
    ("RaiseHuge", Failed, "ValueError: \N{PILE OF POO}+$"),
    ("RaiseBadStr", Failed, "_BadStr: <its str.. raised>"),
    ("RaiseExitingStr", Failed, "_ExitingStr: <its str.. raised>"),
    ("RaiseDeep", Failed, "RecursionError: maximum recursion depth"),
    ("ClosesDescriptors", Killed, "exited with code 70"),
    ("WritesGarbage", Killed, "SIGKILL"),
    ("NoProcess", Failed, "NotImplementedError: NoProcess has no process"),
    ("BadConstructor", Failed, "TypeError: .*missing 1 required positional argument"),
]


@pytest.mark.parametrize(("worker", "kind", "text"), ENDINGS, ids=[e[0] for e in ENDINGS])
def test_a_job_that_ends_badly(
    bare: RealCluster, tmp_path: Path, worker: str, kind: type[JobError], text: str
) -> None:
    manager = bare.manager()
    log = {"log": str(tmp_path / "log")}
    others = [Pipeline({Job("RunOnce", log): None}) for _ in range(20)]
    bad = [Pipeline({Job(worker): Job("Noop")}) for _ in range(2)]
    manager.start_all([*others[:10], bad[0], *others[10:], bad[1]])
    manager.wait(timeout=30, raise_on_failure=False)
    assert {pipeline.state for pipeline in others} == {"done"}
    assert len(notes(tmp_path / "log")) == 20
    for pipeline in bad:
        assert pipeline.state == "failed"
        assert manager.status(pipeline).skipped == 1
        with pytest.raises(kind, match=text):
            manager.wait(pipeline)


def test_two_thousand_bad_jobs_and_the_good_between_them(bare: RealCluster) -> None:
    """Failures with long texts, in lots of many jobs, on several slots."""
    jobs = [Job("RaiseLong", name=f"bad {n}") for n in range(1000)]
    jobs += [Job("Noop", name=f"good {n}") for n in range(1000)]
    random.Random(1).shuffle(jobs)
    manager = bare.manager()
    manager.run(pipeline := Pipeline({tuple(jobs): None}), timeout=60, raise_on_failure=False)
    status = manager.status(pipeline)
    assert (status.done, status.failed) == (1000, 1000)
    assert "ERROR" not in bare.log("broker-1"), "a message was too large"


def test_a_job_that_forks_and_returns_twice(bare: RealCluster, tmp_path: Path) -> None:
    manager = bare.manager()
    data = {"log": str(tmp_path / "log")}
    jobs = tuple(Job("Forks", data, name=str(n)) for n in range(10))
    manager.run(pipeline := Pipeline({jobs: Job("Noop")}), timeout=20)
    assert manager.status(pipeline).done == 11
    assert [line["key"] for line in notes(tmp_path / "log")].count("parent") == 10
    assert [line["key"] for line in notes(tmp_path / "log")].count("child") == 10


def test_what_jobs_do_to_their_process_stays_there(bare: RealCluster, tmp_path: Path) -> None:
    until(lambda: len(bare.slot_pids("broker-1")) == 2, "slots for those that jobs ended before")
    before = bare.slot_pids("broker-1")
    manager = bare.manager()
    for worker in ("PrintLots", "ClosesOutput", "LeavesThread", "PrintLots", "ClosesOutput"):
        manager.run(Pipeline({Job(worker): None}), timeout=20)
    still_works(bare)
    assert bare.slot_pids("broker-1") == before


def test_children_of_a_job_end_with_its_slot(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with RealCluster(tmp_path / "c", pipeliners=0) as cluster:
        data = {"log": str(log)}
        crash = Pipeline({Job("LeavesChild", data): None})
        cluster.manager().run(crash)
        (line,) = notes(log)
        assert psutil.pid_exists(line["child"])
        os.kill(line["pid"], signal.SIGSEGV)
        until(lambda: not running(line["child"]), "the child's end")
        still_works(cluster)
        cluster.manager().run(Pipeline({Job("LeavesChild", data): None}))
        assert running(notes(log)[1]["child"])
    assert not running(notes(log)[1]["child"])


def running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_data_that_cannot_travel(bare: RealCluster) -> None:
    manager = bare.manager()
    with pytest.raises(NotPicklable, match=r"the pipeline's data cannot be sent: .*lock"):
        manager.start(Pipeline({Job("Noop"): None}, data=threading.Lock()))
    with pytest.raises(DefinitionError, match="data of the pipeline or a job is over 1 MiB"):
        manager.start(Pipeline({Job("Noop"): None}, data="x" * 5_000_000))
    still_works(bare)


# --- stores -----------------------------------------------------------------------------------


def test_a_result_the_store_cannot_keep(cluster: RealCluster) -> None:
    manager = cluster.manager()
    with pytest.raises(Failed, match=r"FileStore.save\(\) raised: .*function"):
        manager.run(Pipeline({Job("ReturnUnserialisable"): Job("Noop")}), timeout=20)
    still_works(cluster)


def test_an_input_nobody_saved(cluster: RealCluster) -> None:
    with pytest.raises(Failed, match=r"FileStore.retrieve\(\) raised: .*'left sum', 'right sum'"):
        cluster.manager().run(Pipeline({Job("Add"): None}), timeout=20)


@pytest.mark.parametrize(
    ("store", "text"),
    [
        ("BadRetrieve", r"LookupError: BadRetrieve.retrieve\(\) raised: nothing here"),
        ("BadSave", r"OSError: BadSave.save\(\) raised: disk full"),
    ],
)
def test_a_store_that_raises(tmp_path: Path, store: str, text: str) -> None:
    with RealCluster(tmp_path, store=f"tests.integration.job_stores:{store}") as cluster:
        manager = cluster.manager()
        with pytest.raises(Failed, match=text) as caught:
            manager.run(pipeline := Pipeline({Job("Noop"): Job("Echo")}), timeout=20)
        assert "job_stores.py" in str(caught.value.__cause__)
        assert manager.status(pipeline).skipped == 1


def ends(role: str, options: dict[str, Any], directory: Path) -> tuple[int, str]:
    """(exit code, stderr) of a daemon that cannot start."""
    options = {"limits": {"heartbeat_interval_s": 0.2}, **options}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(DAEMON), role, json.dumps(options)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(directory)},
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def broker_ends(cluster: RealCluster, **changed: Any) -> str:
    options = {"api": cluster.api, "store": None, "workers": ["tests.integration.jobs"],
               "slots": 1, "name": "bad", "labels": {}}  # fmt: skip
    code, text = ends("broker", options | changed, cluster.directory)
    assert code == 1
    assert len(cluster.nodes()) == 1
    return text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (None, "The workers module 'bad_module' cannot be imported: No module named 'bad_module'"),
        ("1 / 0", "The workers module 'bad_module' cannot be imported: division by zero"),
        ("import sys; sys.exit(4)", "The workers module 'bad_module' cannot be imported: 4"),
        ("import os; os._exit(4)", "The slot that imports the workers died: .* code 4"),
        ("class A: pass", r"\(.*bad_module.py\) lacks __all__. List its workers there"),
        ("__all__ = ['A']", "bad_module.A stands in __all__ but is no worker"),
        ("A = 1\n__all__ = ['A']", "bad_module.A stands in __all__ but is no worker"),
    ],
    ids=["missing", "raises", "exits", "dies", "no __all__", "not there", "no worker"],
)
def test_a_workers_module_that_is_none(bare: RealCluster, source: str | None, text: str) -> None:
    module = bare.directory / "bad_module.py"
    module.unlink(missing_ok=True)
    if source is not None:
        module.write_text(source + "\n")
    assert re.search(text, broker_ends(bare, workers=["bad_module"]))
    still_works(bare)


def test_a_store_that_cannot_be_made_or_found(bare: RealCluster) -> None:
    text = broker_ends(bare, store="tests.integration.job_stores:BadInit")
    assert "BadInit() raised: no database for you" in text
    text = broker_ends(bare, store="tests.integration.job_stores:Missing")
    assert "The store tests.integration.job_stores:Missing cannot be loaded" in text
    assert "A store is named 'module:Class'" in broker_ends(bare, store="no_colon")


# --- unknown workers --------------------------------------------------------------------------


def test_an_unknown_worker_is_refused_or_waited_for(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "later_jobs.py").write_text(
        "class Noops:\n    def process(self, data):\n        pass\n__all__ = ['Noops']\n"
    )
    with RealCluster(tmp_path / "c") as cluster:
        manager = cluster.manager()
        with pytest.raises(UnknownWorker, match=r"'Noops'\. Did you mean 'Noop'") as refused:
            manager.start(Pipeline({Job("Noop"): Job("Noops")}))
        assert "Known: " in str(refused.value)
        assert "queue_anyway=True" in str(refused.value)
        good, bad = Pipeline({Job("Noop"): None}), Pipeline({Job("Nope"): None})
        with pytest.raises(UnknownWorker):
            manager.start_all([bad, good])
        assert bad.id is None
        manager.wait(good, timeout=20)
        manager.start(later := Pipeline({Job("Noop"): Job("Noops")}), queue_anyway=True)
        until(lambda: manager.status(later).done == 1, "the first job")
        assert manager.describe(str(later.id))[1].status.reason == "no broker offers Noops"
        cluster.start_broker("broker-2", workers=["later_jobs"])
        manager.wait(later, timeout=20)


# --- no router, another router ----------------------------------------------------------------


@contextmanager
def nobody() -> Iterator[str]:
    """An address where nobody listens, nor can anybody else begin to."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"tcp://127.0.0.1:{taken.getsockname()[1]}"


def test_nobody_at_that_address() -> None:
    began = time.monotonic()
    with nobody() as api, PipelineManager(api, deadline_s=0.5) as manager:
        for ask in (manager.cluster, manager.configuration, manager.list_runs):
            with pytest.raises(Unreachable, match=r"No Router answered at tcp://.*pypelinin up"):
                ask()
        with pytest.raises(Unreachable):
            manager.start(Pipeline({Job("Noop"): None}))
    assert time.monotonic() - began < 15


def test_somebody_else_at_that_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with (
            PipelineManager(f"tcp://127.0.0.1:{port}", deadline_s=0.5) as manager,
            pytest.raises(Unreachable),
        ):
            manager.cluster()


NO_ADDRESS = ["localhost:5555", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "ftp://a:1"]


@pytest.mark.parametrize("api", NO_ADDRESS)
def test_what_is_no_address(api: str) -> None:
    with pytest.raises(DefinitionError, match=r"is no address .* Write tcp://HOST:PORT"):
        PipelineManager(api)


def test_the_wrong_broadcast_address(bare: RealCluster) -> None:
    manager = bare.manager(broadcast="tcp://127.0.0.1:1")
    with pytest.raises(DefinitionError, match=f"broadcasts at {bare.broadcast}, not at"):
        manager.start(Pipeline({Job("Noop"): None}))


@contextmanager
def router_of_the_future() -> Iterator[str]:
    """A process that answers everything in protocol 99."""
    script = (
        "import msgpack, zmq\n"
        "socket = zmq.Context().socket(zmq.ROUTER)\n"
        "print(socket.bind_to_random_port('tcp://127.0.0.1'), flush=True)\n"
        "while True:\n"
        "    peer, *frames = socket.recv_multipart()\n"
        "    answer = [99, 'refused', [0, ['version', 'too old', '']], 0, 0, 0]\n"
        "    socket.send_multipart([peer, msgpack.packb(answer)])\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout
        yield f"tcp://127.0.0.1:{int(other.stdout.readline())}"
    finally:
        other.kill()
        other.communicate()


def test_a_router_of_another_version(tmp_path: Path) -> None:
    with router_of_the_future() as api:
        with (
            PipelineManager(api, deadline_s=20) as manager,
            pytest.raises(VersionMismatch, match=f"protocol 99, this side {PROTOCOL}"),
        ):
            manager.cluster()
        options = {"api": api, "store": None, "workers": ["tests.integration.jobs"],
                   "slots": 1, "name": "bad", "labels": {}}  # fmt: skip
        for role in ("broker", "pipeliner"):
            code, text = ends(role, options, tmp_path)
            assert code == 1
            assert f"protocol 99, this side {PROTOCOL}" in text


# --- bytes ------------------------------------------------------------------------------------


@contextmanager
def dealer(api: str) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as made:
        made.linger = 0
        made.rcvtimeo = 10_000
        made.connect(api)
        yield made


def head(name: str, fields: list[Any], protocol: int = PROTOCOL) -> bytes:
    return bytes(msgpack.packb([protocol, name, fields, 0, 0, 0]))


def refusal(frames: list[bytes]) -> tuple[str, str]:
    """(code, text) of a Refused."""
    protocol, name, (_, (code, what, *_)), *_ = msgpack.unpackb(frames[0])
    assert (protocol, name) == (PROTOCOL, "refused")
    return code, what


def test_another_protocol_is_refused_with_a_sentence(bare: RealCluster) -> None:
    with dealer(bare.api) as socket:
        socket.send(head("get configuration", [1, "client", "x"], protocol=PROTOCOL + 7))
        code, what = refusal(socket.recv_multipart())
    assert code == "version"
    assert what == f"The peer speaks protocol {PROTOCOL + 7}, this side {PROTOCOL}."


def bombs() -> dict[str, list[bytes]]:
    """Messages that are none."""
    chance = random.Random(3)
    good = head("get status", [1, ["x"], False])
    return {
        "nothing": [b""],
        "noise": [chance.randbytes(1000)],
        "an int": [b"\x01"],
        "no array": [msgpack.packb({"a": 1})],
        "truncated": [good[:-3]],
        "longer": [good + b"\x00"],
        "frames too many": [good, b"x", b"y"],
        "frames missing": [head("add pipeline", [1, False, False, [[0, 1]], 3]), b"x"],
        "blobs below zero": [head("add pipeline", [1, False, False, [[0, 1]], -3])],
        "a thousand frames": [good] * 1000,
        "unknown": [head("format disk", [1])],
        "wrong fields": [head("get status", ["1", "x", 0])],
        "deep": [b"\x91" * 400_000],
        "wide": [b"\xdd\xff\xff\xff\xff"],
        "maps of maps": [b"\xdf\x00\x0f\xff\xff" + b"\x80" * 500_000],
        "many maps": [b"\xdc\xff\xff" + b"\x80" * 65_535],
        "a long text": [b"\xdb\xff\xff\xff\xff" + b"x" * 1000],
        "ext": [msgpack.packb(msgpack.ExtType(1, b"x" * 100))],
        "a link nobody opened": [msgpack.packb([PROTOCOL, "job finished", [[]], 2**40, 1, 0])],
        "numbers out of range": [msgpack.packb([PROTOCOL, "ping", [1], 2**64 - 1, 1, 0])],
        "a welcome": [head("welcome", ["i", 1, 1, "c", 1, 1])],
        "a hello of nobody": [head("join broker", ["", "", 0, -1, -1, [], {}, -5, 0])],
    }


@pytest.mark.parametrize("bomb", bombs())
def test_frames_that_are_no_message(bare: RealCluster, bomb: str) -> None:
    with dealer(bare.api) as socket:
        socket.send_multipart(bombs()[bomb])
        socket.send(head("get cluster", [17]))
        while True:  # whatever the answer to the bomb is, that to the question comes
            protocol, name, fields, *_ = msgpack.unpackb(socket.recv_multipart()[0])
            assert protocol == PROTOCOL
            assert name in ("refused", "cluster", "rejoin", "welcome", "ping")
            if name == "cluster":
                assert fields[0] == 17
                break
    still_works(bare)


def rss(cluster: RealCluster, name: str = "router") -> int:
    return int(psutil.Process(cluster.pid(name)).memory_info().rss)


def test_noise_does_not_make_a_router_grow(tmp_path: Path) -> None:
    with RealCluster(tmp_path, check=False) as cluster:
        still_works(cluster)
        before = rss(cluster)
        chance = random.Random(5)
        good = head("get status", [1, ["x"] * 50, False])
        with dealer(cluster.api) as socket:
            for _ in range(5_000):
                noise = bytearray(good)
                for _ in range(chance.randrange(1, 5)):
                    noise[chance.randrange(len(noise))] = chance.randrange(256)
                socket.send(bytes(noise))
            for bomb in bombs().values():
                for _ in range(20):
                    socket.send_multipart(bomb)
            socket.send(head("get cluster", [17]))
            while msgpack.unpackb(socket.recv_multipart()[0])[1] != "cluster":
                pass
        assert rss(cluster) - before < GROWTH_MAX
        still_works(cluster)


def test_oversized_frames_are_cut_off(tmp_path: Path) -> None:
    with RealCluster(tmp_path, check=False) as cluster:
        before = rss(cluster)
        for _ in range(5):
            with dealer(cluster.api) as socket:
                socket.send(b"x" * (FRAME_BYTES_MAX + 2000))
                socket.rcvtimeo = 200
                with pytest.raises(zmq.Again):
                    socket.recv()
        still_works(cluster)
        assert rss(cluster) - before < GROWTH_MAX


GREETING = b"\xff" + b"\0" * 7 + b"\x01\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32
READY = b"\x04\x26\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0"
RAW = {
    "http": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "noise": random.Random(7).randbytes(100_000),
    "half a greeting": GREETING[:20],
    "greeting and noise": GREETING + random.Random(8).randbytes(10_000),
    "a frame of 4 EiB": GREETING + READY + b"\x02" + (2**62).to_bytes(8, "big") + b"x" * 1000,
    "a frame cut off": GREETING + READY + b"\x00\xff" + b"x" * 10,
    "a huge command": GREETING + b"\x06" + (2**40).to_bytes(8, "big") + b"x" * 1000,
    "more and never the end": GREETING + READY + b"\x01\x01x" * 1000,
}


@pytest.mark.parametrize("raw", RAW)
def test_raw_bytes_on_the_api_port(bare: RealCluster, raw: str) -> None:
    before = rss(bare)
    host, port = bare.api.removeprefix("tcp://").split(":")
    open_ones = []
    for i in range(30):
        peer = socket.create_connection((host, int(port)))
        peer.settimeout(5)
        with suppress(OSError):
            peer.sendall(RAW[raw])
        if i % 2:
            peer.close()
        else:
            open_ones.append(peer)
    still_works(bare)
    for peer in open_ones:
        peer.close()
    still_works(bare)
    assert rss(bare) - before < GROWTH_MAX


def test_a_clock_that_is_off_is_told(bare: RealCluster) -> None:
    with dealer(bare.api) as socket:
        fields = [1, "broker", "x", 0, time.time() + 3600]
        socket.send(head("get configuration", fields))
        name = msgpack.unpackb(socket.recv_multipart()[0])[1]
    assert name == "configuration"
    bare.logged("router", "The clock of a broker is off by +3600 s")
    for name in ("broker-1", "pipeliner-1"):
        assert "clock" not in bare.log(name)


# --- starting a Router where it cannot --------------------------------------------------------


def router_ends(directory: Path, host: str = "127.0.0.1", api: int = 0, **config: Any) -> str:
    config = {"journal": str(directory / "another"), **config}
    options = {"host": host, "api_port": api, "broadcast_port": 0, "config": config,
               "ready": str(directory / "x.ready")}  # fmt: skip
    code, text = ends("router", options, directory)
    assert code == 1
    return text


def test_a_port_that_is_taken_names_who_has_it(bare: RealCluster) -> None:
    port = int(bare.api.rpartition(":")[2])
    text = router_ends(bare.directory, api=port)
    assert f"The address tcp://127.0.0.1:{port} is taken by pid {bare.pid('router')} (" in text
    assert "choose another port" in text
    still_works(bare)


def test_a_second_router_on_one_journal(bare: RealCluster) -> None:
    text = router_ends(bare.directory, journal=str(bare.journal))
    assert f"Another Router has the journal {bare.journal}: pid {bare.pid('router')} on " in text
    assert bare.api in text
    still_works(bare)


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    text = router_ends(tmp_path, journal=str(tmp_path / "file" / "journal"))
    assert "The journal directory" in text
    assert "cannot be written: Not a directory. Give another one with --journal DIR" in text


def test_a_journal_of_a_newer_version(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with RealCluster(tmp_path, brokers=0, pipeliners=0, journal=journal):
        pass
    with sqlite3.connect(journal / "journal.sqlite") as db:
        db.execute("UPDATE meta SET value = 99 WHERE key = 'format'")
    db.close()
    text = router_ends(tmp_path, journal=str(journal))
    assert "VersionMismatch" in text
    assert "has format 99; this version reads" in text


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1"])
def test_beyond_loopback_only_with_a_word(tmp_path: Path, host: str) -> None:
    text = router_ends(tmp_path, host=host)
    assert f"Binding tcp://{host}:* lets every machine that reaches it run code here" in text
    if host == "192.0.2.1":
        text = router_ends(tmp_path, host=host, insecure=True)
        assert "Cannot bind tcp://192.0.2.1:*" in text


def test_two_hosts_of_one_name(tmp_path: Path) -> None:
    """They cannot know of each other; the second one is told, and waits until the first left."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    data = {"log": str(log), "gate": str(gate)}
    with RealCluster(tmp_path / "c", pipeliners=0, slots=1) as cluster:
        manager = cluster.manager()
        manager.start(pipeline := Pipeline({Job("Gate"): Job("Noop")}, data=data))
        until(lambda: notes(log), "its begin")
        cluster.start_broker("broker-x", node="broker-1", runtime=tmp_path / "another host")
        cluster.logged("broker-x", "Another Broker named 'broker-1' is connected")
        gate.touch()
        manager.wait(pipeline, timeout=20)
        assert len(notes(log)) == 2
        assert cluster.stop("broker-1") == 0
        cluster.logged("broker-x", "Joined")
        still_works(cluster)


def test_a_router_that_begins_with_another_journal(tmp_path: Path) -> None:
    """What nodes still run of the old one is void, even if its numbers fit a new run."""
    log, gate = tmp_path / "log", tmp_path / "gate"
    data = {"log": str(log), "gate": str(gate)}
    with RealCluster(tmp_path / "c", pipeliners=0, slots=1) as cluster:
        manager = cluster.manager()
        manager.start(old := Pipeline({Job("Gate"): Job("Noop")}, data={**data, "key": "old"}))
        until(lambda: notes(log), "its begin")
        cluster.send_signal("broker-1", signal.SIGSTOP)
        cluster.kill("router")
        shutil.rmtree(cluster.journal)
        for _ in range(2):
            cluster.restart("router")
            assert cluster.stop("router") == 0
        cluster.restart("router")
        with pytest.raises(Lost, match=f"knows nothing of run {old.id} any more"):
            manager.wait(old, timeout=20)
        manager.start(new := Pipeline({Job("Gate"): Job("Noop")}, data={**data, "key": "new"}))
        cluster.send_signal("broker-1", signal.SIGCONT)
        cluster.logged("broker-1", "Killing void lot")
        until(lambda: any(line["key"] == "new" for line in notes(log)), "the new one's begin")
        gate.touch()
        manager.wait(new, timeout=20)
        assert not any(line["key"] == "old" and not line["begin"] for line in notes(log))


# --- daemons without a Router -----------------------------------------------------------------


def test_daemons_outlive_the_router_and_can_be_ended(tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    data = {"log": str(log), "gate": str(gate)}
    limits = {"kill_grace_s": 1.5}
    with RealCluster(tmp_path / "c", brokers=2, limits=limits) as cluster:
        for name in ("broker-3", "broker-4"):
            cluster.start_broker(name, labels={"name": name})
        cluster.joined(4)
        jobs = [Job("Gate", data, name=n, labels={"name": n}) for n in ("broker-3", "broker-4")]
        cluster.manager().start(Pipeline({tuple(jobs): None}))
        until(lambda: len(notes(log)) == 2, "their begin")
        cluster.kill("router")
        for name in ("broker-1", "pipeliner-1"):
            began = time.monotonic()
            assert cluster.stop(name) == 0
            assert time.monotonic() - began < 10
        for name in ("broker-3", "broker-4"):
            cluster.send_signal(name, signal.SIGTERM)
            cluster.logged(name, "Draining: finishing what runs")
        assert cluster.stop("broker-3") == 0  # a second one stops at once
        assert "Stopping now" in cluster.log("broker-3")
        gate.touch()
        assert cluster.wait_end("broker-4") == 0
        assert "No Router took the outcomes of 1 lots" in cluster.log("broker-4")
        assert not cluster.ended("broker-2")
        assert len(notes(log)) == 3
        cluster.restart("router")
        cluster.joined(1)


def test_daemons_started_before_the_router(tmp_path: Path) -> None:
    with RealCluster(tmp_path, brokers=0, pipeliners=0) as cluster:
        cluster.stop("router")
        cluster.start_broker("broker-1")
        cluster.start_pipeliner("pipeliner-1")
        cluster.start_broker("broker-2")
        cluster.logged("broker-1", "Trying to connect to router")
        cluster.logged("broker-2", "Trying to connect to router")
        assert cluster.stop("broker-2") == 0
        cluster.restart("router")
        cluster.joined(1)
        still_works(cluster)


def test_a_broker_that_is_killed_takes_all_its_processes_along(tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    with RealCluster(tmp_path / "c", pipeliners=0) as cluster:
        cluster.manager().start(
            Pipeline({Job("Gate", {"log": str(log), "gate": str(gate)}): Job("Noop")})
        )
        until(lambda: notes(log), "its begin")
        cluster.kill("broker-1")
        until(lambda: len(cluster.own_processes()) == 2, "the Router and its value server are left")
        gate.touch()
        cluster.restart("broker-1")
        cluster.manager().wait([run.run for run in cluster.manager().list_runs()], timeout=20)


def test_daemons_that_are_ended_while_they_start(tmp_path: Path) -> None:
    """At whatever moment: they end, soon, with everything they started."""
    (tmp_path / "slow_jobs.py").write_text("import time\ntime.sleep(100)\n__all__ = []\n")
    with RealCluster(tmp_path, brokers=0, pipeliners=0) as cluster:
        for number in range(8):
            names = [f"broker-{number}", f"broker-s{number}", f"pipeliner-{number}"]
            cluster.start_broker(names[0])
            cluster.start_broker(names[1], workers=["slow_jobs"])
            cluster.start_pipeliner(names[2])
            time.sleep(0.08 * number)  # the moments are what is tested
            for name in names:
                cluster.send_signal(name, signal.SIGTERM)
            for name in names:
                assert cluster.wait_end(name) in (0, -signal.SIGTERM)
            cluster.kill("router", signal.SIGTERM)
            cluster.restart("router", wait=False)
            time.sleep(0.02 * number)
            assert cluster.kill("router", signal.SIGTERM) in (0, -signal.SIGTERM)
            until(lambda: not cluster.own_processes(), "the end of all")
            cluster.restart("router")
        still_works_with_a_new_broker(cluster)


def still_works_with_a_new_broker(cluster: RealCluster) -> None:
    cluster.start_broker("broker-1")
    cluster.joined(1)
    still_works(cluster)


# --- Ctrl-C -----------------------------------------------------------------------------------

WAITS = """
import sys
from pypelinin import Job, Pipeline, PipelineManager
with PipelineManager(sys.argv[1]) as manager:
    data = {"log": sys.argv[2], "gate": sys.argv[3]}
    print(manager.start(Pipeline({Job("Gate"): Job("Noop")}, data=data)), flush=True)
    manager.wait(progress=True)
"""


def test_ctrl_c_in_the_client_harms_no_run(bare: RealCluster, tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    client = subprocess.Popen(
        [sys.executable, "-c", WAITS, bare.api, str(log), str(gate)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert client.stdout
    run = client.stdout.readline().strip()
    until(lambda: notes(log), "its begin")
    client.send_signal(signal.SIGINT)
    _, text = client.communicate(timeout=30)
    assert "KeyboardInterrupt" in text
    gate.touch()
    (found,) = bare.manager().wait([run], timeout=20)
    assert found.state == "done"
