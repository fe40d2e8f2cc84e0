"""The workers of the example: Downloader, then GetTextAndWords and GetLinks side by side.

A worker is a class that says in `requires` what it needs and returns from `process` what it found
out; the store keeps both together under the keys used here. Brokers offer what `__all__` names.
"""
# ruff: noqa: RUF012 (nobody changes these lists)

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urldefrag, urljoin
from urllib.request import urlopen

from pypelinin import Worker

__all__ = ["Downloader", "GetTextAndWords", "GetLinks"]

SIZE_MAX_BYTES = 8 * 1024 * 1024
INLINE_TAGS = "a abbr b big code em font i kbd small span strong sub sup tt u var".split()


class Downloader(Worker):
    requires = ["url"]

    def process(self, data: dict[str, Any]) -> dict[str, Any]:
        with urlopen(data["url"], timeout=10) as response:
            if response.headers.get_content_type() != "text/html":
                raise ValueError(f"{data['url']} is {response.headers.get_content_type()}")
            content = response.read(SIZE_MAX_BYTES + 1)
            charset = response.headers.get_content_charset("utf-8")
        if len(content) > SIZE_MAX_BYTES:
            raise ValueError(f"{data['url']} is larger than {SIZE_MAX_BYTES} bytes")
        return {"html": content.decode(charset, errors="replace"), "length": len(content)}


class GetTextAndWords(Worker):
    requires = ["html"]

    def process(self, data: dict[str, Any]) -> dict[str, Any]:
        text = " ".join("".join(Page(data["html"]).text).split())
        return {"text": text, "words": re.findall(r"\w+(?:['\u2019]\w+)*", text)}


class GetLinks(Worker):
    requires = ["url", "html"]

    def process(self, data: dict[str, Any]) -> dict[str, Any]:
        links = [urldefrag(urljoin(data["url"], link)).url for link in Page(data["html"]).links]
        return {"links": [link for link in dict.fromkeys(links) if link.startswith("http")]}


class Page(HTMLParser):
    """Collects the text (without scripts and styles) and the links of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text: list[str] = []
        self.links: list[str] = []
        self.hidden = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.hidden = tag in ("script", "style")
        self.text.append("" if tag in INLINE_TAGS else " ")
        self.links += [value for name, value in attrs if tag == "a" and name == "href" and value]

    def handle_endtag(self, tag: str) -> None:
        self.hidden = False
        self.text.append("" if tag in INLINE_TAGS else " ")

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.text.append(data)
