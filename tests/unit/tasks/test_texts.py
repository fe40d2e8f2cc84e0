"""The text of files: YAML with PyYAML, JSON without."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin.tasks import PipelineError, texts

SAMPLE: dict[str, Any] = {
    "pipeline": {"name": "hello-world-example"},
    "tasks": {
        "Hello()": {"hash": "22179f3afd85ab64dd32c63bc21a9eb4", "params": {}, "parents": [],
                    "tag": ""},
        "World(a: b)": {"module": "__main__", "parents": ["Hello()", "no"], "params": {
            "big": 1e20, "small": 1e-7, "infinite": float("inf"), "yes": True, "none": None,
            "nested": {"list": [1, [2, {"a": "b"}], {}], "text": "two\nlines: x # y"},
        }},
    },
}  # fmt: skip


@pytest.fixture
def without_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "has_yaml", lambda: False)


@pytest.fixture
def with_yaml() -> Any:
    return pytest.importorskip("yaml", reason="PyYAML is not installed: 'pypelinin[tasks]'")


def test_without_pyyaml_it_is_json(without_yaml: None) -> None:
    text = texts.text_of(SAMPLE)
    assert json.loads(text) == SAMPLE
    assert texts.mapping_of(text, "x.yaml") == SAMPLE
    with pytest.raises(ModuleNotFoundError, match=r"x.yaml is YAML.*pypelinin\[tasks\]"):
        texts.mapping_of("a: b\n", "x.yaml")


def test_with_it_it_is_yaml_in_blocks(with_yaml: Any) -> None:
    text = texts.text_of(SAMPLE)
    assert text.startswith("pipeline:\n  name: hello-world-example\ntasks:\n  Hello():\n    hash: ")
    assert '    parents:\n    - Hello()\n    - "no"\n' in text
    assert with_yaml.safe_load(text) == SAMPLE
    assert texts.mapping_of(text, "x.yaml") == SAMPLE


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), PLAIN, min_size=1, max_size=4))
def test_whatever_it_holds_comes_back(value: dict[str, Any]) -> None:
    pytest.importorskip("yaml", reason="PyYAML is not installed: 'pypelinin[tasks]'")
    assert texts.mapping_of(texts.text_of(value), "x.yaml") == value


@pytest.mark.parametrize(
    "text", ["{", "[1, 2]", "{'a': 1", "- a\n- b", "a: [", "!!python/object:x {}"]
)
def test_what_is_no_mapping_is_refused(with_yaml: Any, text: str) -> None:
    with pytest.raises(PipelineError, match=r"x\.yaml"):
        texts.mapping_of(text, "x.yaml")


def test_a_part_is_written_as_a_mapping(with_yaml: Any) -> None:
    part = texts.Part({"a": {"b": [1]}, "c": "d"})
    value = {"task": part, "parents": {"X()": part, "Y()": texts.Part()}}
    text = texts.text_of(value)
    assert with_yaml.safe_load(text) == value
    assert text.count("c: d") == 2
    assert part.lines is part.lines


def test_tuples_that_the_original_wrote(with_yaml: Any) -> None:
    found = texts.mapping_of("a: !!python/tuple\n- 1\n- 2\n", "x.yaml")
    assert found == {"a": (1, 2)}


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(PipelineError, match="deep is no YAML"):
        texts.mapping_of('{"a":' * 100_000, "deep")
