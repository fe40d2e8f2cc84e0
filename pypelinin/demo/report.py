"""What the demo has to say at the end: pages, failures, totals, as a text or as a JSON document."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

PAGES_SHOWN = 15
LINKED_SHOWN = 10
NAME_WIDTH_MAX = 60
JOBS_A_PAGE = 3


@dataclass(frozen=True, slots=True)
class Page:
    """A page that went through all its jobs; *seconds* from its pipeline's start to its end."""

    name: str
    url: str
    words: int
    links: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A page that did not, and why; *state* is its pipeline's."""

    name: str
    url: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Node:
    name: str
    slots: int


@dataclass(frozen=True, slots=True)
class Linked:
    """A link's target and the number of *other* pages that link to it."""

    name: str
    url: str
    pages: int


@dataclass(frozen=True, slots=True)
class Report:
    """One demo run. *seconds* is wall time, from submitting the first page to the last one's end.

    *inside* says whether only links between the pages themselves count as "most linked".
    """

    pages: Sequence[Page]
    failures: Sequence[Failure]
    nodes: Sequence[Node]
    seconds: float
    inside: bool = True
    kept: str | None = None

    @property
    def jobs(self) -> int:
        """Jobs done for the pages that are done."""
        return JOBS_A_PAGE * len(self.pages)

    def largest(self) -> list[Page]:
        return sorted(self.pages, key=lambda page: (-page.words, page.name))

    def most_linked(self) -> list[Linked]:
        """The LINKED_SHOWN most linked targets, the most linked first, then by name."""
        names = {page.url: page.name for page in self.pages}
        counted = Counter(
            link for page in self.pages for link in set(page.links) if link != page.url
        )
        linked = [
            Linked(names.get(url, url), url, pages)
            for url, pages in counted.items()
            if url in names or not self.inside
        ]
        return sorted(linked, key=lambda one: (-one.pages, one.name))[:LINKED_SHOWN]

    def total(self) -> dict[str, Any]:
        """The figures over all pages; `jobs_per_second` is 0 when no time passed."""
        return {
            "pages": len(self.pages),
            "failed": len(self.failures),
            "words": sum(page.words for page in self.pages),
            "links": sum(len(page.links) for page in self.pages),
            "seconds": round(self.seconds, 3),
            "jobs": self.jobs,
            "jobs_per_second": round(self.jobs / self.seconds, 1) if self.seconds else 0.0,
        }

    def document(self) -> dict[str, Any]:
        """The report as plain data for JSON: every page, links as their number."""
        return {
            "total": self.total(),
            "nodes": [asdict(node) for node in self.nodes],
            "pages": [_page_entry(page) for page in self.largest()],
            "most_linked": [asdict(linked) for linked in self.most_linked()],
            "failures": [asdict(failure) for failure in self.failures],
            "kept": self.kept,
        }

    def text(self) -> str:
        """The report for a person: tables under headings, no trailing newline."""
        sections = (self._pages(), self._most_linked(), self._failures(), self._kept())
        return "\n\n".join("\n".join(lines) for lines in sections if lines)

    def _pages(self) -> list[str]:
        rows = [
            (page.name, f"{page.words:,}", f"{len(page.links):,}", f"{page.seconds:.2f}")
            for page in self.largest()[:PAGES_SHOWN]
        ]
        lines = table(("page", "words", "links", "seconds"), rows) if rows else []
        if len(rows) < len(self.pages):
            lines.append(f"... the {len(rows)} largest of {len(self.pages)} pages")
        return [*lines, self._total_line()]

    def _total_line(self) -> str:
        total = self.total()
        nodes = ", ".join(f"{node.name} ({counted(node.slots, 'slot')})" for node in self.nodes)
        return (
            f"total: {counted(total['pages'], 'page')}, {counted(total['words'], 'word')},"
            f" {counted(total['links'], 'link')} in {total['seconds']:.1f} s:"
            f" {counted(total['jobs'], 'job')}, {total['jobs_per_second']:,.0f} jobs/s"
            f" on {nodes or 'no node'}"
        )

    def _most_linked(self) -> list[str]:
        rows = [(one.name, f"{one.pages:,}") for one in self.most_linked()]
        return table(("most linked", "from pages"), rows) if rows else []

    def _failures(self) -> list[str]:
        if not self.failures:
            return []
        lines = [f"  {one.name} ({one.state}): {one.reason}" for one in self.failures]
        return [f"{counted(len(lines), 'page')} not done:", *lines]

    def _kept(self) -> list[str]:
        return [f"kept in {self.kept}"] if self.kept else []


def _page_entry(page: Page) -> dict[str, Any]:
    return asdict(page) | {"links": len(page.links), "seconds": round(page.seconds, 3)}


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left and cut when long, the others to the right."""
    cells = [tuple(heads), *((shortened(row[0]), *row[1:]) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    return [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in cells
    ]


def shortened(name: str) -> str:
    """A long name without its middle; both ends of an address tell it from others."""
    if len(name) <= NAME_WIDTH_MAX:
        return name
    head = NAME_WIDTH_MAX // 2
    return f"{name[:head]}...{name[len(name) - (NAME_WIDTH_MAX - head - 3) :]}"
