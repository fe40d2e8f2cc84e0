from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import threading
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.cluster.events import Compact, KeepImage, Write
from pypelinin.errors import ClusterError, JournalDamaged, Refused, VersionMismatch
from pypelinin.runtime import journal as module
from pypelinin.runtime.journal import Journal
from pypelinin.wire.rows import CancelledRuns, StateImage, unpack_row

Committed = tuple[int, str]


class Watch:
    """What the journal's thread said, and a way to wait for it."""

    def __init__(self) -> None:
        self.said: list[Committed] = []
        self._news = threading.Condition()

    def __call__(self, lsn: int, error: str) -> None:
        with self._news:
            self.said.append((lsn, error))
            self._news.notify_all()

    def wait_for(self, found: Callable[[Committed], bool]) -> Committed:
        with self._news:
            assert self._news.wait_for(lambda: any(map(found, self.said)), timeout=20)
            return next(filter(found, self.said))

    def durable(self, lsn: int) -> None:
        assert not self.wait_for(lambda said: bool(said[1]) or said[0] >= lsn)[1]


def row(number: int, size: int = 3) -> CancelledRuns:
    return CancelledRuns(array("I", range(number, number + size)))


def opened(directory: Path, watch: Watch | None = None, synchronous: str = "full") -> Journal:
    return Journal(directory, synchronous, "pid 7", watch or Watch())


def write(journal: Journal, *numbers: int) -> None:
    for number in numbers:
        journal.append(Write(number, row(number)))


def filled(directory: Path, rows: int = 20) -> None:
    """A journal of *rows* rows, each group committed before the next; not closed in order."""
    watch = Watch()
    journal = opened(directory, watch)
    assert list(journal.rows()) == []
    journal.start()
    grow(journal, watch, range(1, rows + 1))
    freeze(journal, directory)


def freeze(journal: Journal, directory: Path) -> None:
    """Leave *directory* as kill -9 would, with its WAL, and end the journal."""
    frozen = directory.with_name(directory.name + "-frozen")
    shutil.copytree(directory, frozen)
    journal.close()
    shutil.rmtree(directory)
    frozen.rename(directory)


def read(directory: Path) -> list[tuple[int, Any]]:
    with opened(directory) as journal:
        return [(lsn, unpack_row(body)) for lsn, body in journal.rows()]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


# --- writing and reading ----------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _short_files(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that hold nothing but rows, so that damage hits them; the padding has one test."""
    if "padded" not in request.node.name:
        monkeypatch.setattr("pypelinin.runtime.journal._extend_wal", lambda *_: None)


def test_a_padded_wal_does_not_grow_and_is_padded_once(directory: Path) -> None:
    sizes = []
    for number in (1, 2):
        watch = Watch()
        journal = opened(directory, watch)
        list(journal.rows())
        wal = directory / "journal.sqlite-wal"
        journal.start()
        sizes.append(wal.stat().st_size)
        write(journal, number)
        journal.hurry()
        watch.durable(number)
        assert wal.stat().st_size == sizes[-1] > 4_000_000
        freeze(journal, directory)
    assert [lsn for lsn, _ in read(directory)] == [1, 2]


def test_padding_that_was_cut_off_is_padded_again(directory: Path) -> None:
    opened(directory).close()
    alter(directory, "CREATE TABLE pad (bytes BLOB)")
    with opened(directory) as journal:
        list(journal.rows())
        journal.start()
        write(journal, 1)
    assert [lsn for lsn, _ in read(directory)] == [1]
    assert (directory / "journal.sqlite").stat().st_size < 6_000_000


def test_what_was_committed_is_read_again_in_order(directory: Path) -> None:
    watch = Watch()
    with opened(directory, watch) as journal:
        assert (list(journal.images()), list(journal.rows())) == ([], [])
        journal.start()
        write(journal, *range(1, 1001))
    assert watch.said[-1] == (1000, "")
    assert read(directory) == [(n, row(n)) for n in range(1, 1001)]
    watch = Watch()
    with opened(directory, watch) as journal:
        assert sum(1 for _ in journal.rows()) == journal.lsn == 1000
        journal.start()
        write(journal, 1001)
        journal.hurry()
        watch.durable(1001)
    assert len(read(directory)) == 1001


def test_rows_share_commits_and_are_told_in_order(directory: Path) -> None:
    watch = Watch()
    with opened(directory, watch) as journal:
        list(journal.rows())
        journal.start()
        write(journal, *range(1, 5001))
        watch.durable(5000)
    lsns = [lsn for lsn, error in watch.said if not error]
    assert lsns == sorted(set(lsns))
    assert len(lsns) < 100


def test_a_group_is_bounded(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROUP_ROWS_MAX", 10)
    watch = Watch()
    with opened(directory, watch) as journal:
        list(journal.rows())
        journal.start()
        write(journal, *range(1, 101))
        watch.durable(100)
    assert len(watch.said) >= 10
    assert len(read(directory)) == 100


def test_closing_commits_what_was_appended(directory: Path) -> None:
    journal = opened(directory)
    list(journal.rows())
    journal.start()
    write(journal, *range(1, 30_001))
    journal.close()
    assert len(read(directory)) == 30_000


def test_a_journal_that_never_started_can_be_closed(directory: Path) -> None:
    opened(directory).close()
    assert read(directory) == []


def test_only_its_owner_can_enter(directory: Path) -> None:
    opened(directory).close()
    assert directory.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("synchronous", ["full", "normal"])
def test_kill_9_loses_nothing_that_was_told(directory: Path, synchronous: str) -> None:
    watch = Watch()
    journal = opened(directory, watch, synchronous)
    list(journal.rows())
    journal.start()
    write(journal, 1, 2, 3)
    watch.durable(3)
    freeze(journal, directory)
    assert [lsn for lsn, _ in read(directory)] == [1, 2, 3]


# --- one writer -------------------------------------------------------------------------------


def test_a_second_opener_is_refused_with_the_name_of_the_first(directory: Path) -> None:
    text = f"Another Router has the journal {directory}: pid 7"
    with opened(directory), pytest.raises(Refused, match=text):
        opened(directory)
    opened(directory).close()


def test_rows_of_a_writer_whose_lock_failed_are_refused(directory: Path) -> None:
    """As on a file system without locks: the second one takes over, the first one stops."""
    watch = Watch()
    first = opened(directory, watch)
    list(first.rows())
    first.start()
    (directory / "lock").unlink()
    with opened(directory) as second:
        list(second.rows())
        second.start()
        write(first, 1)
        assert "took this journal over" in watch.wait_for(lambda said: bool(said[1]))[1]
    first.close()
    assert read(directory) == []


# --- errors of the thread ---------------------------------------------------------------------


class Unpackable:
    """No row; packing it raises something nobody thought of."""


def test_whatever_a_commit_raises_is_told(directory: Path) -> None:
    watch = Watch()
    journal = opened(directory, watch)
    list(journal.rows())
    journal.start()
    write(journal, 1)
    watch.durable(1)
    journal.append(Write(2, Unpackable()))  # type: ignore[arg-type]  # wrong on purpose
    assert watch.wait_for(lambda said: bool(said[1]))[0] == 1
    journal.close()
    assert len(read(directory)) == 1


def test_a_group_that_is_rolled_back_is_not_called_durable(directory: Path) -> None:
    watch = Watch()
    journal = opened(directory, watch)
    list(journal.rows())
    broken = KeepImage(1, 1, Unpackable())  # type: ignore[arg-type]  # wrong on purpose
    for item in (Write(1, row(1)), broken, Write(2, row(2))):
        journal.append(item)
    journal.start()
    assert watch.wait_for(lambda said: bool(said[1]))[0] == 0
    assert journal.lsn == 0
    journal.close()
    assert read(directory) == []


def test_a_full_disk_is_told(directory: Path) -> None:
    watch = Watch()
    journal = opened(directory, watch)
    list(journal.rows())
    journal._db.execute("PRAGMA max_page_count = 20")
    journal.start()
    for number in range(1, 200):
        journal.append(Write(number, row(number, 1000)))
        journal.hurry()
        if watch.said and watch.said[-1][1]:
            break
    lsn, error = watch.wait_for(lambda said: bool(said[1]))
    assert "full" in error
    journal.close()
    assert len(read(directory)) == lsn


# --- commits by who waits ------------------------------------------------------------------------


def warm(journal: Journal, watch: Watch) -> None:
    """Its thread has committed, so it knows how long that takes."""
    list(journal.rows())
    journal.start()
    write(journal, 1)
    watch.durable(1)


def test_who_waits_commits_himself_if_that_is_quick(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK_S", 10.0)
    watch = Watch()
    with opened(directory, watch) as journal:
        assert not journal.hurry()  # nothing was measured yet
        warm(journal, watch)
        write(journal, 2, 3)
        assert journal.hurry()
        assert journal.lsn == 3
        assert watch.said == [(1, "")]  # he knows it already
    assert len(read(directory)) == 3


@pytest.mark.parametrize("reason", ["a slow disk", "many rows", "the thread commits"])
def test_the_thread_commits_what_is_not_quick(
    directory: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(module, "QUICK_S", 0.0 if reason == "a slow disk" else 10.0)
    watch = Watch()
    rows = range(2, 1000 if reason == "many rows" else 4)
    with opened(directory, watch) as journal:
        warm(journal, watch)
        write(journal, *rows)
        if reason == "the thread commits":
            with journal._committing:
                assert not journal.hurry()
        else:
            assert not journal.hurry()
        watch.durable(rows[-1])


def test_a_commit_that_failed_here_is_told_and_nothing_is_committed_after_it(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUICK_S", 10.0)
    watch = Watch()
    with opened(directory, watch) as journal:
        warm(journal, watch)
        monkeypatch.setattr(journal, "_commit", lambda _: 1 / 0)
        write(journal, 2)
        assert not journal.hurry()
        assert watch.said[-1] == (1, "division by zero")
        monkeypatch.undo()
        write(journal, 3)
        assert not journal.hurry()
    assert len(read(directory)) == 1


# --- what cannot be opened --------------------------------------------------------------------


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ClusterError, match="cannot be written: Not a directory"):
        opened(tmp_path / "file" / "journal")
    with pytest.raises(ClusterError, match="cannot be written: File exists"):
        opened(tmp_path / "file")


@pytest.mark.parametrize("name", ["lock", "head", "journal.sqlite"])
def test_a_file_that_is_a_directory(directory: Path, name: str) -> None:
    (directory / name).mkdir(parents=True)
    with pytest.raises(ClusterError, match=r"Is a directory|unable to open"):
        opened(directory)
    (directory / name).rmdir()
    opened(directory).close()


@pytest.fixture
def nobody() -> Iterator[None]:
    """Not root, who may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_directory_that_is_not_ours(nobody: None) -> None:
    with pytest.raises(
        ClusterError, match=r"cannot be written: .* Give another one with --journal"
    ):
        opened(Path("/proc/journal"))
    with pytest.raises(ClusterError, match="cannot be written: Permission denied"):
        opened(Path("/journal-of-a-test"))


def test_a_newer_format_is_left_alone(directory: Path) -> None:
    filled(directory, 3)
    alter(directory, "UPDATE meta SET value = 99 WHERE key = 'format'")
    with pytest.raises(VersionMismatch, match="has format 99; this version reads up to"):
        opened(directory)
    alter(directory, f"UPDATE meta SET value = {module.FORMAT} WHERE key = 'format'")
    assert len(read(directory)) == 3


def alter(directory: Path, statement: str) -> None:
    db = sqlite3.connect(directory / "journal.sqlite", isolation_level=None)
    db.execute(statement)
    db.close()


def test_what_is_no_database(directory: Path) -> None:
    directory.mkdir()
    (directory / "journal.sqlite").write_bytes(b"not a database" * 1000)
    with pytest.raises(JournalDamaged, match="not a database"):
        opened(directory)


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("DELETE FROM rows WHERE lsn = 7", "row 7 is missing or altered"),
        ("DELETE FROM rows WHERE lsn = 1", "row 1 is missing or altered"),
        ("DELETE FROM rows WHERE lsn > 15", "rows up to 20 were committed, 15 are there"),
        ("DELETE FROM rows", "rows up to 20 were committed, 0 are there"),
        ("UPDATE rows SET body = zeroblob(20) WHERE lsn = 9", "row 9 is missing or altered"),
        ("UPDATE rows SET crc = crc + 1 WHERE lsn = 20", "row 20 is missing or altered"),
        ("UPDATE rows SET count = 2 WHERE lsn = 4", "row 4 is missing or altered"),
    ],
)
def test_changed_rows_are_named(directory: Path, statement: str, text: str) -> None:
    filled(directory)
    alter(directory, statement)
    with pytest.raises(JournalDamaged, match=f"is damaged: {text}.* Restore it from a copy"):
        read(directory)


def test_a_lost_wal_is_noticed(directory: Path) -> None:
    filled(directory)
    (directory / "journal.sqlite-wal").unlink()
    with pytest.raises(JournalDamaged, match="rows up to 20 were committed, 0 are there"):
        read(directory)


def test_a_lost_database_is_noticed(directory: Path) -> None:
    filled(directory)
    for path in directory.glob("journal.sqlite*"):
        path.unlink()
    with pytest.raises(JournalDamaged, match="rows up to 20 were committed, 0 are there"):
        read(directory)


def test_without_its_head_a_sound_journal_is_read(directory: Path) -> None:
    filled(directory)
    (directory / "head").unlink()
    assert len(read(directory)) == 20


def test_a_head_that_lags_is_as_good(directory: Path) -> None:
    filled(directory)
    (directory / "head").write_bytes(module._HEAD.pack(3, 0))
    assert len(read(directory)) == 20


def test_reading_a_damaged_journal_again_says_the_same(directory: Path) -> None:
    filled(directory)
    alter(directory, "DELETE FROM rows WHERE lsn = 7")
    for _ in range(3):
        with pytest.raises(JournalDamaged, match="row 7"):
            read(directory)


def test_a_power_loss_that_keeps_the_head_and_loses_rows(directory: Path) -> None:
    """With "normal" the last commits may go, and only they; with "full" they must not."""
    watch = Watch()
    journal = opened(directory, watch, "normal")
    list(journal.rows())
    journal.start()
    for number in (1, 2, 3):
        write(journal, number)
        journal.hurry()
        watch.durable(number)
    freeze(journal, directory)
    wal = directory / "journal.sqlite-wal"
    os.truncate(wal, wal.stat().st_size - 100)
    assert [lsn for lsn, _ in read(directory)] == [1, 2]


FLIPS = 200
CUTS = 60


def same_or_noticed(directory: Path, truth: list[Any]) -> bool:
    """Whether the journal was read; asserts that nothing else than the truth was."""
    try:
        found = read_all(directory)
    except (JournalDamaged, VersionMismatch):
        return False
    assert found == truth
    return True


def read_all(directory: Path) -> list[Any]:
    with opened(directory) as journal:
        images: list[Any] = list(journal.images())
        return images + [(lsn, unpack_row(body)) for lsn, body in journal.rows()]


def state_image(lsn: int) -> StateImage:
    return StateImage(lsn, 1, "c", 1, 1, 1, 1, (), (), (), array("I"))


@pytest.fixture(params=["rows", "images"])
def sound(request: pytest.FixtureRequest, directory: Path) -> tuple[Path, list[Any]]:
    """A journal as kill -9 leaves it, half in the database and half in the WAL, and its truth."""
    with opened(directory, watch := Watch()) as journal:
        list(journal.rows())
        journal.start()
        grow(journal, watch, range(1, 16))
        if request.param == "images":
            journal.append(KeepImage(1, 10, row(1)))
            journal.append(KeepImage(2, 15, row(2)))
            journal.append(KeepImage(0, 15, state_image(15)))
            journal.append(Compact(15, array("I")))
        grow(journal, watch, range(16, 21))
    journal = opened(directory, watch := Watch())
    list(journal.rows())
    journal.start()
    grow(journal, watch, range(21, 41))
    freeze(journal, directory)
    assert (directory / "journal.sqlite").stat().st_size > 8192
    assert (directory / "journal.sqlite-wal").stat().st_size > 8192
    truth = read_copy(directory)
    assert len(truth) == (40 if request.param == "rows" else 28)
    return directory, truth


def grow(journal: Journal, watch: Watch, numbers: range) -> None:
    for number in numbers:
        write(journal, number)
        journal.hurry()
        watch.durable(number)


def read_copy(directory: Path) -> list[Any]:
    with copied(directory) as copy:
        return read_all(copy)


class copied:
    """A copy of *directory* for as long as the block lasts."""

    def __init__(self, directory: Path) -> None:
        self.copy = directory.with_name("copy")
        shutil.copytree(directory, self.copy)

    def __enter__(self) -> Path:
        return self.copy

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.copy)


def used(path: Path) -> list[int]:
    """Places near bytes that are not zero; most of a WAL is room for later."""
    spans = [match.span() for match in re.finditer(rb"[^\0]+", path.read_bytes())]
    return [place for low, high in spans for place in range(max(0, low - 2), high)]


def test_a_flipped_bit_is_never_a_different_state(sound: tuple[Path, list[Any]]) -> None:
    directory, truth = sound
    chance = random.Random(11)
    files = ["journal.sqlite", "journal.sqlite-wal", "head"]
    weights = [8, 8, 1]
    places = {name: used(directory / name) for name in files}
    noticed = 0
    for _ in range(FLIPS):
        with copied(directory) as copy:
            name = chance.choices(files, weights)[0]
            place = chance.choice(places[name])
            with (copy / name).open("r+b") as file:
                file.seek(place)
                (byte,) = file.read(1)
                file.seek(place)
                file.write(bytes((byte ^ 1 << chance.randrange(8),)))
            noticed += not same_or_noticed(copy, truth)
    assert noticed > FLIPS / 8  # many bytes are of pages that are not used any more


def test_a_cut_file_is_never_a_different_state(sound: tuple[Path, list[Any]]) -> None:
    directory, truth = sound
    chance = random.Random(12)
    for _ in range(CUTS):
        with copied(directory) as copy:
            path = copy / chance.choice(["journal.sqlite", "journal.sqlite-wal", "head"])
            os.truncate(path, chance.randrange(path.stat().st_size))
            same_or_noticed(copy, truth)


# --- images -----------------------------------------------------------------------------------


def compacted(directory: Path) -> Journal:
    watch = Watch()
    journal = opened(directory, watch)
    list(journal.rows())
    journal.start()
    write(journal, *range(1, 11))
    journal.append(KeepImage(1, 5, row(1)))
    journal.append(KeepImage(2, 10, row(2)))
    journal.append(KeepImage(0, 10, state_image(10)))
    journal.append(Compact(10, array("I")))
    write(journal, 11, 12)
    journal.hurry()
    watch.durable(12)
    return journal


def numbers(directory: Path) -> tuple[list[int], list[int]]:
    """(runs with an image, rows)."""
    with opened(directory) as journal:
        return [n for n, _ in journal.images()], [lsn for lsn, _ in journal.rows()]


def test_images_stand_for_the_rows_before_them(directory: Path) -> None:
    compacted(directory).close()
    assert numbers(directory) == ([0, 1, 2], [11, 12])


def test_a_missing_image_is_noticed(directory: Path) -> None:
    compacted(directory).close()
    alter(directory, "DELETE FROM images WHERE number = 2")
    with pytest.raises(JournalDamaged, match="images are missing"):
        numbers(directory)


def test_an_altered_image_or_base_is_noticed(directory: Path) -> None:
    compacted(directory).close()
    alter(directory, "UPDATE images SET body = zeroblob(9) WHERE number = 1")
    with pytest.raises(JournalDamaged, match="the image of run 1 is altered"):
        numbers(directory)
    alter(directory, "UPDATE meta SET value = 12 WHERE key = 'base'")
    with pytest.raises(JournalDamaged, match="the base is altered"):
        numbers(directory)


def test_images_of_a_compaction_that_was_cut_off_do_not_count(directory: Path) -> None:
    journal = compacted(directory)
    watch = Watch()
    journal._on_commit = watch
    journal.append(KeepImage(3, 12, row(3)))
    write(journal, 13)
    journal.hurry()
    watch.durable(13)
    freeze(journal, directory)
    assert numbers(directory) == ([0, 1, 2], [11, 12, 13])
    with opened(directory) as journal:
        list(journal.rows())
        journal.start()
        journal.append(KeepImage(0, 13, state_image(13)))
        journal.append(Compact(13, array("I", [1])))
    assert numbers(directory) == ([0, 2], [])


def test_an_image_that_is_newer_replaces_the_older(directory: Path) -> None:
    compacted(directory).close()
    with opened(directory) as journal:
        list(journal.rows())
        journal.start()
        for number in (0, 2):
            journal.append(KeepImage(number, 12, row(100)))
        journal.append(Compact(12, array("I")))
    with opened(directory) as journal:
        assert len({body for _, body in journal.images()}) == 2
    db = sqlite3.connect(directory / "journal.sqlite")
    assert db.execute("SELECT COUNT(*) FROM images").fetchone() == (3,)
    db.close()
