"""The demo's workers: Downloader -> (GetTextAndWords, GetLinks).

What they return is plain (text, numbers, lists), and the same page always gives the same result.
A page that cannot be used is an exception whose message is the reason the demo prints.
`example/workers.py` is the shorter version to copy and edit; a test holds both to one result.
"""

import http.client
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from pypelinin import Worker

__all__ = ["Downloader", "GetTextAndWords", "GetLinks"]

PAGE_BYTES_MAX = 8 * 1024 * 1024
SILENCE_TIMEOUT_S = 10.0
DOWNLOAD_TIMEOUT_S = 30.0
READ_BYTES = 64 * 1024
HTML_TYPES = ("text/html", "application/xhtml+xml")
USER_AGENT = "pypelinin-demo"
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")

# Tags inside a word or a sentence; every other tag parts the words on its two sides.
INLINE_TAGS = (
    *("a", "abbr", "b", "bdi", "bdo", "cite", "code", "data", "del", "dfn", "em", "font", "i"),
    *("ins", "kbd", "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time"),
    *("tt", "u", "var", "wbr"),
)
WORD = re.compile(r"\w+(?:['\u2019]\w+)*")


class DownloadError(Exception):
    """The page cannot be had: no answer, an error answer, too slow, too large, or not HTML."""


class Downloader(Worker):
    """url -> html, and the address it came from in the end (redirects are followed)."""

    requires = ("url",)

    def process(self, data: Mapping[str, Any]) -> dict[str, Any]:
        url = data["url"]
        try:
            with _opener(url).open(_request(url), timeout=SILENCE_TIMEOUT_S) as response:
                charset = _charset_of_html(url, response.headers)
                body = _body(url, response)
                final_url = response.geturl()
        except urllib.error.HTTPError as error:
            error.close()
            raise DownloadError(f"{url} answers {error.code} {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            raise DownloadError(f"{url} does not answer: {reason}") from None
        return {"html": _decoded(url, body, charset), "page_url": final_url}


class GetTextAndWords(Worker):
    """html -> the text a reader sees, its whitespace made single, and its words in order."""

    requires = ("html",)

    def process(self, data: Mapping[str, Any]) -> dict[str, Any]:
        text = _Reader(data["html"]).text()
        return {"text": text, "words": WORD.findall(text)}


class GetLinks(Worker):
    """html -> the pages it links to: absolute, http(s) only, without fragment, each once."""

    requires = ("html", "page_url")

    def process(self, data: Mapping[str, Any]) -> dict[str, Any]:
        return {"links": _Reader(data["html"]).links(data["page_url"])}


def _opener(url: str) -> urllib.request.OpenerDirector:
    """HTTP and HTTPS only (a redirect to ftp: fails), and no proxy between us and loopback."""
    opener = urllib.request.OpenerDirector()
    on_loopback = urllib.parse.urlsplit(url).hostname in LOOPBACK_HOSTS
    for handler in (
        urllib.request.ProxyHandler({} if on_loopback else None),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _request(url: str) -> urllib.request.Request:
    accepted = ", ".join(HTML_TYPES)
    return urllib.request.Request(url, headers={"User-Agent": USER_AGENT, "Accept": accepted})


def _charset_of_html(url: str, headers: http.client.HTTPMessage) -> str:
    """The charset of the body to come; refuses what is no HTML before a byte of it is read."""
    # get_content_type() would call a page without the header text/plain.
    content_type = headers.get_content_type() if "content-type" in headers else "of no known type"
    if content_type not in HTML_TYPES:
        raise DownloadError(f"{url} is {content_type}, not HTML")
    encoding = headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise DownloadError(f"{url} is compressed ({encoding}), which was not asked for")
    return headers.get_content_charset("utf-8")


def _body(url: str, response: http.client.HTTPResponse) -> bytes:
    """The whole body, within PAGE_BYTES_MAX and DOWNLOAD_TIMEOUT_S."""
    expires = time.monotonic() + DOWNLOAD_TIMEOUT_S
    body = bytearray()
    while chunk := response.read1(READ_BYTES):
        body += chunk
        if len(body) > PAGE_BYTES_MAX:
            raise DownloadError(f"{url} is larger than {PAGE_BYTES_MAX // 2**20} MiB")
        if time.monotonic() > expires:
            raise DownloadError(f"{url} took more than {DOWNLOAD_TIMEOUT_S:.0f} s")
    if response.length:  # read1() does not say that the other side hung up early
        raise DownloadError(f"{url} ended {response.length} bytes early")
    return bytes(body)


def _decoded(url: str, body: bytes, charset: str) -> str:
    """The page as text; bytes that are wrong in its charset become U+FFFD."""
    try:
        return body.decode(charset, errors="replace")
    except LookupError:
        raise DownloadError(f"{url} is in {charset!r}, a charset Python does not know") from None


class _Reader(HTMLParser):
    """Reads a page once; script and style are neither text nor links."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._hrefs: list[str] = []
        self._base = ""
        self._silent = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in INLINE_TAGS:
            self._parts.append(" ")
        self._silent = tag in ("script", "style")
        href = (dict(attrs).get("href") or "").strip()
        if href and tag in ("a", "area"):
            self._hrefs.append(href)
        elif href and tag == "base" and not self._base:
            self._base = href

    def handle_endtag(self, tag: str) -> None:
        if tag not in INLINE_TAGS:
            self._parts.append(" ")
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self._parts.append(data)

    def text(self) -> str:
        return " ".join("".join(self._parts).split())

    def links(self, page_url: str) -> list[str]:
        absolute = (_absolute(page_url, self._base, href) for href in self._hrefs)
        return list(dict.fromkeys(link for link in absolute if link))


def _absolute(page_url: str, base: str, href: str) -> str | None:
    """*href* as an http(s) address without fragment; None if it is anything else."""
    try:
        link = urllib.parse.urldefrag(
            urllib.parse.urljoin(urllib.parse.urljoin(page_url, base), href)
        ).url
        parts = urllib.parse.urlsplit(link)
    except ValueError:  # such as http://[half an IPv6 address
        return None
    return link if parts.scheme in ("http", "https") and parts.netloc else None
