"""What holds for every file of deploy/: it says what it is for, and the docs tell of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli.commands import ROOT

DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and path.name != ".gitignore")
DOCS = (ROOT / "docs" / "deploying.md").read_text(encoding="utf-8")


def name(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


@pytest.mark.parametrize("path", FILES, ids=name)
def test_it_opens_with_what_it_is_for_and_what_to_edit(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        lines = text.removeprefix("#!/bin/bash\n").splitlines()
        end = next(number for number, line in enumerate(lines) if not line.startswith("#"))
        text = "\n".join(lines[:end])
        assert len(lines[0].strip("# ")) > 30 or len(lines[1].strip("# ")) > 30
    assert "Edit: " in text or "must be edited: " in text


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_docs_tell_of_it(path: Path) -> None:
    places = (name(path), f"{path.parent.relative_to(DEPLOY)}/", path.name)
    assert any(f"deploy/{place}" in DOCS for place in places[:2]) or places[2] in DOCS


@pytest.mark.parametrize("path", FILES, ids=name)
def test_there_are_no_tabs_and_no_secrets(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "\t" not in text
    assert "PRIVATE KEY" not in text


def test_what_was_not_run_says_so() -> None:
    for path in (DEPLOY / "Containerfile", DEPLOY / "compose.yaml"):
        assert "It was not " in path.read_text(encoding="utf-8")
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        assert "no cluster ran it" in path.read_text(encoding="utf-8")
