"""Settings: which source counts, and what is said of values that cannot be."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

import pypelinin
from pypelinin.config import DEFAULTS, VERSION, merge
from pypelinin.errors import DefinitionError

ROOT = Path(__file__).resolve().parents[2]


def test_there_is_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == pypelinin.__version__ == VERSION


def test_flag_environment_file_default() -> None:
    text = 'slots = 2\nstore = "a:B"\nsynchronous = "normal"\n'
    environ = {"PYPELININ_SLOTS": "3", "PYPELININ_STORE": "c:D", "PYPELININ_ELSE": "x"}
    found = merge({"slots": 4, "store": None, "workers": ()}, environ, text, "here.toml")
    assert (found["slots"], found.origin("slots")) == (4, "flag")
    assert (found["store"], found.origin("store")) == ("c:D", "PYPELININ_STORE")
    assert (found["synchronous"], found.origin("synchronous")) == ("normal", "here.toml")
    assert (found["journal"], found.origin("journal")) == (".pypelinin", "default")
    assert (found["workers"], found.origin("workers")) == ([], "default")


def test_an_empty_variable_is_none() -> None:
    assert merge({}, {"PYPELININ_API": ""}).origin("api") == "default"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("slots", "8", 8),
        ("insecure", "Yes", True),
        ("insecure", "off", False),
        ("workers", "a,b,", ["a", "b"]),
        ("labels", "disk=ssd,zone=a=b", {"disk": "ssd", "zone": "a=b"}),
        ("api", "tcp://kiwi:1", "tcp://kiwi:1"),
    ],
)
def test_variables_have_the_type_of_their_setting(name: str, text: str, value: object) -> None:
    assert merge({}, {f"PYPELININ_{name.upper()}": text})[name] == value


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("slots", "two", "PYPELININ_SLOTS: cannot read 'two' as slots"),
        ("insecure", "maybe", "PYPELININ_INSECURE: cannot read 'maybe' as insecure"),
        ("labels", "ssd", "PYPELININ_LABELS: expected NAME=VALUE,..., got 'ssd'"),
    ],
)
def test_a_variable_that_cannot_be_read(name: str, text: str, said: str) -> None:
    with pytest.raises(DefinitionError) as error:
        merge({}, {f"PYPELININ_{name.upper()}": text})
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slots = true", "slots is a int, not bool (True)"),
        ("insecure = 1", "insecure is a bool, not int (1)"),
        ('workers = "a"', "workers is a list, not str ('a')"),
        ("labels = []", "labels is a dict, not list ([])"),
        ("apo = 1", "has an unknown setting 'apo'. Did you mean 'api'? Known are: access,"),
        ("zzz = 1", "has an unknown setting 'zzz'. Known are: access, affinity, api,"),
        ("api", "is not TOML"),
    ],
)
def test_a_file_that_makes_no_sense(text: str, said: str) -> None:
    with pytest.raises(DefinitionError) as error:
        merge({}, {}, text, "here.toml")
    assert str(error.value).startswith("here.toml")
    assert said in str(error.value)


def test_a_flag_that_makes_no_sense() -> None:
    with pytest.raises(DefinitionError, match="flag has an unknown setting 'slot'"):
        merge({"slot": 1}, {})


def test_no_source_changes_the_defaults() -> None:
    before = repr(DEFAULTS)
    merge({"workers": ["a"]}, {"PYPELININ_LABELS": "a=b"}, "[store_configuration]\nx = 1\n", "f")
    assert repr(DEFAULTS) == before
