"""What the demo accepts, and what it says when it does not."""

from pathlib import Path

import pytest

from pypelinin.demo import main


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ("http://host", "http://host/"),
        ("HTTPS://Host:8443/a?b=c#d", "https://host:8443/a?b=c"),
        ("http://[::1]:80/", "http://[::1]:80/"),
        (
            "http://bücher.example/große seite?ü=%20",
            "http://xn--bcher-kva.example/gro%C3%9Fe%20seite?%C3%BC=%20",
        ),
    ],
)
def test_a_url_becomes_what_a_request_carries(given: str, asked: str) -> None:
    assert main.checked_url(given) == asked
    assert main.checked_url(asked) == asked


@pytest.mark.parametrize(
    "url",
    [
        "",
        "python.org",
        "ftp://host/page.html",
        "file:///etc/hosts",
        "http://",
        "http://two words/",
        "http://[half/",
        "http://host:port/",
        "http://host:99999/",
        "http://no..label/",
        "http://user:secret@host/",
    ],
)
def test_a_bad_url_is_a_usage_error_that_names_it(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["http://host/", url]) == 2
    said = capsys.readouterr()
    assert repr(url) in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""


def test_urls_are_asked_once_in_order() -> None:
    assert main.checked_urls(["http://b/", "http://a/", "http://b/#top"]) == [
        "http://b/",
        "http://a/",
    ]


def test_numbers_below_one_are_usage_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([], slots=0) == 2
    assert main.run([], pages=-1) == 2
    said = capsys.readouterr().err.splitlines()
    assert "0 slots" in said[0]
    assert "-1 pages" in said[1]


def test_kept_directory_is_made(tmp_path: Path) -> None:
    assert main.kept_directory(tmp_path / "new" / "place").is_dir()
    assert main.kept_directory(tmp_path / "new" / "place").is_dir()


def test_a_directory_that_cannot_keep_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    assert main.run([], keep=tmp_path) == 2
    assert main.run([], keep=file) == 2
    said = capsys.readouterr().err.splitlines()
    assert f"{tmp_path} is not empty" in said[0]
    assert f"{file} cannot hold the results" in said[1]
    assert file.read_text() == "mine"
