"""A cluster with keys: everything goes on as without, and nothing goes on without a key."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
import types
import typing
from array import array
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

import pypelinin
from pypelinin import Cluster, Executor, Job, Pipeline, PipelineManager
from pypelinin.cli.local import LocalCluster
from pypelinin.cluster.events import Received
from pypelinin.cluster.roles import ROLES, SENDERS
from pypelinin.config import Limits
from pypelinin.errors import ClusterError, Refused, ValueLost
from pypelinin.runtime.access import load, write
from pypelinin.runtime.handshakes import secure
from pypelinin.runtime.keys import KeyRing, new, own_key, revoke
from pypelinin.runtime.sockets import PeerSocket, RouterSockets
from pypelinin.runtime.value_server import RemoteValues
from pypelinin.wire import messages
from pypelinin.wire.codec import Blobs, Envelope, Record
from pypelinin.wire.messages import MESSAGES
from tests.integration.cluster import ROOT, RealCluster, until
from tests.integration.test_three_hosts import NETWORK, Hosts

pytestmark = pytest.mark.timeout(120)
MIB = 1024 * 1024
MARKER = b"nobody-shall-read-this"
WAIT_S = 15.0
SO_RCVBUFFORCE = 33
"""More than the system allows to others; Python has no name for it."""


class Keyed:
    """A directory of keys with one of each role, and the clusters that use it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "keys"
        self.files = {role: own_key(self.directory, f"the-{role}", role) for role in ROLES}

    def access(self, name: str, role: str) -> str:
        return own_key(self.directory, name, role)

    def cluster(self, directory: Path, **options: Any) -> RealCluster:
        config = {"keys": str(self.directory), **options.pop("config", {})}
        return RealCluster(directory, config=config, access=self.files, **options)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Keyed:
    return Keyed(tmp_path_factory.mktemp("keyed"))


@pytest.fixture(scope="module")
def cluster(keyed: Keyed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """The value directory cannot be read by the others: large values cross the network."""
    with keyed.cluster(tmp_path_factory.mktemp("cluster"), brokers=0) as started:
        (started.journal / "values" / "probe").unlink()
        started.start_broker("broker-1")
        started.joined(1)
        yield started


@pytest.fixture(scope="module")
def open_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    """Without keys."""
    with RealCluster(tmp_path_factory.mktemp("open")) as started:
        yield started


def doubled(data: bytes) -> bytes:
    return data * 2


def audit(cluster: RealCluster) -> list[dict[str, Any]]:
    path = cluster.journal / "audit.jsonl"
    whole = path.read_text().split("\n")[:-1]  # what is being written is no line yet
    return [json.loads(line) for line in whole]


def removed(cluster: RealCluster) -> list[str]:
    """Keys whose end the Router has seen."""
    return [line["key"] for line in audit(cluster) if line["event"] == "key removed"]


# --- everything goes on -----------------------------------------------------------------------


def test_pipelines_functions_and_large_values(cluster: RealCluster, keyed: Keyed) -> None:
    manager = cluster.manager()
    manager.run(Pipeline({Job("Noop"): Job("Noop", name="2")}), timeout=60)
    data = os.urandom(2 * MIB)
    job = Job(doubled, args=(Job(doubled, args=(data,)),))
    manager.run(Pipeline([job]), timeout=60)
    assert job.result() == data * 4
    with Executor(api=cluster.api, access=keyed.files["client"]) as executor:
        assert executor.submit(doubled, data).result(60) == data * 2
    assert {node.state for node in manager.cluster().nodes} == {"up"}


def test_what_is_written_down(cluster: RealCluster) -> None:
    manager = cluster.manager()
    run = manager.start(Pipeline([Job("Noop")]))
    manager.cancel([run])

    def told(event: str) -> list[dict[str, Any]]:
        return [line for line in audit(cluster) if line["event"] == event]

    until(lambda: any(line["runs"] == [run] for line in told("cancel")), "the line")
    assert any(line["run"] == run and line["key"] == "the-client" for line in told("submit"))
    assert {line["key"] for line in told("join")} == {"the-broker", "the-pipeliner"}
    addresses = {line["address"] for line in told("connection")}
    assert addresses == {"127.0.0.1"}
    assert (cluster.journal / "audit.jsonl").stat().st_mode & 0o077 == 0


# --- who gets nothing -------------------------------------------------------------------------


def refused(api: str, access: str, said: str) -> None:
    began = time.monotonic()
    with PipelineManager(api, access=access) as manager, pytest.raises(Refused, match=said):
        manager.start(Pipeline([Job("Noop")]))
    assert time.monotonic() - began < Limits().client_deadline_s  # told, not timed out


def test_an_unknown_key(cluster: RealCluster, keyed: Keyed, tmp_path: Path) -> None:
    stranger = Path(own_key(tmp_path / "other", "eve", "admin"))
    theirs, ours = load(stranger).router, KeyRing(keyed.directory).public
    refused(cluster.api, str(stranger), "its key is not the one in that access file")
    stranger.write_text(stranger.read_text().replace(theirs, ours))
    refused(cluster.api, str(stranger), r"refused the key 'eve': it is unknown there")


def test_no_key(cluster: RealCluster) -> None:
    refused(cluster.api, "", "wants a key, and you have none")


def test_a_key_for_a_router_that_has_none(open_cluster: RealCluster, keyed: Keyed) -> None:
    refused(open_cluster.api, keyed.files["client"], "the Router at .* has none")


def test_a_viewer_sees_and_does_nothing(cluster: RealCluster, keyed: Keyed) -> None:
    refused(cluster.api, keyed.files["viewer"], "'the-viewer' has the role viewer, which may not")
    manager = cluster.manager()
    manager.run(Pipeline([Job("Noop")]))
    before = len(manager.list_runs())
    with PipelineManager(cluster.api, access=keyed.files["viewer"]) as viewer:
        assert viewer.cluster().nodes
        runs = viewer.list_runs()
        assert len(runs) == before
        place = viewer.configuration().place
        with pytest.raises(Refused, match="may not cancel"):
            viewer.cancel([runs[0].run])
    assert place is not None
    address = f"tcp://127.0.0.1:{place.port}"
    values = RemoteValues(address, place.probe, load(keyed.files["viewer"]))
    with pytest.raises(ValueLost, match="this key may not do that"):
        values.put("a" * 32 + "/1-1", [[b"x"]], durable=False)
    values.close()
    values = RemoteValues(address, place.probe)
    with pytest.raises(Refused, match="wants a key"):
        values.put("a" * 32 + "/1-1", [[b"x"]], durable=False)
    values.close()


@pytest.mark.parametrize(
    ("command", "role", "said"),
    [
        ("broker", "client", "the role client, which may not run jobs"),
        ("broker", "pipeliner", "the role pipeliner, which may not run jobs"),
        ("pipeliner", "broker", "the role broker, which may not plan runs"),
        ("status", "broker", "the role broker, which may not send 'get cluster'"),
        ("status", "", "wants a key, and you have none"),
        ("broker", "", "wants a key, and you have none"),
        ("pipeliner", "", "wants a key, and you have none"),
    ],
)
def test_a_command_with_a_wrong_key(
    cluster: RealCluster, keyed: Keyed, tmp_path: Path, command: str, role: str, said: str
) -> None:
    access = ("--access", keyed.files[role]) if role else ()
    done = subprocess.run(
        [sys.executable, "-m", "pypelinin", command, "--api", cluster.api, *access],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_RUNTIME_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


# --- every role and every message -------------------------------------------------------------


def minimal(hint: Any, number: int) -> Any:
    """The simplest value of an annotation."""
    origin = typing.get_origin(hint)
    if origin is types.UnionType:
        return None if type(None) in typing.get_args(hint) else minimal(hint.__args__[0], number)
    if isinstance(hint, type) and issubclass(hint, Record):
        return instance(hint, number)
    simple: dict[Any, Any] = {int: number, str: "x", float: 0.0, bool: False, bytes: b"",
                              array: array("I"), Blobs: Blobs()}  # fmt: skip
    if hint in simple:
        return simple[hint]
    assert origin in (tuple, dict), hint
    return origin()


def instance(kind: type[Record], number: int) -> Record:
    hints = typing.get_type_hints(kind)
    fields = dataclasses.fields(kind)
    return kind(*(minimal(hints[field.name], number) for field in fields))


def answers(peer: PeerSocket, kind: type[Record], number: int) -> list[Record]:
    """What came until the Router, which answers in order, had seen the message."""
    peer.send(Envelope(instance(kind, number)))
    mark = number + 1_000_000
    peer.send(Envelope(messages.GetConfiguration(mark, "client", "1", 0, time.time())))
    found: list[Record] = []
    deadline = time.monotonic() + WAIT_S
    while True:
        assert time.monotonic() < deadline, f"no answer behind {kind.__name__}"
        peer.flush()
        peer.wait(100)
        for event in peer.receive():
            assert isinstance(event, Received), event
            message = event.envelope.message
            if isinstance(message, messages.Configuration) and message.request == mark:
                return found
            found.append(message)


@pytest.fixture(scope="module")
def matrix_router(keyed: Keyed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    directory = tmp_path_factory.mktemp("matrix")
    with keyed.cluster(directory, brokers=0, pipeliners=0) as started:
        yield started


@pytest.mark.parametrize("role", ROLES)
def test_every_message_of_every_role(matrix_router: RealCluster, keyed: Keyed, role: str) -> None:
    peer = PeerSocket(matrix_router.api, load(keyed.files[role]))
    allowed = 0
    for number, kind in enumerate(MESSAGES.values(), 1):
        found = answers(peer, kind, number)
        refusals = [one for one in found if isinstance(one, messages.Refused)]
        codes = [one.refusal.code for one in refusals]
        if role in SENDERS[kind]:
            assert "role" not in codes, kind
            allowed += 1
        else:
            assert codes == ["role"], kind
            assert refusals[0].request == getattr(instance(kind, number), "request", 0)
    peer.close()
    assert 0 < allowed < len(MESSAGES)
    nodes = matrix_router.manager().cluster().nodes
    assert {node.role for node in nodes} <= {"broker", "pipeliner"}
    if role not in ("broker", "pipeliner"):
        assert not [node for node in nodes if node.name == role]


def test_a_whole_pipeline_of_a_viewer_is_not_there(
    matrix_router: RealCluster, keyed: Keyed
) -> None:
    for role in ("viewer", "broker", "pipeliner"):
        with (
            PipelineManager(matrix_router.api, access=keyed.files[role]) as manager,
            pytest.raises(Refused, match=f"the role {role}, which may not submit"),
        ):
            manager.start(Pipeline([Job("Noop")]), queue_anyway=True)
    assert matrix_router.manager().list_runs() == []


# --- revoking ---------------------------------------------------------------------------------


def test_a_client_whose_key_is_revoked(cluster: RealCluster, keyed: Keyed) -> None:
    """Its connection is open; it hears so within a second or so, and is heard no more."""
    with PipelineManager(cluster.api, access=keyed.access("carol", "client")) as manager:
        manager.start(Pipeline([Job("Noop")]))
        revoke(keyed.directory, "carol")
        until(lambda: "'carol' is not valid any more" in refusal_of(manager), "the refusal", 10.0)
        with pytest.raises(Refused):
            manager.start(Pipeline([Job("Noop")]))
    until(lambda: "carol" in removed(cluster), "the line")


def refusal_of(manager: PipelineManager) -> str:
    try:
        manager.cluster()
    except Refused as error:
        return str(error)
    return ""


def test_who_waits_is_told_of_the_revocation(
    cluster: RealCluster, keyed: Keyed, tmp_path: Path
) -> None:
    access = keyed.access("dave", "client")
    with PipelineManager(cluster.api, access=access) as manager:
        gate = tmp_path / "gate"
        pipeline = Pipeline([Job(wait_for, args=(str(gate),))])
        manager.start(pipeline)
        timer = threading.Timer(0.3, revoke, (keyed.directory, "dave"))
        timer.start()
        with pytest.raises(Refused, match="'dave' is not valid any more"):
            manager.wait(pipeline, timeout=30)
        timer.join()
        gate.touch()
    runs = {run.run: run for run in cluster.manager().list_runs()}
    until(  # what was accepted goes on
        lambda: cluster.manager().status(str(pipeline.id)).state == "done", "the end of the run"
    )
    assert str(pipeline.id) in runs


def wait_for(path: str) -> None:
    deadline = time.monotonic() + 60
    while not os.path.exists(path) and time.monotonic() < deadline:
        time.sleep(0.02)


def test_a_broker_whose_key_is_revoked(keyed: Keyed, tmp_path: Path) -> None:
    access = keyed.access("broker-x", "broker")
    with keyed.cluster(tmp_path / "c", brokers=0, pipeliners=0) as cluster:
        cluster._access["broker"] = access
        cluster.start_broker("broker-x")
        cluster.joined(1)
        revoke(keyed.directory, "broker-x")
        cluster.logged("broker-x", "Your key 'broker-x' is not valid any more")
        cluster.joined(0)
        cluster._access["broker"] = keyed.files["broker"]
        cluster.start_broker("broker-2")
        cluster.joined(1)
        cluster.manager().run(Pipeline([Job("Noop")]), timeout=30)


def test_who_listens_to_the_broadcast_hears_nothing_more(keyed: Keyed, tmp_path: Path) -> None:
    with keyed.cluster(tmp_path / "c") as cluster, zmq.Context() as context:
        heard = {}
        for name in ("erin", "frank"):
            listener = heard[name] = context.socket(zmq.SUB)
            listener.linger = 0
            listener.subscribe = b""
            secure(listener, load(keyed.access(name, "viewer")))
            listener.connect(cluster.broadcast)
        manager = cluster.manager()
        for listener in heard.values():
            until(partial(spoken, manager, listener), "a broadcast")
        revoke(keyed.directory, "erin")
        until(lambda: "erin" in removed(cluster), "the end of the key")
        drain(heard["frank"])
        until(lambda: spoken(manager, heard["frank"]), "a broadcast to who is left")

        def is_cut_off() -> bool:
            drain(heard["erin"])  # of what was said to both
            return spoken(manager, heard["frank"]) and not heard["erin"].poll(200)

        until(is_cut_off, "silence for who is revoked")
        for listener in heard.values():
            listener.close()


def spoken(manager: PipelineManager, listener: zmq.Socket[bytes]) -> bool:
    """Whether a run that ends is heard of."""
    manager.run(Pipeline([Job("Noop")]), timeout=30)
    found = bool(listener.poll(200))
    drain(listener)
    return found


def drain(listener: zmq.Socket[bytes]) -> None:
    with contextlib.suppress(zmq.Again):
        while True:
            listener.recv_multipart(zmq.NOBLOCK)


# --- the authenticator ------------------------------------------------------------------------


def test_with_the_authenticator_dead_nobody_new_gets_in(keyed: Keyed, tmp_path: Path) -> None:
    from pypelinin.runtime.door import door_of

    door = door_of(str(keyed.directory), tmp_path, lambda *_: None)
    assert door is not None
    router = RouterSockets("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", False, door)
    inside = PeerSocket(router.api_address, load(keyed.files["client"]))
    ask = Envelope(messages.GetStatus(1, (), False))
    inside.send(ask)
    until(lambda: inside.flush() or list(router.receive()), "a message")
    door.stop_authenticator()
    late = PeerSocket(router.api_address, load(keyed.files["client"]))
    late.send(ask)
    told: list[Any] = []

    def turned_away() -> bool:
        late.flush()
        late.wait(50)
        told.extend(late.receive())
        return bool(told)

    until(turned_away, "the news")
    assert "checks no keys now" in told[0].envelope.message.refusal.what
    assert list(router.receive()) == []
    inside.send(ask)  # who was in stays in
    until(lambda: inside.flush() or list(router.receive()), "a message")
    for one in (inside, late, router):
        one.close()


def test_a_router_whose_self_test_fails_does_not_serve(
    keyed: Keyed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pypelinin.runtime import authenticator, door

    monkeypatch.setattr(door.Door, "secure", lambda self, socket: lax(socket, self.ring))
    monkeypatch.setattr(authenticator.Authenticator, "__init__", lambda *_: None)
    monkeypatch.setattr(authenticator.Authenticator, "close", lambda *_: None)
    found = door.door_of(str(keyed.directory), tmp_path, lambda *_: None)
    with pytest.raises(ClusterError, match="a key that nobody knows was not refused"):
        RouterSockets("tcp://127.0.0.1:*", "tcp://127.0.0.1:*", False, found)


def lax(socket: zmq.Socket[bytes], ring: KeyRing) -> None:
    """What libzmq makes of CURVE if nobody is asked: everybody gets in."""
    socket.curve_server = 1
    socket.curve_secretkey = ring.secret.encode()


# --- sockets ----------------------------------------------------------------------------------


def beyond_loopback(processes: list[psutil.Process]) -> tuple[int, list[str]]:
    """(how many sockets listen, those that others reach)"""
    listening = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since it was found
            found = process.net_connections("tcp")
            listening += [one.laddr for one in found if one.status == psutil.CONN_LISTEN]
    return len(listening), [str(at) for at in listening if not ip_address(at.ip).is_loopback]


def test_without_keys_nothing_listens_beyond_loopback(open_cluster: RealCluster) -> None:
    open_cluster.manager().run(Pipeline([Job("Noop")]), timeout=30)
    count, beyond = beyond_loopback(open_cluster.own_processes())
    assert count == 3  # API, broadcast, values
    assert beyond == []


def test_nor_does_what_up_starts() -> None:
    with LocalCluster([], slots=1):
        count, beyond = beyond_loopback(psutil.Process().children(recursive=True))
        assert count >= 3
        assert beyond == []


def test_with_keys_the_router_may_listen_everywhere(keyed: Keyed, tmp_path: Path) -> None:
    with keyed.cluster(tmp_path / "c", host="0.0.0.0", brokers=0, pipeliners=0) as cluster:
        cluster.api = cluster.api.replace("0.0.0.0", "127.0.0.1")
        assert len(beyond_loopback(cluster.own_processes())[1]) == 3
        refused(cluster.api, "", "wants a key")
        assert cluster.manager().cluster().nodes == ()
    assert cluster.log("router").count(" keys") >= 1


# --- on the wire ------------------------------------------------------------------------------


class Eavesdropper:
    """All that crosses the bridge of host a."""

    def __init__(self, hosts: Hosts) -> None:
        with hosts.here("a"):
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(0x0003))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 * MIB)
        self._socket.setblocking(False)
        self.packets = self.seen = 0
        self._thread = threading.Thread(target=self._listen)
        self._over = threading.Event()

    def _listen(self) -> None:
        while True:
            over = self._over.is_set()  # what was sent before that is there already
            if select.select([self._socket], [], [], 0.0 if over else 0.1)[0]:
                packet = self._socket.recv(65536)
                self.packets += 1
                self.seen += MARKER in packet
            elif over:
                return

    def __enter__(self) -> Eavesdropper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()


def overheard(hosts: Hosts, cluster: RealCluster, access: str) -> Eavesdropper:
    """A job with the marker in its argument and result runs on host b; a value goes there, too."""
    with cluster:
        with hosts.here("a"):
            manager = cluster.manager()
            manager.cluster()
        cluster.start_broker("broker-b", hosts.prefix("b"))
        cluster.joined(1)
        with Eavesdropper(hosts) as found:
            job = Job(doubled, args=(MARKER * 1000,))
            manager.run(Pipeline([job]), timeout=60)
            assert job.result() == MARKER * 2000
            place = manager.configuration().place
            assert place is not None
            with hosts.here("b"):
                address = f"tcp://{NETWORK}.1:{place.port}"
                values = RemoteValues(address, place.probe, load(access) if access else None)
                (kept,) = values.put("a" * 32 + "/1-1", [[b"v" + MARKER * 20_000]], durable=False)
                assert MARKER in bytes(values.get(kept))
                values.close()
    assert found.packets > 100
    return found


@pytest.mark.netns
def test_who_listens_on_the_wire_reads_nothing(keyed: Keyed, tmp_path: Path) -> None:
    where: dict[str, Any] = {"brokers": 0, "pipeliners": 0, "host": f"{NETWORK}.1"}
    with Hosts() as hosts:
        where["router_prefix"] = hosts.prefix("a")
        with_keys = keyed.cluster(tmp_path / "keys", **where)
        assert overheard(hosts, with_keys, keyed.files["client"]).seen == 0
        without = RealCluster(tmp_path / "open", config={"insecure": True}, **where)
        assert overheard(hosts, without, "").seen > 10  # so it would have been seen


# --- the other ways in ------------------------------------------------------------------------


def test_a_cluster_of_ones_own_with_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `up` and `Cluster` start has keys of its own, and so has who started it."""
    for name in ("PYPELININ_API", "PYPELININ_ACCESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    journal = tmp_path / "journal"
    alice = new(journal / "keys", "alice", "client")
    with Cluster(slots=1, journal=journal) as cluster:
        assert cluster.started
        assert cluster.run(Job(doubled, args=(b"x",))) == b"xx"
        with cluster.executor() as executor:
            assert executor.submit(doubled, b"y").result(30) == b"yy"
        refused(cluster.api, "", "wants a key")
        with PipelineManager(cluster.api, access=alice) as manager:
            assert manager.cluster().nodes
        with Cluster(cluster.api, access=str(journal / "keys" / "alice.toml")) as joined:
            assert not joined.started
            assert joined.run(Job(doubled, args=(b"z",))) == b"zz"
    assert KeyRing(journal / "keys").problems == {}


def test_the_environment_is_enough(
    cluster: RealCluster, keyed: Keyed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = dataclasses.replace(load(keyed.files["client"]), api=cluster.api)
    write(tmp_path / "access.toml", told)
    monkeypatch.delenv("PYPELININ_API", raising=False)
    monkeypatch.setenv("PYPELININ_ACCESS", str(tmp_path / "access.toml"))
    assert pypelinin.run(Job(doubled, args=(b"x",))) == b"xx"
    with Executor() as executor:
        assert executor.submit(doubled, b"y").result(30) == b"yy"
    assert pypelinin.run(Job(variable)) == ""


def variable() -> str:
    """What a job sees of its Broker's access."""
    return os.environ.get("PYPELININ_ACCESS", "")


# --- odds and ends ----------------------------------------------------------------------------


def test_a_bad_file_while_the_router_runs(cluster: RealCluster, keyed: Keyed) -> None:
    new_file = keyed.directory / "broken.new"  # nobody is to see it half written
    new_file.write_bytes(os.urandom(200))
    new_file.rename(keyed.directory / "broken.toml")
    cluster.logged("router", "The key file broken.toml is left out")
    assert cluster.manager().cluster().nodes
    new(keyed.directory, "grace", "viewer")
    access = str(keyed.directory / "grace.toml")
    with PipelineManager(cluster.api, access=access) as manager:
        assert manager.cluster().nodes
    assert cluster.log("router").count("broken.toml is left out") == 1
