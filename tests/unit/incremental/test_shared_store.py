"""A store of results that several projects share."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from pypelinin.incremental.exceptions import JobContractError, JobEvaluationFailed
from pypelinin.incremental.shared_store import SharedStore, named


@pytest.fixture
def store(tmp_path: Path) -> SharedStore:
    return SharedStore(str(tmp_path / "store"), "/home/me/.ppg/history")


def build(store: SharedStore, text: str = "x") -> Path:
    place = store.new_build()
    place.joinpath("a").write_text(text)
    return place


def publish(store: SharedStore, key: str, text: str = "x", remove_unused: bool = False) -> Path:
    return store.publish(
        build(store, text), key, named(text.encode()), lambda _: True, remove_unused
    )


def test_names_count_where_parts_end() -> None:
    assert named(b"ab", b"c") != named(b"a", b"bc")
    assert named(b"a") == named(b"a")
    assert len(named()) == 128


def test_two_builds_have_places_of_their_own(store: SharedStore) -> None:
    first, second = store.new_build(), store.new_build()
    assert first != second
    assert first.is_absolute()
    assert first.parent == second.parent == Path(store.prefix, "build")


def test_what_is_published_is_found(store: SharedStore) -> None:
    assert not store.has("key")
    done = publish(store, "key")
    assert store.has("key")
    assert store.used == "key"
    assert store.place_of("key") == done
    assert store.link("key").joinpath("a").read_text() == "x"
    assert os.listdir(Path(store.prefix, "build")) == []


def test_a_link_into_nothing_is_nothing(store: SharedStore) -> None:
    publish(store, "key").rename(Path(store.prefix, "gone"))
    assert not store.has("key")
    publish(store, "key")
    assert store.has("key")


def test_a_directory_instead_of_the_link_is_refused(store: SharedStore) -> None:
    store.link("key").mkdir(parents=True)
    with pytest.raises(JobEvaluationFailed, match="no symbolic link"):
        store.has("key")


def test_another_content_for_the_same_key_is_refused(store: SharedStore) -> None:
    publish(store, "key", "x")
    with pytest.raises(JobContractError, match="same inputs"):
        publish(store, "key", "y")
    assert store.link("key").joinpath("a").read_text() == "x"


@pytest.mark.parametrize(("is_intact", "text"), [(True, "first"), (False, "second")])
def test_what_is_there_stays_if_it_is_intact(
    store: SharedStore, is_intact: bool, text: str
) -> None:
    for content in ("first", "second"):
        store.publish(build(store, content), "key", "name", lambda _: is_intact, False)
    assert store.link("key").joinpath("a").read_text() == text
    assert os.listdir(Path(store.prefix, "build")) == []


def test_a_sweep_leaves_what_anybody_needs(store: SharedStore) -> None:
    other = SharedStore(store.prefix, "/home/you/.ppg/history")
    publish(other, "theirs", "1")
    publish(store, "old", "2")
    publish(store, "also old", "1")
    publish(store, "new", "3", remove_unused=True)
    assert sorted(os.listdir(Path(store.prefix, "by_input"))) == ["new", "theirs"]
    assert sorted(os.listdir(Path(store.prefix, "done"))) == sorted([named(b"1"), named(b"3")])


def test_a_project_says_who_it_is(store: SharedStore) -> None:
    publish(store, "key")
    source = Path(store.prefix, "used_by", f"{store.user}.source")
    assert source.read_text() == "/home/me/.ppg/history"
    assert SharedStore(store.prefix, "/elsewhere").used is None


def test_one_at_a_time_changes_the_store(store: SharedStore) -> None:
    def lock() -> None:
        with open(Path(store.prefix, ".lock")) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    with store.locked(), pytest.raises(BlockingIOError):
        lock()
    lock()
