"""Where settings come from, and what is said of wrong ones."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from pypelinin.cli import settings
from pypelinin.config import DEFAULTS

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory two levels below one that can hold a pypelinin.toml."""
    for name in DEFAULTS:
        monkeypatch.delenv(f"PYPELININ_{name.upper()}", raising=False)
    inner = tmp_path / "project" / "deep"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    return inner


def test_flag_goes_before_environment_before_file_before_default(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = here.parent / "pypelinin.toml"
    file.write_text('slots = 3\nsynchronous = "normal"\nlog_level = "debug"\n')
    monkeypatch.setenv("PYPELININ_SLOTS", "4")
    monkeypatch.setenv("PYPELININ_LOG_LEVEL", "error")
    found = settings.load({"slots": 5, "workers": ()})
    assert (found["slots"], found.origin("slots")) == (5, "flag")
    assert (found["log_level"], found.origin("log_level")) == ("error", "PYPELININ_LOG_LEVEL")
    assert (found["synchronous"], found.origin("synchronous")) == ("normal", str(file))
    assert (found["workers"], found.origin("workers")) == ([], "default")


def test_the_nearest_file_counts(here: Path) -> None:
    (here.parent / "pypelinin.toml").write_text("slots = 3\n")
    (here / "pypelinin.toml").write_text("slots = 7\n")
    assert settings.load({})["slots"] == 7


def test_a_journal_is_relative_to_the_place_that_names_it(here: Path) -> None:
    assert settings.load({})["journal"] == str(here / ".pypelinin")
    (here.parent / "pypelinin.toml").write_text('journal = "data"\n')
    assert settings.load({})["journal"] == str(here.parent / "data")
    assert settings.load({"journal": "mine"})["journal"] == str(here / "mine")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slot = 3", "unknown setting 'slot'. Did you mean 'slots'? Known are: access, affinity,"),
        ("slots = 'two'", "slots is a int, not str"),
        ("slots = ", "is not TOML"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(here: Path, text: str, said: str) -> None:
    file = here / "pypelinin.toml"
    file.write_text(text)
    with pytest.raises(click.UsageError) as error:
        settings.load({})
    assert str(file) in str(error.value)
    assert said in str(error.value)


def test_what_is_wrong_in_the_environment_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYPELININ_SLOTS", "many")
    with pytest.raises(click.UsageError, match="PYPELININ_SLOTS: cannot read 'many' as slots"):
        settings.load({})


def test_a_file_that_cannot_be_read_is_named(here: Path) -> None:
    (here / "pypelinin.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(click.UsageError, match="cannot be read"):
        settings.load({})


def test_addresses_to_listen_at_are_checked(here: Path) -> None:
    settings.check_binds(settings.load({"api": "tcp://127.0.0.1:0"}))
    with pytest.raises(click.UsageError, match=r"broadcast \(flag\): 'x' is no address"):
        settings.check_binds(settings.load({"broadcast": "x"}))


def test_options_are_numbers_and_json_where_they_read_so() -> None:
    pairs = ("directory=/tmp/x", "lock_timeout_s=2.5", 'name="7"', "flag=true", "list=[1, 2]", "a=")
    assert settings.options(pairs, "--store-option") == {
        "directory": "/tmp/x", "lock_timeout_s": 2.5, "name": "7", "flag": True, "list": [1, 2],
        "a": "",
    }  # fmt: skip
    assert settings.options((), "--store-option") is None
    assert settings.texts(("n=1", "disk=ssd"), "--label") == {"n": "1", "disk": "ssd"}
    assert settings.texts((), "--label") is None


@pytest.mark.parametrize("pair", ["directory", "=x"])
def test_an_option_without_a_name_or_value_is_wrong_use(pair: str) -> None:
    with pytest.raises(click.UsageError, match=r"--store-option takes NAME=VALUE"):
        settings.options((pair,), "--store-option")


def test_the_file_to_copy_shows_every_setting_with_its_default(here: Path) -> None:
    text = (ROOT / "daemons" / "pypelinin.toml").read_text(encoding="utf-8")
    (here / "pypelinin.toml").write_text(text)
    as_it_is = settings.load({})
    assert all(setting.origin == "default" for setting in as_it_is.values.values())
    (here / "pypelinin.toml").write_text(re.sub(r"(?m)^#(?=[a-z\[])", "", text))
    uncommented = settings.load({})
    assert all(setting.origin != "default" for setting in uncommented.values.values())
    assert settings.values_of(uncommented) == settings.values_of(as_it_is)
