"""The demo's pages: made by a real pydoc in a real child process, served on a real socket."""

import threading
import urllib.request
from pathlib import Path

import pytest

from pypelinin.demo import pages


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the documentation of the first 25 modules of the standard library."""
    directory = tmp_path_factory.mktemp("documentation")
    pages.generate(directory, limit=25)
    return directory


def test_generate_makes_as_many_whole_pages_as_asked(documentation: Path) -> None:
    made = sorted(documentation.iterdir())
    assert len(made) == 25
    assert {page.suffix for page in made} == {".html"}
    for page in made:
        text = page.read_text(encoding="utf-8")
        assert "<title>Python: " in text
        assert text.rstrip().endswith("</html>")


def test_module_names_leave_out_what_acts_at_import() -> None:
    names = pages.module_names()
    assert names == sorted(set(names))
    assert 190 < len(names) < 300
    assert not {"antigravity", "this", "tkinter", "turtle", "idlelib", "test"} & set(names)
    assert not [name for name in names if name.startswith("_")]


def test_generate_keeps_what_is_there_at_the_deadline(tmp_path: Path) -> None:
    (tmp_path / "early.html").write_text("<p>made in time</p>")
    assert "early" in pages.generate(tmp_path, timeout_s=0.05)


def test_generate_without_a_page_says_why(tmp_path: Path) -> None:
    with pytest.raises(pages.NoPagesError, match="out of time"):
        pages.generate(tmp_path, timeout_s=0.01)


def test_generate_does_not_show_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_SECRET", "correct horse battery staple")
    assert pages.generate(tmp_path, names=["os"]) == ["os"]
    text = (tmp_path / "os.html").read_text(encoding="utf-8")
    assert "environ" in text
    assert "correct" not in text


def test_generate_leaves_out_what_does_not_import(tmp_path: Path) -> None:
    assert pages.generate(tmp_path, 1, ["no_such_module", "abc", "bisect"]) == ["abc"]


def test_generate_says_that_nothing_imports(tmp_path: Path) -> None:
    with pytest.raises(pages.NoPagesError, match="none of them imports"):
        pages.generate(tmp_path, names=["no_such_module"])


def test_served_pages_say_that_they_are_utf8_html(documentation: Path) -> None:
    with (
        pages.served(documentation) as base,
        urllib.request.urlopen(f"{base}abc.html", timeout=10) as response,
    ):
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.read() == (documentation / "abc.html").read_bytes()


def test_served_ends_with_its_block(documentation: Path) -> None:
    with pages.served(documentation) as base:
        pass
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(base, timeout=10)
    assert "demo pages" not in {thread.name for thread in threading.enumerate()}
