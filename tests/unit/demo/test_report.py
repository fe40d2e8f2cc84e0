"""What the demo says at the end, as text and as JSON."""

import json

from pypelinin.demo.report import Failure, Node, Page, Report, shortened, table


def page(name: str, words: int = 10, links: tuple[str, ...] = ()) -> Page:
    return Page(name, f"http://host/{name}.html", words, links, 0.5)


def a_report(*pages_done: Page, failures: tuple[Failure, ...] = (), inside: bool = True) -> Report:
    return Report(list(pages_done), failures, [Node("kiwi", 2)], seconds=2.0, inside=inside)


def test_report_shows_the_largest_pages_and_the_total_of_all() -> None:
    text = a_report(*(page(f"page{number}", words=number) for number in range(20))).text()
    lines = text.splitlines()
    assert lines[0].split() == ["page", "words", "links", "seconds"]
    assert lines[1].split() == ["page19", "19", "0", "0.50"]
    assert lines[16] == "... the 15 largest of 20 pages"
    assert lines[17] == (
        "total: 20 pages, 190 words, 0 links in 2.0 s: 60 jobs, 30 jobs/s on kiwi (2 slots)"
    )


def test_report_counts_each_linking_page_once_and_not_itself() -> None:
    one, two, out = "http://host/one.html", "http://host/two.html", "http://else/"
    done = (page("one", links=(one, two, out)), page("two", links=(one, out, one)))
    inside = a_report(*done).most_linked()
    assert [(linked.name, linked.pages) for linked in inside] == [("one", 1), ("two", 1)]
    everywhere = a_report(*done, inside=False).most_linked()
    assert (everywhere[0].name, everywhere[0].pages) == (out, 2)


def test_report_lists_every_failure_with_its_reason() -> None:
    failures = tuple(Failure(f"p{n}", f"http://host/p{n}", "failed", f"no {n}") for n in range(30))
    text = a_report(failures=failures).text()
    assert "30 pages not done:" in text
    assert all(f"  p{n} (failed): no {n}" in text for n in range(30))
    assert text.startswith("total: 0 pages")


def test_report_document_is_plain_json() -> None:
    failed = Failure("bad", "http://host/bad.html", "failed", "answers 404")
    document = a_report(page("good", 7, ("http://x/",)), failures=(failed,)).document()
    assert json.loads(json.dumps(document)) == document
    assert document["total"] == {
        "pages": 1,
        "failed": 1,
        "words": 7,
        "links": 1,
        "seconds": 2.0,
        "jobs": 3,
        "jobs_per_second": 1.5,
    }
    assert document["nodes"] == [{"name": "kiwi", "slots": 2}]
    assert document["pages"][0]["links"] == 1
    assert document["failures"][0]["reason"] == "answers 404"


def test_report_divides_by_no_time() -> None:
    assert Report([page("one")], [], [], seconds=0.0).total()["jobs_per_second"] == 0.0


def test_table_aligns_and_shortens() -> None:
    assert table(("name", "n"), [("a", "1"), ("bcdef", "1,000")]) == [
        "name       n",
        "a          1",
        "bcdef  1,000",
    ]
    long = "http://host/" + "x" * 80 + "/end.html"
    assert len(shortened(long)) == 60
    assert shortened(long).startswith("http://host/")
    assert shortened(long).endswith("/end.html")
