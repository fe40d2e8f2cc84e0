"""What every store of the package must do; each store's test runs it on its own kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from pypelinin.store import Info, MissingInput, MonitoringStore, Store, saves_monitoring

if TYPE_CHECKING:  # SQLStore needs more than the other stores
    from pypelinin.stores import FileStore, MemoryStore, SQLStore

    Opener = Callable[[], MemoryStore | FileStore | SQLStore]

LONG = "long name " * 500
AWKWARD_NAMES = [
    "../x",
    "",
    ".",
    "..",
    ".hidden",
    ".jobs",
    "/etc/passwd",
    "a/b",
    "a\\b",
    "a b",
    "a\nb",
    "%2E",
    "%empty",
    "'; DROP TABLE x; --",
    "ünï-名前-🐚",
    "x" * 255,
    "ü" * 180,
    "x~sha256~" + "0" * 64,
    LONG,
    LONG + "!",
    "http://127.0.0.1:8000/library/argparse.html?highlight=a%20b#top",
]


def attempt(
    pipeline: str = "p1",
    job: str = "count",
    *,
    fence: int = 1,
    requires: Any = (),
    data: Any = None,
) -> Info:
    return {
        "worker": "Count",
        "worker_requires": requires,
        "data": data,
        "job": job,
        "pipeline": pipeline,
        "attempt": 1,
        "fence": fence,
    }


def save(store: Store, result: Any, pipeline: str = "p1", job: str = "count", **more: Any) -> None:
    store.save({**attempt(pipeline, job, **more), "worker_result": result})


class StoreContract:
    """Inherit, and give a fixture `opened` that opens the same fresh place again and again."""

    def test_it_is_a_store_that_saves_figures(self, opened: Opener) -> None:
        store: Store = opened()
        figures: MonitoringStore = opened()
        assert saves_monitoring(store)
        assert saves_monitoring(figures)

    # --- what is kept under which key -----------------------------------------------------

    def test_each_key_of_a_mapping_is_kept_on_its_own(self, opened: Opener) -> None:
        store = opened()
        save(store, {"words": 3, "text": "a b c"}, job="first")
        save(store, {"links": ["x"], "words": 4}, job="second")
        assert store.load("p1") == {"links": ["x"], "text": "a b c", "words": 4}
        assert list(store.load("p1")) == ["links", "text", "words"]

    def test_any_other_result_is_kept_under_the_jobs_name(self, opened: Opener) -> None:
        store = opened()
        save(store, 42, job="answer")
        save(store, b"\x00\xff", job="page")
        save(store, [], job="empty")
        assert store.load("p1") == {"answer": 42, "empty": [], "page": b"\x00\xff"}

    def test_none_keeps_nothing(self, opened: Opener) -> None:
        store = opened()
        save(store, None)
        save(store, {})
        assert store.load("p1") == {}
        assert store.pipelines() == []

    def test_a_result_that_is_absent_keeps_nothing(self, opened: Opener) -> None:
        store = opened()
        store.save(attempt())
        assert store.load("p1") == {}

    def test_pipelines_do_not_see_each_other(self, opened: Opener) -> None:
        store = opened()
        save(store, {"x": 1}, "p2")
        save(store, {"x": 2}, "p1")
        assert store.load("p1") == {"x": 2}
        assert store.pipelines() == ["p1", "p2"]
        assert store.load("p3") == {}

    def test_another_slot_sees_what_was_saved(self, opened: Opener) -> None:
        one, other = opened(), opened()
        save(one, {"x": 1})
        assert other.retrieve(attempt(requires=["x"])) == {"x": 1}
        save(other, {"x": 2}, job="next")
        assert one.load("p1") == {"x": 2}

    def test_a_closed_store_can_be_used_again(self, opened: Opener) -> None:
        with opened() as store:
            save(store, {"x": 1})
        assert store.load("p1") == {"x": 1}

    # --- what a worker gets ---------------------------------------------------------------

    @pytest.mark.parametrize("nothing", [(), [], None])
    def test_a_worker_that_requires_nothing_gets_nothing(
        self, opened: Opener, nothing: Any
    ) -> None:
        store = opened()
        save(store, {"x": 1})
        assert store.retrieve(attempt(requires=nothing, data={"y": 2})) == {}

    def test_names_are_found_among_results_then_in_the_data(self, opened: Opener) -> None:
        store = opened()
        save(store, {"x": None, "z": 1})
        received = store.retrieve(attempt(requires=("y", "x"), data={"x": "old", "y": "given"}))
        assert received == {"x": None, "y": "given"}

    @pytest.mark.parametrize("data", [None, {"url": "x"}, "text", 7])
    def test_a_missing_name_is_told_with_the_known_ones(self, opened: Opener, data: Any) -> None:
        store = opened()
        save(store, {"text": "a", LONG: 1})
        with pytest.raises(MissingInput) as caught:
            store.retrieve(attempt(requires=("text", "words"), data=data))
        assert caught.value.missing == ("words",)
        assert caught.value.worker == "Count"
        assert caught.value.pipeline == "p1"
        given = ["url"] if isinstance(data, dict) else []
        assert list(caught.value.known) == [LONG, "text", *given]

    # --- attempts -------------------------------------------------------------------------

    def test_an_older_attempt_is_ignored_whole(self, opened: Opener) -> None:
        store = opened()
        save(store, {"x": "new"}, fence=7)
        save(opened(), {"x": "old", "y": "old"}, fence=6)
        assert store.load("p1") == {"x": "new"}

    def test_an_older_attempt_is_ignored_after_a_newer_kept_nothing(self, opened: Opener) -> None:
        store = opened()
        save(store, None, fence=7)
        save(store, {"x": "old"}, fence=6)
        assert store.load("p1") == {}

    def test_a_newer_attempt_replaces(self, opened: Opener) -> None:
        store = opened()
        save(store, {"x": "old"}, fence=6)
        save(store, {"x": "new"}, fence=1 << 60)
        assert store.load("p1") == {"x": "new"}

    def test_the_same_attempt_may_save_again(self, opened: Opener) -> None:
        store = opened()
        save(store, {"x": 1}, fence=7)
        save(store, {"x": 1}, fence=7)
        save(store, {"x": 2}, fence=7)
        assert store.load("p1") == {"x": 2}

    def test_fences_of_different_jobs_are_not_compared(self, opened: Opener) -> None:
        store = opened()
        save(store, {"x": "first"}, job="first", fence=9)
        save(store, {"x": "second"}, job="second", fence=1)
        assert store.load("p1") == {"x": "second"}
        save(store, {"x": "late"}, job="first", fence=8)
        assert store.load("p1") == {"x": "second"}

    def test_fences_of_different_pipelines_are_not_compared(self, opened: Opener) -> None:
        store = opened()
        save(store, {"x": 1}, "p1", fence=9)
        save(store, {"x": 2}, "p2", fence=1)
        assert store.load("p2") == {"x": 2}

    # --- what cannot be kept --------------------------------------------------------------

    def test_a_value_that_cannot_be_kept_leaves_nothing_behind(self, opened: Opener) -> None:
        store = opened()
        with pytest.raises(TypeError, match=r"'bad'.*builtins\.object"):
            save(store, {"a": 1, "bad": [object()], "z": 2}, fence=2)
        assert store.load("p1") == {}
        save(store, {"a": "older"}, fence=1)  # that save did not count as one
        assert store.load("p1") == {"a": "older"}

    def test_a_key_that_is_no_text_is_refused(self, opened: Opener) -> None:
        with pytest.raises(TypeError, match="named by text, not by 1 of int"):
            save(opened(), {1: "x"})

    @pytest.mark.parametrize("name", ["a\0b", "\udc80"])
    def test_a_name_that_no_store_can_keep_is_refused(self, opened: Opener, name: str) -> None:
        store = opened()
        for refused in (({name: 1}, "p", "j"), (1, name, "j"), (1, "p", name)):
            with pytest.raises(ValueError, match="cannot be kept"):
                save(store, *refused)
        assert store.pipelines() == []

    # --- names ----------------------------------------------------------------------------

    def test_any_other_name_is_kept_apart(self, opened: Opener) -> None:
        store = opened()
        for number, name in enumerate(AWKWARD_NAMES):
            save(store, {name: number}, "keys", job=name)
            save(store, number, name, job=name)
        assert store.load("keys") == {name: n for n, name in enumerate(AWKWARD_NAMES)}
        assert store.pipelines() == sorted([*AWKWARD_NAMES, "keys"])
        for number, name in enumerate(AWKWARD_NAMES):
            assert store.load(name) == {name: number}
            assert store.retrieve(attempt("keys", requires=[name])) == {name: number}
            save(store, "late", name, job=name, fence=0)
            assert store.load(name) == {name: number}

    # --- values ---------------------------------------------------------------------------

    def test_values_come_back_as_they_went_in(self, opened: Opener) -> None:
        store = opened()
        value = {"$bytes": [b"", True, None, -1.5, 2**70, "ü\0\ud800"], "deep": {"$float": "nan"}}
        save(store, {"value": value, "large": "x" * 3_000_000})
        assert store.load("p1") == {"large": "x" * 3_000_000, "value": value}

    def test_a_received_value_is_the_workers_own(self, opened: Opener) -> None:
        store = opened()
        kept = ["a"]
        save(store, {"x": kept})
        kept.append("b")
        store.retrieve(attempt(requires=["x"]))["x"].append("c")
        assert store.load("p1") == {"x": ["a"]}

    # --- monitoring -----------------------------------------------------------------------

    def test_figures_come_back_oldest_first(self, opened: Opener) -> None:
        store = opened()
        assert store.load_monitoring() == []
        store.save_monitoring({"host": {"cpu": 0.5}, "processes": [{"pid": 1}]})
        opened().save_monitoring({"host": {"cpu": 0.75}, "note": "ü\n"})
        assert store.load_monitoring() == [
            {"host": {"cpu": 0.5}, "processes": [{"pid": 1}]},
            {"host": {"cpu": 0.75}, "note": "ü\n"},
        ]
        assert store.pipelines() == []

    def test_figures_that_cannot_be_kept_are_refused(self, opened: Opener) -> None:
        store = opened()
        with pytest.raises(TypeError, match="monitoring"):
            store.save_monitoring({"host": {1, 2}})
        assert store.load_monitoring() == []
