"""The demo's workers against real pages and a real HTTP server, well-behaved and not."""

import http.server
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.demo import pages, workers
from pypelinin.demo.workers import Downloader, DownloadError, GetLinks, GetTextAndWords


@pytest.fixture(scope="module")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with real pages."""
    directory = tmp_path_factory.mktemp("documentation")
    pages.generate(directory, names=["abc", "asyncio"])
    return directory


Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class OneAnswer(http.server.BaseHTTPRequestHandler):
    """Answers every request by calling the server's `answer`."""

    def do_GET(self) -> None:
        self.server.answer(self)  # type: ignore[attr-defined]  # it is given one

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class AnswerServer(http.server.ThreadingHTTPServer):
    answer: Answer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The client hangs up on what it does not want; that is what is tested."""


@pytest.fixture
def answering() -> Iterator[Callable[[Answer], str]]:
    """Call it with what a request is answered with; returns the URL to ask."""
    server = AnswerServer(("127.0.0.1", 0), OneAnswer)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()

    def start(answer: Answer) -> str:
        server.answer = answer
        return f"http://127.0.0.1:{server.server_port}/page"

    yield start
    server.shutdown()
    server.server_close()
    thread.join()


def reply(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(body)

    return answer


def download(url: str) -> dict[str, Any]:
    return Downloader().process({"url": url})


def failure(url: str) -> str:
    with pytest.raises(DownloadError) as caught:
        download(url)
    assert url in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return str(caught.value).removeprefix(f"{url} ")


def test_download_of_a_real_page(documentation: Path) -> None:
    with pages.served(documentation) as base:
        result = download(f"{base}abc.html")
        assert result["page_url"] == f"{base}abc.html"
    assert result["html"] == (documentation / "abc.html").read_text(encoding="utf-8")


def test_download_decodes_the_charset_of_the_header(answering: Callable[[Answer], str]) -> None:
    page = "<p>für Zoë</p>"
    for charset in ("iso-8859-1", "utf-16", "UTF-8"):
        url = answering(reply(page.encode(charset), Content_Type=f"text/html; charset={charset}"))
        assert download(url)["html"] == page


def test_download_takes_utf8_when_the_header_is_silent_and_marks_wrong_bytes(
    answering: Callable[[Answer], str],
) -> None:
    url = answering(reply("<p>für".encode() + b"\xff", Content_Type="text/html"))
    assert download(url)["html"] == "<p>für\ufffd"


def test_download_refuses_an_unknown_charset(answering: Callable[[Answer], str]) -> None:
    url = answering(reply(b"<p>", Content_Type="text/html; charset=klingon"))
    assert failure(url) == "is in 'klingon', a charset Python does not know"


def test_download_refuses_what_is_not_html(answering: Callable[[Answer], str]) -> None:
    url = answering(reply(b"%PDF", Content_Type="application/pdf"))
    assert failure(url) == "is application/pdf, not HTML"
    assert failure(answering(reply(b"<p>"))) == "is of no known type, not HTML"


def test_download_refuses_compressed_pages(answering: Callable[[Answer], str]) -> None:
    url = answering(reply(b"\x1f\x8b", Content_Type="text/html", Content_Encoding="gzip"))
    assert failure(url) == "is compressed (gzip), which was not asked for"


def test_download_takes_a_page_at_the_size_limit_and_not_beyond(
    answering: Callable[[Answer], str],
) -> None:
    largest = b"x" * workers.PAGE_BYTES_MAX
    html = download(answering(reply(largest, Content_Type="text/html")))["html"]
    assert len(html) == workers.PAGE_BYTES_MAX
    url = answering(reply(largest + b"x", Content_Type="text/html"))
    assert failure(url) == "is larger than 8 MiB"


def test_download_names_the_status_of_an_error_answer(answering: Callable[[Answer], str]) -> None:
    assert failure(answering(reply(b"", 404))) == "answers 404 Not Found"
    assert failure(answering(reply(b"", 503))) == "answers 503 Service Unavailable"


def test_download_notices_a_page_cut_short(answering: Callable[[Answer], str]) -> None:
    url = answering(reply(b"<p>", Content_Type="text/html", Content_Length="10"))
    assert failure(url) == "ended 7 bytes early"


def test_download_gives_up_on_silence(
    answering: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "SILENCE_TIMEOUT_S", 0.1)
    over = threading.Event()
    url = answering(lambda request: void(over.wait(30)))
    assert failure(url) == "does not answer: timed out"
    over.set()


def test_download_gives_up_on_a_trickle(
    answering: Callable[[Answer], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "DOWNLOAD_TIMEOUT_S", 0.2)
    over = threading.Event()

    def trickle(request: http.server.BaseHTTPRequestHandler) -> None:
        reply(b"<p>", Content_Type="text/html")(request)
        while not over.wait(0.01):
            request.wfile.write(b"x")

    assert failure(answering(trickle)) == "took more than 0 s"
    over.set()


def void(_: object) -> None:
    return None


def test_download_names_an_unreachable_host() -> None:
    with AnswerServer(("127.0.0.1", 0), OneAnswer) as server:
        url = f"http://127.0.0.1:{server.server_port}/"
    assert "refused" in failure(url)


def test_download_follows_redirects_to_http_only(
    documentation: Path, answering: Callable[[Answer], str]
) -> None:
    with pages.served(documentation) as base:
        target = f"{base}abc.html"
        assert download(answering(reply(b"", 302, Location=target)))["page_url"] == target
    for target in ("ftp://127.0.0.1/abc.html", "file:///etc/passwd"):
        assert failure(answering(reply(b"", 302, Location=target))).startswith(("answers", "does"))


def test_download_asks_no_proxy_for_loopback(
    documentation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9/")
    monkeypatch.delenv("no_proxy", raising=False)
    with pages.served(documentation) as base:
        assert "<html" in download(f"{base}abc.html")["html"]


# --- what is in a page ------------------------------------------------------------------------


def words_of(html: str) -> list[str]:
    words: list[str] = GetTextAndWords().process({"html": html})["words"]
    return words


def links_of(html: str, page_url: str = "http://host/docs/page.html") -> list[str]:
    links: list[str] = GetLinks().process({"html": html, "page_url": page_url})["links"]
    return links


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("", []),
        ("<td>one</td><td>two</td>one<br/>two", ["one", "two", "one", "two"]),
        ("em<b>phas</b>is", ["emphasis"]),
        ("<style>p {}</style><script>a < b</script>seen<script>x", ["seen"]),
        ("don't &amp; l\u2019ami &#233;t&eacute;", ["don't", "l\u2019ami", "été"]),
        ("half a ta<", ["half", "a", "ta"]),
    ],
)
def test_words(html: str, words: list[str]) -> None:
    assert words_of(html) == words


@pytest.mark.parametrize(
    ("html", "links"),
    [
        ("<a name=x>none</a><a href>none</a><a href=' '>none</a>", []),
        ("<a href=other.html#a>1</a><a href='other.html'>2</a>", ["http://host/docs/other.html"]),
        ("<a href=/>up</a><area href=//else/x>", ["http://host/", "http://else/x"]),
        ("<a href=mailto:a@b>no</a><a href=file:/etc>no</a><a href=javascript:x()>no</a>", []),
        ("<base href=/new/><a href=a.html>a</a>", ["http://host/new/a.html"]),
        ("<a href='http://[half'>no</a><a href=https://yes/>yes</a>", ["https://yes/"]),
        ("<script>'<a href=no>'</script><link href=style.css>", []),
    ],
)
def test_links(html: str, links: list[str]) -> None:
    assert links_of(html) == links


def test_a_real_page_has_its_text_and_links(documentation: Path) -> None:
    html = (documentation / "asyncio.html").read_text(encoding="utf-8")
    result = GetTextAndWords().process({"html": html})
    assert result["text"].startswith("Python: package asyncio")
    assert result["words"][:3] == ["Python", "package", "asyncio"]
    assert "  " not in result["text"]
    assert "http://host/docs/builtins.html" in links_of(html)
    assert result == GetTextAndWords().process({"html": html})
