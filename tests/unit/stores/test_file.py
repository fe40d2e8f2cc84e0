from __future__ import annotations

import errno
import fcntl
import json
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pypelinin.store import StoreUnavailable
from pypelinin.stores import FileStore
from pypelinin.stores.file import FILE_NAME_LENGTH_MAX
from tests.unit.stores.contract import AWKWARD_NAMES, StoreContract, save

if TYPE_CHECKING:
    from tests.unit.stores.contract import Opener


class TestContract(StoreContract):
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Opener:
        return partial(FileStore, tmp_path / "results")


def files(directory: Path) -> list[str]:
    found = (path for path in directory.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(directory)) for path in found)


def test_one_readable_file_a_key(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    save(store, {"text": "ü", "page": b"ab"}, fence=3)
    assert files(tmp_path) == [
        "pipelines/p1/.jobs/count.fence",
        "pipelines/p1/page.json",
        "pipelines/p1/text.json",
    ]
    assert json.loads(store.path("p1", "text").read_text(encoding="utf-8")) == {
        "pipeline": "p1",
        "key": "text",
        "job": "count",
        "fence": 3,
        "value": "ü",
    }


def test_no_name_leads_out_of_the_directory(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "results")
    for name in AWKWARD_NAMES:
        save(store, {name: 1}, name, name)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["pipelines"]
    assert len(files(tmp_path)) == 2 * len(AWKWARD_NAMES)
    assert max(len(part) for path in files(tmp_path) for part in path.split("/")) < 255


def test_names_are_readable_up_to_the_limit(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    longest = "x" * FILE_NAME_LENGTH_MAX
    assert store.path("p1", longest).name == f"{longest}.json"
    assert store.path("p1", longest + "x").name.startswith("x" * 60 + "~sha256~")


def test_the_working_directory_of_a_job_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = FileStore("results", monitoring_filename="figures.log")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    save(store, {"x": 1})
    store.save_monitoring({"x": 1})
    assert FileStore(tmp_path / "results").load("p1") == {"x": 1}
    assert (tmp_path / "results" / "figures.log").read_text() == '{"x": 1}\n'


def test_figures_may_go_elsewhere(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "results", monitoring_filename=tmp_path / "figures.jsonl")
    store.save_monitoring({"x": 1})
    store.save_monitoring({"x": 2})
    assert (tmp_path / "figures.jsonl").read_text() == '{"x": 1}\n{"x": 2}\n'
    assert files(tmp_path / "results") == []


def test_figures_on_a_full_disk_leave_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(tmp_path)
    store.save_monitoring({"x": 1})
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    with pytest.raises(OSError, match=r"No space left on device: .*monitoring\.jsonl"):
        store.save_monitoring({"x": 2})
    monkeypatch.undo()
    store.save_monitoring({"x": 3})
    assert store.load_monitoring() == [{"x": 1}, {"x": 3}]


def test_figures_that_are_being_written_are_not_read_yet(tmp_path: Path) -> None:
    """A line may come in parts, as pages do."""
    store = FileStore(tmp_path / "results")
    store.save_monitoring({"x": 1})
    with store.monitoring_path.open("a") as file:
        file.write('{"x": ')
        file.flush()
        assert store.load_monitoring() == [{"x": 1}]
        file.write("2}\n")
    assert store.load_monitoring() == [{"x": 1}, {"x": 2}]


def test_a_full_disk_leaves_the_old_value_and_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FileStore(tmp_path)
    save(store, {"x": 1})

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*x\.json"):
        save(store, {"x": 2})
    assert store.load("p1") == {"x": 1}
    assert files(tmp_path) == ["pipelines/p1/.jobs/count.fence", "pipelines/p1/x.json"]


def test_what_a_killed_process_left_is_not_read(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    save(store, {"x": 1})
    (store.path("p1", "x").parent / ".0123.tmp").write_text('{"pipeline"')
    assert store.load("p1") == {"x": 1}
    (tmp_path / "pipelines" / "p2" / ".jobs").mkdir(parents=True)
    (tmp_path / "pipelines" / "p2" / ".0123.tmp").write_text("")
    (tmp_path / "pipelines" / "README").write_text("somebody else's")
    assert store.pipelines() == ["p1"]
    assert store.load("p2") == {}


def test_a_fence_that_a_power_loss_emptied_lets_the_next_attempt_save(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    save(store, {"x": 1}, fence=1)
    (tmp_path / "pipelines" / "p1" / ".jobs" / "count.fence").write_bytes(b"")
    save(store, {"x": 2}, fence=2)
    save(store, {"x": 1}, fence=1)
    assert store.load("p1") == {"x": 2}


@pytest.mark.parametrize("text", ['{"pipeline": "p1', "[]", '{"value": 1}', '{"$new": 1}'])
def test_a_file_that_somebody_changed_is_named(tmp_path: Path, text: str) -> None:
    store = FileStore(tmp_path)
    save(store, {"x": 1})
    store.path("p1", "x").write_text(text)
    with pytest.raises(ValueError, match=r"pipelines/p1/x\.json was changed by somebody else"):
        store.load("p1")


def test_an_attempt_that_froze_while_it_saved_holds_up_only_its_own_job(tmp_path: Path) -> None:
    store = FileStore(tmp_path, lock_timeout_s=0.05)
    save(store, {"x": 1})
    fence = tmp_path / "pipelines" / "p1" / ".jobs" / "count.fence"
    with fence.open("r+b") as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match=r"count\.fence is locked .* older attempt"):
            save(store, {"x": 2}, fence=2)
        save(store, {"y": 1}, job="other")
    save(store, {"x": 2}, fence=2)
    assert store.load("p1") == {"x": 2, "y": 1}


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreUnavailable, match="cannot be locked: No locks available"):
        save(FileStore(tmp_path), {"x": 1})


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(OSError, match="results"):
        FileStore(tmp_path / "results")
