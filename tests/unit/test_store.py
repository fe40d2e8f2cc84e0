"""The contract's own parts: what a class must have, what is missing, which names are chosen."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pypelinin.errors import PypelininError
from pypelinin.store import (
    KNOWN_NAMES_SHOWN_MAX,
    Info,
    MissingInput,
    Store,
    StoreUnavailable,
    choose,
    required_names,
    saves_monitoring,
)


class FromNowhere:
    """A user's class: inherits from nothing of ours."""

    def retrieve(self, info: Info) -> Any:
        return info["data"]

    def save(self, info: Info) -> None:
        pass


class WithFigures(FromNowhere):
    def save_monitoring(self, data: dict[str, Any]) -> None:
        pass


class Inherited(Store):
    def retrieve(self, info: Info) -> Any:
        return info["data"]

    def save(self, info: Info) -> None:
        pass


def info(requires: Any = (), data: Any = None) -> Info:
    return {
        "worker": "Count",
        "worker_requires": requires,
        "data": data,
        "job": "count",
        "pipeline": "p1",
        "attempt": 1,
        "fence": 1,
    }


def test_a_class_that_inherits_nothing_is_a_store() -> None:
    store: Store = FromNowhere()
    assert store.retrieve(info(data=5)) == 5


def test_a_class_that_inherits_is_asked_for_both_methods() -> None:
    class Half(Store):
        def retrieve(self, info: Info) -> Any:
            return None

    with pytest.raises(TypeError, match="save"):
        Half()  # type: ignore[abstract]  # wrong on purpose
    assert Inherited().retrieve(info(data=5)) == 5


def test_figures_are_saved_only_where_the_class_can() -> None:
    assert saves_monitoring(WithFigures())
    assert not saves_monitoring(FromNowhere)
    assert not saves_monitoring(Inherited())
    assert not hasattr(Store, "save_monitoring")


def test_required_names_come_in_order_and_once() -> None:
    assert required_names(info(["b", "a", "b"])) == ("b", "a")


@pytest.mark.parametrize("nothing", [None, (), []])
def test_a_worker_may_require_nothing(nothing: Any) -> None:
    assert required_names(info(nothing)) == ()


def test_a_lone_text_is_not_a_list_of_its_letters() -> None:
    with pytest.raises(TypeError, match=r"'Count' has requires = 'text'.*requires = \('text',\)"):
        required_names(info("text"))


def test_saved_goes_before_data() -> None:
    found, missing = choose(info(("a", "b", "c"), {"a": 1, "b": 2}), {"a": None})
    assert found == {"a": None, "b": 2}
    assert missing == ("c",)


@pytest.mark.parametrize("data", [None, 7, "text", ["a"]])
def test_data_that_is_no_mapping_holds_no_name(data: Any) -> None:
    assert choose(info(("a",), data), {}) == ({}, ("a",))


def test_missing_input_says_who_what_where_and_what_is_there() -> None:
    error = MissingInput("Count", "p1", ["txt"], ["links", "text"])
    assert isinstance(error, LookupError)
    assert isinstance(error, PypelininError)
    assert str(error) == (
        "worker 'Count' requires 'txt', which no job of pipeline 'p1' has saved and its data does "
        "not hold; known: 'links', 'text'. Did you mean 'text'?"
    )


def test_missing_input_without_anything_similar_says_what_to_do() -> None:
    text = str(MissingInput("Count", "p1", ["zebra"], []))
    assert "known: nothing." in text
    assert text.endswith("put it into the pipeline's data.")


def test_missing_input_shows_a_limited_number_of_names() -> None:
    names = [f"key-{number}" for number in range(KNOWN_NAMES_SHOWN_MAX)]
    assert "more" not in str(MissingInput("Count", "p1", ["zebra"], names))
    assert "and 1 more." in str(MissingInput("Count", "p1", ["zebra"], [*names, "last"]))


def test_errors_of_a_store_travel() -> None:
    missing = pickle.loads(pickle.dumps(MissingInput("Count", "p1", ["txt"], ["text"])))
    assert (missing.worker, missing.pipeline) == ("Count", "p1")
    assert (missing.missing, missing.known) == (("txt",), ("text",))
    away = pickle.loads(pickle.dumps(StoreUnavailable("the server is gone.", remedy="Start it.")))
    assert isinstance(away, ConnectionError)
    assert str(away) == "the server is gone. Start it."
