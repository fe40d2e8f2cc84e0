"""Claims are files that the kernel looks after: they end with whoever held them."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin.cluster.amounts import Amount
from pypelinin.cluster.sharing import Share, Shared
from pypelinin.runtime.claims import IDLE_POLL_S, POLL_S, Claims, claims_of, cores_granted
from pypelinin.wire.definitions import Capacity
from tests.integration.cluster import until

MOST = Capacity(2, 1000, {})


def wish(used: int, need: int, idle: bool = False) -> Share:
    return Share(Amount(used), {}, Amount(need), idle)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "claims"


@pytest.fixture
def one(place: Path) -> Iterator[Claims]:
    made = Claims(MOST, {}, place)
    yield made
    made.close()


@pytest.fixture
def two(place: Path) -> Iterator[Claims]:
    made = Claims(MOST, {}, place)
    yield made
    made.close()


def files(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir() if path.name != "lock")


def test_what_one_holds_the_other_cannot_have(one: Claims, two: Claims) -> None:
    assert one.update(wish(0, 2)).limit.cores == 2
    shared = two.update(wish(0, 1))
    assert (shared.limit.cores, shared.offer.cores) == (0, 1)
    assert two.own.wants == 1
    one.close()
    assert two.update(wish(0, 1)).limit.cores == 2


def test_changes_of_others_are_seen(one: Claims, two: Claims) -> None:
    one.update(wish(0, 0))
    now = time.monotonic() + 1
    assert one.changed(now)  # the first look
    one.update(wish(0, 0))
    two.update(wish(0, 1))
    assert not one.changed(now + IDLE_POLL_S / 2)  # it does not look that often
    assert one.changed(now + IDLE_POLL_S)


def test_who_wants_nothing_hears_of_deaths_too(one: Claims, place: Path) -> None:
    """What it could have is told to others."""
    other = Claims(MOST, {}, place)
    other.update(wish(0, 2))
    assert one.update(wish(0, 0)).offer.cores == 1
    os.close(other.fd)  # it died, and nobody has written anything
    now = time.monotonic() + 1
    assert one.changed(now)
    assert one.update(wish(0, 0)).offer.cores == 2
    assert not one.changed(now + 10)  # it is alone: there is nothing to look at


def test_who_wants_more_looks_again_and_again(one: Claims, two: Claims) -> None:
    """Who dies changes no file."""
    one.update(wish(0, 2))
    two.update(wish(0, 2))
    now = time.monotonic() + 1
    assert two.changed(now)
    assert two.deadline() == now + POLL_S


SCRIPT = """
import os, sys, time
from pathlib import Path
from pypelinin.cluster.amounts import Amount
from pypelinin.cluster.sharing import Share
from pypelinin.runtime.claims import Claims
from pypelinin.wire.definitions import Capacity
made = Claims(Capacity(2, 1000, {}), {}, Path(sys.argv[1]))
made.update(Share(Amount(), {}, Amount(2), False))
if os.fork():
    print(flush=True)
    time.sleep(60)
print(os.getpid(), flush=True)
time.sleep(60)
"""


def test_a_claim_ends_with_the_last_of_its_processes(place: Path, one: Claims) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(place)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout
    child = next(int(line) for line in holder.stdout if line.strip())
    assert one.update(wish(0, 1)).limit.cores == 0
    holder.kill()
    holder.wait()
    assert one.update(wish(0, 1)).limit.cores == 0  # its child still has it
    os.kill(child, signal.SIGKILL)
    until(lambda: one.update(wish(0, 1)).limit.cores == 2)
    assert len(files(place)) == 1
    holder.stdout.close()


def test_what_is_no_claim_holds_nothing(place: Path, one: Claims) -> None:
    kept = []
    for number, text in enumerate((b"", b"{", b"[]", b'{"cores": -5}', b"\xff" * 100)):
        kept.append(os.open(place / f"odd-{number}", os.O_RDWR | os.O_CREAT, 0o600))
        os.write(kept[-1], text)
        fcntl.flock(kept[-1], fcntl.LOCK_EX)
    found: Shared = one.update(wish(0, 2))
    assert found.limit.cores == 2
    for descriptor in kept:
        os.close(descriptor)
    one.update(wish(0, 1))
    assert len(files(place)) == 1


def test_what_cannot_be_written_down_is_not_held(
    one: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: nobody takes what others cannot see."""
    one.update(wish(0, 1))
    one.update(wish(0, 0, idle=True))

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", refuse)
        shared = one.update(wish(0, 2))
        assert (shared.limit.cores, shared.held, one.own.cores) == (0, 0, 0)
        assert one.changed(time.monotonic() + 1)  # it is tried again
    assert one.update(wish(0, 2)).limit.cores == 2


def test_who_is_bound_to_other_processors_takes_none_of_ours(place: Path) -> None:
    first, second, third = (Claims(MOST, {}, place, 2, cpus) for cpus in ((0, 1), (2, 3), (1, 2)))
    assert first.update(wish(0, 2)).limit.cores == 2
    assert second.update(wish(0, 2)).limit.cores == 2
    assert third.update(wish(0, 2)).limit.cores == 0
    for claims in (first, second, third):
        claims.close()


def test_a_directory_that_vanishes_is_made_anew(place: Path, one: Claims, two: Claims) -> None:
    """A logout cleans it up; both find each other again, and nobody takes what is held."""
    one.update(wish(0, 2))
    shutil.rmtree(place)
    assert two.changed(time.monotonic() + 1)
    assert two.update(wish(0, 2)).limit.cores == 2  # nobody can know what the first one holds
    assert one.changed(time.monotonic() + 1)
    one.update(wish(2, 2))
    assert len(files(place)) == 2
    shared = two.update(wish(0, 2))
    assert (shared.limit.cores, shared.contended) == (0, False)


def test_a_claim_that_is_made_anew_is_for_children_too(place: Path, one: Claims) -> None:
    shutil.rmtree(place)
    before = one.fd
    one.update(wish(0, 2))
    assert one.fd == before  # its number is known to those who start processes
    assert not os.get_inheritable(one.fd)
    assert os.fstat(one.fd).st_ino == (place / files(place)[0]).stat().st_ino


def test_a_file_that_cannot_be_opened_now_is_not_dead(
    place: Path, one: Claims, two: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many open files: what others hold stays theirs."""
    one.update(wish(0, 2))
    real = os.open

    def refuse(path: Path, *more: int) -> int:
        if Path(path) == place / files(place)[0]:
            raise OSError(24, "Too many open files")
        return real(path, *more)

    with monkeypatch.context() as full:
        full.setattr(os, "open", refuse)
        assert two.update(wish(0, 2)).limit.cores == 0
    assert len(files(place)) == 2
    assert two.update(wish(0, 2)).limit.cores == 0


def test_what_is_closed_is_free_although_a_fork_has_it_open(one: Claims, two: Claims) -> None:
    one.update(wish(0, 2))
    kept = os.dup(one.fd)  # the same lock, as a forked child has it
    one.close()
    assert two.update(wish(0, 2)).limit.cores == 2
    os.close(kept)


def test_the_end_of_a_fork_gives_up_nothing(one: Claims, two: Claims) -> None:
    one.update(wish(0, 2))
    if not (child := os.fork()):
        one.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert two.update(wish(0, 2)).limit.cores == 0


def test_changes_that_keep_size_and_time_are_seen(place: Path, one: Claims, two: Claims) -> None:
    one.update(wish(0, 0))
    two.update(wish(0, 0))
    one.update(wish(0, 0))
    now = time.monotonic()
    assert one.changed(now)
    assert not one.changed(now + IDLE_POLL_S - 0.01)
    path = place / files(place)[1]
    found = path.stat()
    path.write_bytes(path.read_bytes().replace(b'"wants": 0', b'"wants": 1'))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    one._poll_at = 0.0
    assert one.changed(now + IDLE_POLL_S - 0.01)


def test_who_cannot_write_for_long_goes_on_alone(
    one: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", refuse)
    assert one.update(wish(0, 2)).limit.cores == 0
    monkeypatch.setattr("pypelinin.runtime.claims.FAILS_MAX_S", 0.0)
    with pytest.warns(UserWarning, match="No space left"):
        assert one.update(wish(0, 2)).limit == MOST
    assert one.update(wish(0, 2)).limit == MOST  # it is said once
    assert one.deadline() == float("inf")
    assert not one.changed(time.monotonic() + 100)


def test_who_has_lost_the_directory_for_good_goes_on_alone(place: Path, one: Claims) -> None:
    shutil.rmtree(place)
    place.write_text("")
    with pytest.warns(UserWarning, match="not shared with other runs"):
        assert one.update(wish(0, 2)).limit == MOST


def test_where_there_are_no_locks_nothing_is_shared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("PYPELININ_CLAIMS")
    monkeypatch.setattr("fcntl.flock", refuse)
    before = os.listdir("/proc/self/fd")
    with pytest.warns(UserWarning, match="Function not implemented"):
        assert claims_of(MOST, {}) is None
    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_a_lock_that_is_kept_for_long_holds_nobody_up(
    place: Path, one: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its owner was stopped just then."""
    monkeypatch.setattr("pypelinin.runtime.claims.LOCK_S", 0.05)
    lock = os.open(place / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert one.update(wish(0, 2)).limit.cores == 0
    os.close(lock)
    assert one.update(wish(0, 2)).limit.cores == 2


def test_who_begins_waits_longer_for_the_lock(
    place: Path, one: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a machine that stalls for a moment would leave him without sharing to his end."""
    monkeypatch.setattr("pypelinin.runtime.claims.LOCK_S", 0.0)
    assert one.update(wish(0, 2)).limit.cores == 2
    lock = os.open(place / "lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    timer = threading.Timer(0.2, os.close, [lock])
    timer.start()
    other = Claims(MOST, {}, place)
    timer.join()
    monkeypatch.undo()
    assert other.update(wish(0, 1)).limit.cores == 0
    other.close()


def test_without_a_directory_of_our_own_nothing_is_shared_and_all_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYPELININ_CLAIMS", "on")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not shared with other runs"):
        assert claims_of(MOST, {}) is None


def test_a_job_lives_on_its_grant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("PYPELININ_CLAIMS")
    assert cores_granted() is None
    made = claims_of(MOST, {})
    assert made is not None
    made.close()
    monkeypatch.setenv("PYPELININ_CORES", "3")
    assert cores_granted() == 3
    assert claims_of(MOST, {}) is None
    monkeypatch.delenv("PYPELININ_CORES")
    monkeypatch.setenv("PYPELININ_CLAIMS", "off")
    assert claims_of(MOST, {}) is None
