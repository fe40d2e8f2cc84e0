"""`pypelinin config show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pypelinin.cli import main
from pypelinin.config import DEFAULTS


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in DEFAULTS:
        monkeypatch.delenv(f"PYPELININ_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_shows_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(DEFAULTS)
    assert all("#" not in line for line in lines)


def test_it_shows_where_each_comes_from(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "pypelinin.toml").write_text("slots = 3\n")
    monkeypatch.setenv("PYPELININ_WORKERS", "a,b")
    assert main(["config", "show", "--origin"]) == 0
    text = capsys.readouterr().out
    assert f"= 3  # {here / 'pypelinin.toml'}\n" in text
    assert '= ["a", "b"]  # PYPELININ_WORKERS\n' in text
    assert '= "text"  # default\n' in text


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["slots"] == 0
    assert main(["config", "show", "--json", "--origin"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["slots"] == {"value": 0, "origin": "default"}


def test_an_unknown_setting_is_wrong_use(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "pypelinin.toml").write_text("slot = 3\n")
    assert main(["config", "show"]) == 2
    said = capsys.readouterr().err
    assert "pypelinin.toml has an unknown setting 'slot'. Did you mean 'slots'?" in said
