"""Results as files."""

from __future__ import annotations

import gzip
import os
import pickle
import threading
from pathlib import Path
from typing import Any

import pytest

from pypelinin.errors import NotPicklable
from pypelinin.tasks.exceptions import ResultDamaged, ResultMissing
from pypelinin.tasks.inside import files
from pypelinin.tasks.inside.files import HANDED_BYTES_MAX, load, store, write_text


class Point:
    def __init__(self, x: int) -> None:
        self.x = x


@pytest.mark.parametrize(
    "value", [None, [1, {"a": (2,)}], b"x" * 200_000, Point(3), lambda x: x + 1]
)
def test_what_is_stored_is_loaded(tmp_path: Path, value: Any) -> None:
    path = str(tmp_path / "result")
    small = store(path, value, "X()")
    for back in (load(path), value if small is None else pickle.loads(small)):
        if isinstance(value, Point):
            assert back.x == 3
        elif callable(value):
            assert back(1) == 2
        else:
            assert back == value
    assert os.listdir(tmp_path) == ["result"]


def test_only_small_results_are_handed_on(tmp_path: Path) -> None:
    path = str(tmp_path / "result")
    for size, is_small in ((HANDED_BYTES_MAX - 100, True), (HANDED_BYTES_MAX, False)):
        assert (store(path, os.urandom(size), "X()") is not None) is is_small


def test_large_arrays_come_back(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy", reason="numpy is not installed: 'pypelinin[test-all]'")
    path = str(tmp_path / "result")
    value = {"a": numpy.arange(300_000).reshape(3, -1), "b": numpy.asfortranarray(numpy.eye(300))}
    assert store(path, value, "X()") is None
    back = load(path)
    assert all((back[name] == value[name]).all() for name in value)


def test_what_cannot_be_pickled_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotPicklable, match=r"The result of X\(\) cannot be stored: TypeError"):
        store(str(tmp_path / "result"), [b"x" * 100_000, threading.Lock()], "X()")
    assert os.listdir(tmp_path) == []


def test_a_result_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="There is no result") as caught:
        load(str(tmp_path / "result"))
    assert isinstance(caught.value, ResultMissing)


@pytest.mark.parametrize("content", ["", "no gzip", "gzip of no pickle", "gzip of  "])
def test_a_result_that_is_damaged(tmp_path: Path, content: str) -> None:
    path = tmp_path / "result"
    kind, _, rest = content.partition(" of ")
    path.write_bytes(gzip.compress(rest.encode()) if rest else kind.encode())
    with pytest.raises(ResultDamaged, match=r"cannot be read.*reload=True"):
        load(str(path))


def test_a_result_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "result"
    store(str(path), os.urandom(10_000), "X()")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ResultDamaged):
        load(str(path))


@pytest.mark.parametrize("size", [10, 2000])
def test_no_changed_byte_gives_another_value(tmp_path: Path, size: int) -> None:
    path, value = tmp_path / "result", ["a" * size, 7]
    store(str(path), value, "X()")
    stored = path.read_bytes()
    for place in range(10, len(stored)):  # before it there are a time and flags
        path.write_bytes(stored[:place] + bytes([stored[place] ^ 1]) + stored[place + 1 :])
        try:
            found = load(str(path))
        except ResultDamaged:
            pass
        else:  # some bits of a compressed stream mean nothing
            assert found == value
        path.write_bytes(stored[:place])
        with pytest.raises(ResultDamaged, match=r"reload=True"):
            load(str(path))


def test_what_a_class_raises_is_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_bytes(gzip.compress(b"cno_such_module\nName\n."))
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        load(str(path))
    path.write_bytes(gzip.compress(pickle.dumps(1) + b"more"))
    with pytest.raises(ResultDamaged, match="more in it"):
        load(str(path))


def test_joblib_and_we_read_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joblib = pytest.importorskip("joblib", reason="joblib is not installed: 'pypelinin[joblib]'")
    numpy = pytest.importorskip("numpy", reason="numpy is not installed: 'pypelinin[test-all]'")
    ours, theirs, plain = (str(tmp_path / name) for name in ("ours.gz", "theirs.gz", "plain.gz"))
    value = {"a": numpy.arange(100_000), "b": "text"}
    store(ours, value, "X()")
    joblib.dump(value, theirs, compress=("gzip", 3))
    joblib.dump(["text"], plain, compress=("gzip", 3))
    for back in (joblib.load(ours), load(theirs)):
        assert back["b"] == "text"
        assert (back["a"] == value["a"]).all()
    assert load(plain) == ["text"]
    monkeypatch.setitem(__import__("sys").modules, "joblib", None)
    assert load(plain) == ["text"]
    with pytest.raises(ModuleNotFoundError, match=r"written by joblib.*pypelinin\[joblib\]"):
        load(theirs)


def test_results_are_set_aside_and_what_a_killed_slot_left_is_removed(tmp_path: Path) -> None:
    for name in (files.RESULT, f"{files.RESULT}.host.1.2", files.PARAMS):
        (tmp_path / name).write_text(name)
    result = tmp_path / files.RESULT
    assert files.set_aside(str(tmp_path))
    assert not files.is_there(str(result))
    files.put_back(str(tmp_path))
    assert files.is_there(str(result))
    assert sorted(os.listdir(tmp_path)) == [files.PARAMS, files.RESULT]
    assert files.set_aside(str(tmp_path))
    files.drop(str(tmp_path))
    files.put_back(str(tmp_path))
    assert os.listdir(tmp_path) == [files.PARAMS]
    assert not files.set_aside(str(tmp_path))
    assert not files.set_aside(str(tmp_path / "gone"))
    result.mkdir()
    assert not files.is_there(str(result))
    with pytest.raises(NotADirectoryError):
        files.set_aside(str(tmp_path / files.PARAMS))


def test_text_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "text"
    write_text(str(path), "one")
    write_text(str(path), "two \udcff")
    assert path.read_bytes() == b"two \xed\xb3\xbf"
    assert os.listdir(tmp_path) == ["text"]


def test_a_disk_that_is_full_is_no_fault_of_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        store(str(tmp_path / "result"), os.urandom(100_000), "X()")
    assert os.listdir(tmp_path) == []
