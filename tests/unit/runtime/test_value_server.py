"""Values of another host: a real server process, and a client that cannot read its files."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin.errors import ClusterError, Refused, ValueLost
from pypelinin.runtime import value_files, value_server
from pypelinin.runtime.access import load
from pypelinin.runtime.keys import new, revoke
from pypelinin.runtime.served_values import ServedValues
from pypelinin.runtime.value_files import ValueFiles, reference, this_start
from pypelinin.runtime.value_server import PART_BYTES, Cache, RemoteValues, Server
from pypelinin.wire.definitions import ValuePlace

RUN = "a" * 32
DATA = os.urandom(1000) * 3500  # 3.5 MB: parts of different sizes


@pytest.fixture
def place(tmp_path: Path) -> Iterator[ValuePlace]:
    served = ServedValues(tmp_path / "values", "127.0.0.1")
    try:
        yield served.start("c" * 32, durable=True)
    finally:
        served.close()


@pytest.fixture
def remote(
    place: ValuePlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[RemoteValues]:
    monkeypatch.setattr(value_server.tempfile, "gettempdir", lambda: str(tmp_path))
    found = RemoteValues(f"tcp://127.0.0.1:{place.port}", place.probe)
    yield found
    found.close()


def test_values_cross_in_parts(remote: RemoteValues, place: ValuePlace) -> None:
    kept = remote.put(f"{RUN}/arguments", [[DATA], [b"a", memoryview(b"b")]], durable=True)
    assert [bytes(remote.get(packed)) for packed in kept] == [DATA, b"ab"]
    files = ValueFiles(place.directory)  # who is on that host reads the same
    assert [bytes(files.get(packed)) for packed in kept] == [DATA, b"ab"]


def test_what_a_file_holds_is_read_from_afar(remote: RemoteValues, place: ValuePlace) -> None:
    (packed,) = ValueFiles(place.directory).put(f"{RUN}/1-1", [[DATA]], durable=False)
    assert bytes(remote.get(packed)) == DATA


def test_what_was_fetched_is_kept_for_the_next(
    remote: RemoteValues, place: ValuePlace, tmp_path: Path
) -> None:
    (packed,) = ValueFiles(place.directory).put(f"{RUN}/1-1", [[DATA]], durable=False)
    remote.get(packed)
    (Path(place.directory) / RUN / "1-1").unlink()
    assert bytes(remote.get(packed)) == DATA
    (cached,) = (tmp_path / f"pypelinin-cache-{os.getuid()}").iterdir()
    cached.write_bytes(b"broken")
    with pytest.raises(ValueLost):
        remote.get(packed)


def test_a_value_that_is_gone_is_told(remote: RemoteValues, place: ValuePlace) -> None:
    (packed,) = ValueFiles(place.directory).put(f"{RUN}/1-1", [[DATA]], durable=False)
    (Path(place.directory) / RUN / "1-1").unlink()
    with pytest.raises(ValueLost, match="No such file"):
        remote.get(packed)
    again = remote.put(f"{RUN}/1-2", [[b"x"]], durable=True)  # the connection goes on
    assert bytes(remote.get(again[0])) == b"x"


def test_who_does_not_know_the_probe_gets_nothing(place: ValuePlace) -> None:
    stranger = RemoteValues(f"tcp://127.0.0.1:{place.port}", "guess")
    try:
        with pytest.raises(ValueLost, match="probe"):
            stranger.put(f"{RUN}/1-1", [[b"x"]], durable=False)
    finally:
        stranger.close()


def test_a_server_that_died_is_started_again_at_the_same_port(tmp_path: Path) -> None:
    served = ServedValues(tmp_path / "values", "127.0.0.1")
    try:
        place = served.start("c" * 32, durable=False)
        assert served._server is not None
        served._server.kill()
        served._server.wait()
        served.watch(1e9)
        remote = RemoteValues(f"tcp://127.0.0.1:{place.port}", place.probe)
        assert len(remote.put(f"{RUN}/1-1", [[DATA]], durable=False)) == 1
        remote.close()
    finally:
        served.close()


def frames(*frames: bytes) -> list[bytes]:
    return [b"1", b"probe", *frames]


@pytest.mark.parametrize(
    "request_frames",
    [[], [b"1"], frames(b"get"), frames(b"get", b"../../etc/passwd", b"0", b"10"),
     frames(b"get", b"a/b", b"zero", b"10"), frames(b"put", b"a/b", b"-5", b"x"),
     frames(b"put", b"a/b", b"1" + b"0" * 30, b"x"), frames(b"get", b"a/b", b"1" + b"0" * 30, b"1"),
     frames(b"close", b"a/b", b"10"), frames(b"eat", b"a/b"), frames(b"put", b"a/b"),
     frames(b"get", b"\xff/b", b"0", b"1")],
)  # fmt: skip
def test_bad_requests_are_answered(request_frames: list[bytes], tmp_path: Path) -> None:
    answer = Server(str(tmp_path), "probe").answer(b"peer", request_frames)
    assert len(answer) == 2
    assert answer[1]


def test_a_file_with_missing_parts_is_not_published(tmp_path: Path) -> None:
    server = Server(str(tmp_path), "probe")
    assert server.answer(b"peer", frames(b"put", b"run/1", b"0", b"abc"))[1] == b""
    assert b"missing" in server.answer(b"peer", frames(b"close", b"run/1", b"10"))[1]
    assert not (tmp_path / "run" / "1").exists()


def test_an_answer_is_never_larger_than_a_part(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "1").write_bytes(bytes(3 * PART_BYTES))
    server = Server(str(tmp_path), "probe")
    answer = server.answer(b"peer", frames(b"get", b"run/1", b"0", b"99999999", b"00000000"))
    assert len(answer[2]) == PART_BYTES


def test_the_cache_drops_the_oldest(tmp_path: Path) -> None:
    cache = Cache(tmp_path, bytes_max=250)
    files = ValueFiles(tmp_path / "files")
    kept = [files.put(f"{RUN}/{i}", [[b"x" * 100]], durable=False)[0] for i in range(3)]
    for age, packed in enumerate(kept):
        cache.put(packed, [memoryview(b"x" * 100)])
        path = tmp_path / f"{RUN}-{reference(packed).name[-1]}-0-{reference(packed).check}"
        if path.exists():
            os.utime(path, (1000 + age, 1000 + age))
    assert cache.get(kept[0]) is None
    assert cache.get(kept[2]) is not None


def test_the_cache_is_not_looked_through_for_each_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache", bytes_max=64 * 1000)
    looks: list[int] = []
    monkeypatch.setattr(cache, "_shrink", lambda: looks.append(number))
    files = ValueFiles(tmp_path / "files")
    for number in range(8):
        packed = files.put(f"{RUN}/{number}", [[b"x" * 300]], durable=False)[0]
        cache.put(packed, [memoryview(b"x" * 300)])
    assert looks == [0, 4]


@pytest.mark.parametrize("how", ["open to others", "a link"])
def test_a_cache_that_somebody_else_may_have_made_is_none(tmp_path: Path, how: str) -> None:
    packed = ValueFiles(tmp_path / "files").put(f"{RUN}/1", [[b"x"]], durable=False)[0]
    Cache(tmp_path / "cache").put(packed, [memoryview(b"x")])
    cache = Cache(tmp_path / "cache")
    assert cache.get(packed) == b"x"
    if how == "a link":
        (tmp_path / "cache").rename(tmp_path / "theirs")
        (tmp_path / "cache").symlink_to(tmp_path / "theirs")
    else:
        (tmp_path / "cache").chmod(0o777)
    assert cache.get(packed) is None
    before = sorted(os.listdir(tmp_path / "cache"))
    other = ValueFiles(tmp_path / "files").put(f"{RUN}/2", [[b"y"]], durable=False)[0]
    cache.put(other, [memoryview(b"y")])
    assert sorted(os.listdir(tmp_path / "cache")) == before


def test_a_copy_that_another_process_dropped_meanwhile_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "0").symlink_to(tmp_path / "gone")  # listed, and then not there
    (tmp_path / "1").write_bytes(bytes(200))
    os.utime(tmp_path / "1", (1000, 1000))
    packed = ValueFiles(tmp_path / "files").put(f"{RUN}/1", [[b"x" * 100]], durable=False)[0]
    cache = Cache(tmp_path, bytes_max=150 + 4096)
    (tmp_path / "2").write_bytes(bytes(4096))
    cache.put(packed, [memoryview(b"x" * 100)])
    assert not (tmp_path / "1").exists()
    assert cache.get(packed) is not None


def test_what_its_machine_has_not_synced_is_served_until_that_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packed,) = ValueFiles(tmp_path, this_start()).put(f"{RUN}/1", [[b"x" * 100]], durable=False)
    request = [f"{RUN}/1".encode(), b"0", b"100", reference(packed).check.encode()]
    server = Server(str(tmp_path), "probe")
    assert server.answer(b"peer", frames(b"get", *request))[2] == b"x" * 100
    monkeypatch.setattr(value_files, "this_start", lambda: "@0other00")
    assert b"when the machine restarted" in server.answer(b"peer", frames(b"get", *request))[1]


def test_a_copy_of_what_is_not_summed_counts_until_this_machine_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packed,) = ValueFiles(tmp_path, this_start()).put(f"{RUN}/1", [[b"x" * 100]], durable=False)
    cache = Cache(tmp_path / "cache")
    cache.put(packed, [memoryview(b"x" * 100)])
    assert cache.get(packed) == b"x" * 100
    monkeypatch.setattr(value_server, "this_start", lambda: "@0other00")
    assert cache.get(packed) is None


# --- keys ---------------------------------------------------------------------------------------


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    new(tmp_path / "keys", "alice", "client")
    new(tmp_path / "keys", "vera", "viewer")
    return tmp_path / "keys"


def test_with_keys_only_their_holders_are_served(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(value_server.tempfile, "gettempdir", lambda: str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    served = ServedValues(tmp_path / "values", "127.0.0.1", keys)
    place = served.start("c" * 32, durable=True)
    address = f"tcp://127.0.0.1:{place.port}"
    alice = RemoteValues(address, place.probe, load(keys / "alice.toml"))
    (kept,) = alice.put(f"{RUN}/1-1", [[DATA]], durable=True)
    assert bytes(alice.get(kept)) == DATA
    vera = RemoteValues(address, place.probe, load(keys / "vera.toml"))
    with pytest.raises(ValueLost, match="this key may not do that"):
        vera.put(f"{RUN}/1-2", [[b"x"]], durable=True)
    stranger = RemoteValues(address, place.probe)
    with pytest.raises(Refused, match="wants a key, and you have none"):
        stranger.put(f"{RUN}/1-3", [[b"x"]], durable=True)
    revoke(keys, "alice")
    deadline = time.monotonic() + 40
    with pytest.raises(ValueLost, match="or is not valid any more"):  # noqa: PT012 - a later put
        while time.monotonic() < deadline:
            alice.put(f"{RUN}/1-4", [[b"x"]], durable=True)
    for one in (alice, vera, stranger):
        one.close()
    served.close()


def test_a_server_whose_keys_are_broken_does_not_start(keys: Path, tmp_path: Path) -> None:
    (keys / "router.toml").write_text("nonsense")
    served = ServedValues(tmp_path / "values", "127.0.0.1", keys)
    with pytest.raises(ClusterError, match="cannot start"):
        served.start("c" * 32, durable=True)
    served.close()


def test_nobody_who_hears_the_port_is_no_error(tmp_path: Path) -> None:
    """Who started it was ended by Ctrl-C meanwhile."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "pypelinin.runtime.value_server"]
    done = subprocess.run(
        [*command, str(tmp_path), "c" * 32, "tcp://127.0.0.1:*"],
        stdin=subprocess.PIPE, stdout=write, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
