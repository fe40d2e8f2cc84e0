"""Version 1 as a whole: its names, and its thirty lines of introduction."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypelinin.incremental import state, v1


def test_all_names_are_there() -> None:
    assert all(hasattr(v1, name) for name in v1.__all__)
    with pytest.raises(AttributeError):
        v1.no_such_name


def test_its_docstring_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert v1.__doc__ is not None
    source = v1.__doc__.partition("\n\n")[2].rpartition("\n\n")[0]
    source = source.replace("new_pipegraph()", "new_pipegraph(interactive=False)")
    exec(source, {"__name__": "script"})
    state.change(None)
    assert Path("hello.txt").read_text() == "Hello world"
