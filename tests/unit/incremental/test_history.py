"""What is remembered: records and rows, who may have the file open, and files that are damaged."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pypelinin.graph.declared import Record
from pypelinin.incremental.exceptions import HistoryLoadingFailed, ProjectLocked
from pypelinin.incremental.hashers import hash_file
from pypelinin.incremental.history import VERSION, Files, History

RECORD = Record(
    (("kind", b"k"),), {"out": (("v", b"1"),)}, {("up", "in"): (("v", b"2"), ("w", b"3"))}
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history" / "history.sqlite3"


def filled(path: Path, jobs: int = 1) -> Path:
    with closing(History(path)) as history:
        for number in range(jobs):
            history.remember(f"job{number}", RECORD)
        history.commit()
    return path


# --- what is kept -----------------------------------------------------------------------------


def test_a_record_comes_back_with_who_makes_its_inputs_now(path: Path) -> None:
    filled(path)
    with closing(History(path)) as history:
        assert not history.is_new
        assert history.record("job0", {"in": "another"}) == RECORD._replace(
            inputs={("another", "in"): RECORD.inputs["up", "in"]}
        )
        assert history.record("unknown", {}) is None


def test_a_forgotten_record_is_gone_when_that_is_committed(path: Path) -> None:
    filled(path, 2)
    with closing(History(path)) as history:
        history.forget(["job0", "unknown"])
        history.commit()
        assert not history.is_dirty
    with closing(History(path)) as history:
        assert list(history.packed) == ["job1"]


def test_what_was_not_committed_is_not_there(path: Path) -> None:
    filled(path)
    with closing(History(path)) as history:
        history.remember("late", RECORD)
        history.text(b"digest", "text")
        history.reasons.put("late", b"body")
        assert history.is_dirty
    with closing(History(path)) as history:
        assert list(history.packed) == ["job0"]
        assert history.text_of(b"digest") is None
        assert history.reasons.is_empty


def test_texts_are_found_before_and_after_they_are_written(path: Path) -> None:
    with closing(History(path)) as history:
        history.text(b"digest", "text")
        assert history.text_of(b"digest") == "text"
        history.commit()
    with closing(History(path)) as history:
        assert history.text_of(b"digest") == "text"
        assert history.text_of(b"other") is None


def test_rows_are_put_dropped_and_listed(path: Path) -> None:
    with closing(History(path)) as history:
        assert history.reasons.is_empty
        history.reasons.put("b", b"1")
        history.reasons.put("a", b"2")
        assert history.reasons.keys() == ["a", "b"]
        assert not history.reasons.is_empty
        history.commit()
        assert history.reasons.get("b") == b"1"
        history.reasons.drop("b")
        assert history.reasons.get("b") is None
        assert history.reasons.keys() == ["a"]
        history.commit()
    with closing(History(path)) as history:
        assert (history.reasons.get("a"), history.reasons.get("b")) == (b"2", None)


def test_a_file_is_read_again_only_if_its_size_or_time_is_another(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    files = Files({})
    digest = files.digest(str(file))
    assert digest == hash_file(file)
    stat = os.stat(file)
    file.write_text("two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert files.digest(str(file)) == digest
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert files.digest(str(file)) == hash_file(file) != digest
    assert files.before[str(file)] == (3, stat.st_mtime_ns, digest)


# --- to read only -----------------------------------------------------------------------------


def test_who_only_reads_changes_nothing_and_needs_no_lock(path: Path) -> None:
    filled(path)
    before = path.read_bytes()
    with closing(History(path)), closing(History(path, read_only=True)) as reader:
        assert list(reader.packed) == ["job0"]
        reader.remember("more", RECORD)
        reader.meta.put("key", "value")
        reader.commit()
    assert path.read_bytes() == before


def test_who_only_reads_gets_an_empty_history_where_there_is_none(path: Path) -> None:
    with closing(History(path, read_only=True)) as reader:
        assert reader.is_new
        assert reader.packed == {}
        reader.text(b"digest", "text")
        assert reader.text_of(b"digest") == "text"
    assert not path.parent.exists()


# --- who has it open --------------------------------------------------------------------------

HOLDER = """
import sys
from pathlib import Path
from pypelinin.incremental.history import History
history = History(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.readline()
"""


def test_a_second_run_is_told_who_holds_the_project(path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ProjectLocked, match=f"process {holder.pid} on .* holds .*lock"):
            History(path)
        holder.stdin.write("\n")
    assert holder.returncode == 0
    History(path).close()


def test_the_lock_of_a_killed_run_is_gone_with_it(path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
    History(path).close()


def test_what_a_killed_run_left_behind_is_told(path: Path) -> None:
    leaves = HOLDER.replace("print(", "import os\nif not os.fork(): print(")
    with subprocess.Popen(
        [sys.executable, "-c", leaves, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait()
        match = f"something that process {holder.pid} on .* left behind, which has ended, holds"
        with pytest.raises(ProjectLocked, match=match):
            History(path)


def test_a_lock_file_without_a_name_names_nobody(path: Path) -> None:
    with closing(History(path)):
        path.with_suffix(".lock").write_text("")
        with pytest.raises(ProjectLocked, match="an unknown process"):
            History(path)


def test_a_process_that_was_forked_does_not_keep_the_lock(path: Path) -> None:
    history = History(path)
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    try:
        history.close()
        History(path).close()
    finally:
        os.close(write)
        os.waitpid(pid, 0)


# --- damage -----------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def scramble(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def scramble_inside(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = os.urandom(len(data) - 4096)
    path.write_bytes(data)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def tables_gone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("drop table records")
        db.execute("create table records(other text)")


@pytest.mark.parametrize("damage", [truncate, scramble, scramble_inside, empty, tables_gone])
def test_a_damaged_history_is_copied_and_never_taken_for_a_new_one(
    path: Path, damage: Callable[[Path], None]
) -> None:
    filled(path, 500)
    damage(path)
    content = path.read_bytes()
    with pytest.raises(HistoryLoadingFailed, match=r"cannot be read: .* A copy is at .*Remove"):
        History(path)
    (copy,) = path.parent.glob("*.unreadable-*")
    assert copy.read_bytes() == content
    with pytest.raises(HistoryLoadingFailed):  # neither is the second attempt a new one
        History(path)
    assert list(path.parent.glob("*.unreadable-*")) == [copy]
    with pytest.raises(HistoryLoadingFailed) as raised:
        History(path, read_only=True)
    assert "A copy" not in str(raised.value)


def test_a_directory_in_its_place_is_said_and_no_copy_is_claimed(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(HistoryLoadingFailed, match="cannot be read") as raised:
        History(path)
    assert "A copy" not in str(raised.value)


def test_the_lock_is_free_after_a_history_could_not_be_read(path: Path) -> None:
    filled(path)
    scramble(path)
    with pytest.raises(HistoryLoadingFailed):
        History(path)
    path.unlink()
    History(path).close()


def test_a_newer_version_is_not_touched(path: Path) -> None:
    filled(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"pragma user_version={VERSION + 1}")
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(HistoryLoadingFailed, match=r"newer version \(2, this one reads 1\)"):
            History(path, read_only=read_only)
    assert path.read_bytes() == before
    assert not list(path.parent.glob("*.unreadable-*"))


@pytest.mark.parametrize("body", [b"", b"\xff\xff", b"\x01", b"\x93\x01"])
def test_one_damaged_record_is_named_with_what_to_do(path: Path, body: bytes) -> None:
    filled(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("update records set body=?", (body,))
    with (
        closing(History(path)) as history,
        pytest.raises(HistoryLoadingFailed, match=r"record of 'job0' .* history forget 'job0'"),
    ):
        history.record("job0", {})


def test_without_permission_it_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(path)

    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refused)
    with pytest.raises(HistoryLoadingFailed, match=r"cannot be kept: .*Permission denied.*room"):
        History(path)


def test_a_file_where_its_directory_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("")
    with pytest.raises(HistoryLoadingFailed, match="cannot be kept"):
        History(tmp_path / "history" / "history.sqlite3")


def test_a_full_disk_is_said_and_what_waits_is_kept_for_the_next_commit(path: Path) -> None:
    filled(path)
    with closing(History(path)) as history:
        assert history._db is not None
        pages = history._db.execute("pragma page_count").fetchone()[0]
        history._db.execute(f"pragma max_page_count={pages}")
        history.text(b"digest", "x" * 100_000)
        history.forget(["job0"])
        with pytest.raises(OSError, match="cannot be written: database or disk is full"):
            history.commit()
        assert history.is_dirty
        history._db.execute("pragma max_page_count=100000")
        history.commit()
    with closing(History(path)) as history:
        assert history.packed == {}


def test_what_cannot_be_written_does_not_hinder_the_rest(path: Path) -> None:
    with closing(History(path)) as history:
        history.text(b"digest", "\udce4")
        with pytest.raises(UnicodeEncodeError):
            history.commit()
        history.text(b"digest", "text")
        history.commit()
        assert history.text_of(b"digest") == "text"


@pytest.mark.mounts
def test_a_read_only_disk_is_said(path: Path) -> None:
    filled(path)
    code = (
        "import sys; from pathlib import Path\n"
        "from pypelinin.incremental.history import History\n"
        "print(sorted(History(Path(sys.argv[1]), read_only=True).packed))\n"
        "try: History(Path(sys.argv[1]))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    place = path.parent
    script = (
        f'mount --bind "{place}" "{place}" && mount -o remount,ro,bind "{place}" && '
        f'exec "{sys.executable}" -W error -c "$0" "{path}"'
    )
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, code], capture_output=True, text=True, check=True
    )
    read, refused = done.stdout.splitlines()
    assert read == "['job0']"
    assert refused.startswith("HistoryLoadingFailed")
    assert "Read-only file system" in refused
