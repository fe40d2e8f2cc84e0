"""What an optional extra brings, and what is said if it is not there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pypelinin.incremental import extras


def test_a_module_that_is_there_is_imported() -> None:
    assert extras.needed("json", "plots", "This") is json
    extras.check("json", "plots", "This")


def test_a_module_that_is_not_there_is_named_with_its_extra() -> None:
    for way in (extras.needed, extras.check):
        with pytest.raises(ModuleNotFoundError) as missing:
            way("no_such_module", "plots", "A PlotJob")
        assert missing.value.name == "no_such_module"
        assert str(missing.value) == (
            "A PlotJob needs no_such_module, which is not installed: pip install 'pypelinin[plots]'"
        )


def test_a_module_that_lacks_something_itself_is_not_told_as_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_module.py").write_text("import what_it_needs")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="what_it_needs") as missing:
        extras.needed("broken_module", "plots", "A PlotJob")
    assert missing.value.name == "what_it_needs"
