"""Large values in files."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pypelinin.errors import ValueLost
from pypelinin.runtime.value_files import FRESH_S, Reference, ValueFiles, reference

RUN = "a" * 32


@pytest.fixture
def files(tmp_path: Path) -> ValueFiles:
    return ValueFiles(tmp_path / "values")


def test_what_is_put_is_what_comes_back(files: ValueFiles) -> None:
    values = [[b"one", memoryview(b"two")], [b"x" * 100_000], [b"three"]]
    kept = files.put(f"{RUN}/arguments", values, durable=True)
    assert [bytes(files.get(packed)) for packed in kept] == [b"onetwo", b"x" * 100_000, b"three"]


def test_a_reference_comes_back_as_it_was() -> None:
    kept = Reference("run/1-2a", 4096, 17, 0xDEADBEEF)
    assert reference(kept.pack()) == kept
    assert "17 bytes" in str(kept)
    assert "deadbeef" in str(kept)


@pytest.mark.parametrize(
    "packed",
    [b"v", b"vx", b"v../secret|0|1|00", b"v/etc/passwd|0|1|00", b"va/../b|0|1|00",
     b"va/b|-1|1|00", b"va/b|0|0|00", b"va/b|0|one|00", b"va/b/c|0|1|00", b"v\xff/b|0|1|00"],
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
    long_ago = time.time() - 2 * FRESH_S
    os.utime(path, (long_ago, long_ago))
    with pytest.raises(ValueLost, match="not what was written"):
        files.get(packed)


@pytest.mark.parametrize("uptime_s", [5.0, 1e9])
def test_what_was_written_before_the_machine_started_is_not_fresh(
    uptime_s: float, files: ValueFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    (packed,) = files.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=False)
    path = files.root / RUN / "1-1"
    path.write_bytes(b"x" * 150_000)
    just_now = time.time() - 10
    os.utime(path, (just_now, just_now))
    monkeypatch.setattr(time, "clock_gettime", lambda clock: uptime_s)
    if uptime_s > 10:  # nothing but a restart could have spoiled it
        assert len(files.get(packed)) == 150_000
    else:
        with pytest.raises(ValueLost, match="not what was written"):
            files.get(packed)


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
    def values() -> object:
        yield [b"data"]
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        files.put(f"{RUN}/1-1", values(), durable=False)  # type: ignore[arg-type]
    assert not (files.root / RUN / "1-1").exists()


def test_passing_values_are_checked_by_their_size(tmp_path: Path) -> None:
    files = ValueFiles(tmp_path / "values", passing=True)
    (packed,) = files.put(f"{RUN}/1-1", [[b"abc" * 50_000]], durable=False)
    assert bytes(files.get(packed)) == b"abc" * 50_000
    os.truncate(files.root / RUN / "1-1", 100)
    with pytest.raises(ValueLost, match="cut off"):
        files.get(packed)
