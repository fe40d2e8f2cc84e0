"""Large values in files."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pypelinin.errors import ValueLost
from pypelinin.runtime import value_files
from pypelinin.runtime.value_files import (
    NotSealed,
    Reference,
    ValueFiles,
    is_sealed,
    reference,
    seal,
    this_start,
)

RUN = "a" * 32


@pytest.fixture
def files(tmp_path: Path) -> ValueFiles:
    return ValueFiles(tmp_path / "values")


def test_what_is_put_is_what_comes_back(files: ValueFiles) -> None:
    values = [[b"one", memoryview(b"two")], [b"x" * 100_000], [b"three"]]
    kept = files.put(f"{RUN}/arguments", values, durable=True)
    assert [bytes(files.get(packed)) for packed in kept] == [b"onetwo", b"x" * 100_000, b"three"]


@pytest.mark.parametrize("check", ["deadbeef", "@deadbeef"])
def test_a_reference_comes_back_as_it_was(check: str) -> None:
    kept = Reference("run/1-2a", 4096, 17, check)
    assert reference(kept.pack()) == kept
    assert "17 bytes" in str(kept)
    assert "deadbeef" in str(kept)


@pytest.mark.parametrize(
    "packed",
    [b"v", b"vx", b"v../secret|0|1|00", b"v/etc/passwd|0|1|00", b"va/../b|0|1|00",
     b"va/b|-1|1|00000000", b"va/b|0|0|00000000", b"va/b|0|one|00000000", b"va/b|0|1|00",
     b"va/b/c|0|1|00000000", b"v\xff/b|0|1|00000000", b"va/b|0|1|@../../x"],
)  # fmt: skip
def test_what_is_no_reference_is_refused(packed: bytes, files: ValueFiles) -> None:
    with pytest.raises(ValueLost, match="no name of a kept value"):
        files.get(packed)


def test_to_change_what_was_read_changes_nobody_elses(files: ValueFiles) -> None:
    (packed,) = files.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=False)
    files.get(packed)[0] = 0
    assert bytes(files.get(packed)[:3]) == b"abc"


def test_a_flipped_byte_is_noticed(files: ValueFiles) -> None:
    (packed,) = files.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=False)
    path = files.root / RUN / "1-1"
    content = bytearray(path.read_bytes())
    content[77] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueLost, match="not what was written"):
        files.get(packed)


@pytest.fixture
def here(tmp_path: Path) -> ValueFiles:
    """On the machine that has the disk."""
    return ValueFiles(tmp_path / "values", this_start())


def restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(value_files, "this_start", lambda: "@0other00")


def test_what_is_not_synced_counts_until_the_machine_restarts(
    here: ValueFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packed,) = here.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=False)
    assert not reference(packed).summed
    assert bytes(here.get(packed)) == b"abc" * 50_000
    restarted(monkeypatch)
    with pytest.raises(NotSealed, match="not on the disk when the machine restarted"):
        here.get(packed)


def test_what_is_sealed_counts_longer(here: ValueFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    (packed,) = here.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=False)
    with open(here.root / RUN / "1-1", "rb") as file:
        seal(file.fileno())
    restarted(monkeypatch)
    assert bytes(here.get(packed)) == b"abc" * 50_000


@pytest.mark.parametrize(("start", "durable"), [("", False), ("@ffffffff", False), (None, True)])
def test_what_is_synced_or_of_another_machine_is_summed(
    start: str | None, durable: bool, tmp_path: Path
) -> None:
    files = ValueFiles(tmp_path / "values", this_start() if start is None else start)
    (packed,) = files.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=durable)
    assert reference(packed).check == f"{zlib.crc32(b'abc' * 50_000):08x}"
    assert is_sealed(os.stat(files.root / RUN / "1-1")) == durable


def test_a_name_that_was_sealed_before_is_written_anew(here: ValueFiles) -> None:
    here.put(f"{RUN}/1-1", [[b"old" * 50_000]], durable=True)
    (packed,) = here.put(f"{RUN}/1-1", [[b"new" * 50_000]], durable=False)
    assert not is_sealed(os.stat(here.root / RUN / "1-1"))
    assert bytes(here.get(packed)[:3]) == b"new"


def test_a_cut_file_is_noticed(files: ValueFiles) -> None:
    (packed,) = files.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=False)
    os.truncate(files.root / RUN / "1-1", 100)
    with pytest.raises(ValueLost, match="cut off"):
        files.get(packed)


def test_a_value_that_is_gone_is_told_by_its_name(files: ValueFiles) -> None:
    (packed,) = files.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=False)
    files.drop(f"{RUN}/1-1")
    with pytest.raises(ValueLost, match=f"{RUN}/1-1 at 0 .150,000 bytes.*is gone"):
        files.get(packed)


def test_what_was_read_outlives_its_file(files: ValueFiles) -> None:
    (packed,) = files.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=False)
    view = files.get(packed)
    files.drop(RUN)
    assert not (files.root / RUN).exists()
    assert bytes(view) == b"abc" * 50_000


@pytest.mark.parametrize("name", ["", ".", "..", "/", "../x", "a/../../x"])
def test_nothing_else_is_dropped(name: str, files: ValueFiles, tmp_path: Path) -> None:
    outside = tmp_path / "x"
    outside.write_text("stays")
    files.put(f"{RUN}/1-1", [[b"stays"]], durable=False)
    try:
        files.drop(name)
    except ValueLost:
        pass
    assert outside.read_text() == "stays"
    assert (files.root / RUN / "1-1").read_bytes() == b"stays"


def test_a_sweep_leaves_what_is_known_or_young(files: ValueFiles) -> None:
    for run in ("known", "young", "old"):
        files.put(f"{run}/1-1", [[b"data"]], durable=False)
    before = time.time() - 7200
    for run in ("known", "old"):
        os.utime(files.root / run, (before, before))
    files.sweep({"known"})
    assert sorted(os.listdir(files.root)) == ["known", "young"]


def test_a_full_disk_leaves_no_half_file(files: ValueFiles) -> None:
    def values() -> Iterator[list[bytes]]:
        yield [b"data"]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        files.put(f"{RUN}/1-1", values(), durable=False)
    assert not (files.root / RUN / "1-1").exists()
