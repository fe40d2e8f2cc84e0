"""The example's workers on a real page: no cluster needed, a worker is called like any class."""

from collections.abc import Iterator

import pytest
from workers import Downloader, GetLinks, GetTextAndWords

from pypelinin.demo.pages import generate, served

SMALL_PAGE = "<p>It <b>do</b>es<br>work</p><script>no()</script><a href='b.html#top'>next</a>"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server that has Python's own documentation of the module `abc`."""
    directory = tmp_path_factory.mktemp("site")
    assert generate(directory, limit=1) == ["abc"]
    (directory / "notes.txt").write_text("no page")
    with served(directory) as base:
        yield base


def test_downloader_requires_the_url() -> None:
    assert Downloader.requires == ["url"]


def test_downloader_gets_the_page(site: str) -> None:
    result = Downloader().process({"url": f"{site}abc.html"})
    assert "Python: module abc" in result["html"]
    assert result["length"] == len(result["html"].encode())


def test_downloader_takes_pages_only(site: str) -> None:
    with pytest.raises(ValueError, match="is text/plain"):
        Downloader().process({"url": f"{site}notes.txt"})


def test_text_and_words_of_a_real_page(site: str) -> None:
    html = Downloader().process({"url": f"{site}abc.html"})["html"]
    result = GetTextAndWords().process({"html": html})
    assert result["text"].startswith("Python: module abc")
    assert result["words"].count("ABCMeta") > 3


def test_text_keeps_words_whole_and_scripts_out() -> None:
    result = GetTextAndWords().process({"html": SMALL_PAGE})
    assert result["text"] == "It does work next"
    assert result["words"] == ["It", "does", "work", "next"]


def test_links_are_absolute_and_without_fragment() -> None:
    result = GetLinks().process({"url": "http://127.0.0.1/a.html", "html": SMALL_PAGE})
    assert result == {"links": ["http://127.0.0.1/b.html"]}


def test_links_of_a_real_page(site: str) -> None:
    url = f"{site}abc.html"
    html = Downloader().process({"url": url})["html"]
    links = GetLinks().process({"url": url, "html": html})["links"]
    assert f"{site}builtins.html" in links
    assert len(links) == len(set(links))
