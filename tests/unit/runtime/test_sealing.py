"""Values that stay come to the disk by themselves."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pypelinin.runtime import sealing
from pypelinin.runtime.sealing import Sealer
from pypelinin.runtime.value_files import ValueFiles, is_sealed, this_start
from tests.integration.cluster import until

RUN = "a" * 32


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "values"


@pytest.fixture
def sealer(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sealer]:
    """Does nothing that it is not told to."""
    monkeypatch.setattr(sealing, "EVERY_S", 3600.0)
    with closing(Sealer(root)) as made:
        yield made


def written(root: Path, name: str = "1-1", age_s: float = 0.0) -> Path:
    ValueFiles(root, this_start()).put(f"{RUN}/{name}", [[b"x" * 1000]], durable=False)
    path = root / RUN / name
    at = time.time() - age_s
    os.utime(path, (at, at))
    os.utime(path.parent, (at, at))
    return path


def sealed(path: Path) -> bool:
    return is_sealed(path.stat())


def test_what_is_old_enough_is_sealed(root: Path, sealer: Sealer) -> None:
    old, young = written(root, "old", 100), written(root, "young")
    sealer.seal(50)
    assert sealed(old)
    assert not sealed(young)


def test_what_comes_later_into_a_directory_is_seen(root: Path, sealer: Sealer) -> None:
    first = written(root, "first", 100)
    sealer.seal(10)
    sealer.seal(10)
    second = written(root, "second", 50)
    sealer.seal(10)
    assert sealed(first)
    assert sealed(second)


def test_a_directory_without_work_is_looked_at_once(
    root: Path, sealer: Sealer, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(root, age_s=100)
    sealer.seal(10)
    sealer.seal(10)
    monkeypatch.delattr(sealer.__class__, "_seal_all")
    sealer.seal(10)


def test_what_is_still_written_is_left_alone(root: Path, sealer: Sealer) -> None:
    path = written(root, age_s=100)
    with open(path, "rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_SH)
        sealer.seal(10)
        assert not sealed(path)
    sealer.seal(10)
    assert sealed(path)


@pytest.mark.parametrize("name", ["1-1.abc.part", "empty"])
def test_what_is_no_whole_value_is_left_alone(name: str, root: Path, sealer: Sealer) -> None:
    (root / RUN).mkdir(parents=True)
    path = root / RUN / name
    path.write_bytes(b"" if name == "empty" else b"x")
    path.chmod(0o600)
    sealer.seal()
    assert not sealed(path)


def test_the_end_seals_all(root: Path) -> None:
    with closing(Sealer(root)):
        path = written(root)
    assert sealed(path)


def test_it_works_by_itself(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealing, "EVERY_S", 0.05)
    path = written(root)
    with closing(Sealer(root)):
        until(lambda: sealed(path), "the seal")


def test_other_files_and_a_missing_directory_are_no_trouble(root: Path, sealer: Sealer) -> None:
    sealer.seal()
    root.mkdir()
    (root / "probe").write_text("x")
    sealer.seal()
    assert not sealed(root / "probe")
