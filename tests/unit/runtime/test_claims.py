"""Claims are files that the kernel looks after: they end with whoever held them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
    assert (shared.limit.cores, shared.offer.cores) == (0, 0)
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
    assert one.update(wish(0, 0)).offer.cores == 0
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
    import fcntl

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
    monkeypatch.setenv("PYPELININ_CLAIMS", "on")
    assert cores_granted() is None
    made = claims_of(MOST, {})
    assert made is not None
    made.close()
    monkeypatch.setenv("PYPELININ_CORES", "3")
    assert cores_granted() == 3
    assert claims_of(MOST, {}) is None
    monkeypatch.delenv("PYPELININ_CORES")
    monkeypatch.delenv("PYPELININ_CLAIMS")
    assert claims_of(MOST, {}) is None
