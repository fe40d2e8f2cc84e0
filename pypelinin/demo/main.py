"""`pypelinin demo [URL...]`: pages through a local cluster, then a report.

Everything it starts and writes is gone when it returns, whatever the way out: the pages' server,
the cluster, the temporary directory (unless the results are kept).
What is said while it works goes to stderr; stdout has the report alone.
"""

import json
import signal
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.cli.local import LocalCluster
from pypelinin.demo.pages import NoPagesError, generate, served
from pypelinin.demo.report import Failure, Node, Page, Report, counted
from pypelinin.demo.workers import DownloadError
from pypelinin.stores import FileStore

EXIT_FINE, EXIT_JOB_FAILED, EXIT_USAGE, EXIT_INTERRUPTED, EXIT_TERMINATED = 0, 1, 2, 130, 143

# Every job ends by itself (workers.py has its limits); this is for a cluster that stands still.
PAGE_TIMEOUT_S = 60.0
URL_SAFE = "%/:=&?~#+!$,;'@()*[]"


class UsageError(Exception):
    """What was asked for cannot be done; the message names it."""


def run(
    urls: Sequence[str],
    slots: int | None = None,
    keep: Path | None = None,
    as_json: bool = False,
    pages: int | None = None,
) -> int:
    """Run the demo and print its report; returns the exit code.

    *urls* are fetched instead of the generated pages; *pages* limits the generated ones; *slots*
    defaults to the number of cores; *keep* names a new or empty directory for pages and results.
    Raises PypelininError when the cluster itself fails.
    """
    try:
        with _terminated_cleanly():
            check_positive("slots", slots)
            check_positive("pages", pages)
            report = _demo(checked_urls(urls), slots, keep, pages)
    except UsageError as error:
        say(f"pypelinin demo: {error}")
        return EXIT_USAGE
    except NoPagesError as error:
        say(f"pypelinin demo: {error}")
        return EXIT_JOB_FAILED
    except KeyboardInterrupt:
        say("interrupted: nothing is left running")
        return EXIT_INTERRUPTED
    print(json.dumps(report.document(), indent=2) if as_json else report.text())
    return EXIT_JOB_FAILED if report.failures else EXIT_FINE


def checked_urls(urls: Sequence[str]) -> list[str]:
    """*urls* as a request can carry them, each once, in order; raises UsageError for a bad one."""
    return list(dict.fromkeys(checked_url(url) for url in urls))


def checked_url(url: str) -> str:
    """*url* with what is not ASCII quoted and without fragment; raises UsageError naming it."""
    try:
        parts = urllib.parse.urlsplit(url.strip())
        host = (parts.hostname or "").encode("idna").decode()
        port = parts.port
    except ValueError as error:  # half an IPv6 address, a port that is no number, a label too long
        raise UsageError(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise UsageError(f"{url!r} is not a page's address: it must start with http:// or https://")
    if not host or any(mark.isspace() for mark in parts.netloc):
        raise UsageError(f"{url!r} names no host")
    if parts.username is not None:
        raise UsageError(f"{url!r} holds a user name, which the demo does not send")
    host = f"[{host}]" if ":" in host else host
    path = urllib.parse.quote(parts.path or "/", safe=URL_SAFE)
    query = urllib.parse.quote(parts.query, safe=URL_SAFE)
    netloc = host if port is None else f"{host}:{port}"
    return urllib.parse.urlunsplit((parts.scheme, netloc, path, query, ""))


def check_positive(what: str, number: int | None) -> None:
    if number is not None and number < 1:
        raise UsageError(f"{number} {what} leave nothing to do: ask for at least 1")


def _demo(urls: Sequence[str], slots: int | None, keep: Path | None, limit: int | None) -> Report:
    """Lay out the input, put it through the cluster, and take all of it down again."""
    with ExitStack() as stack:
        place = kept_directory(keep) if keep else Path(stack.enter_context(_scratch()))
        if urls:
            targets = {url: url for url in urls}
        else:
            targets = stack.enter_context(_generated(place / "pages", limit))
        results = place / "results"
        results.mkdir()
        return _through_cluster(targets, results, slots, inside=not urls, kept=keep)


def _scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="pypelinin-demo-", ignore_cleanup_errors=True)


def kept_directory(directory: Path) -> Path:
    """*directory*, made if need be; raises UsageError unless it is empty and ours to write."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty: name a new directory for the results")
    except OSError as error:
        raise UsageError(f"{directory} cannot hold the results: {error.strerror}") from None
    return directory.resolve()


@contextmanager
def _generated(directory: Path, limit: int | None) -> Iterator[dict[str, str]]:
    """Make and serve the standard library's pages; yields the module's name for each URL."""
    directory.mkdir()
    say("making the documentation of the standard library ...")
    names = generate(directory, limit)
    with served(directory) as base:
        say(f"{counted(len(names), 'page')} served at {base}")
        yield {f"{base}{name}.html": name for name in names}


def _through_cluster(
    targets: Mapping[str, str], results: Path, slots: int | None, inside: bool, kept: Path | None
) -> Report:
    """One pipeline for each target, all on one local cluster; the report of how they went."""
    with LocalCluster(
        workers=["pypelinin.demo.workers"],
        store="pypelinin.stores:FileStore",
        store_configuration={"directory": str(results)},
        slots=slots,
    ) as cluster:
        nodes = [Node(node.name, node.slots) for node in cluster.nodes]
        with PipelineManager(api=cluster.api, broadcast=cluster.broadcast) as manager:
            pipelines = [page_pipeline(url) for url in targets]
            started = time.monotonic()
            manager.start_all(pipelines)
            timeout_s = PAGE_TIMEOUT_S * len(pipelines)
            manager.wait(pipelines, timeout=timeout_s, progress=True, raise_on_failure=False)
            seconds = time.monotonic() - started
    done = [pipeline for pipeline in pipelines if pipeline.state == "done"]
    failed = [pipeline for pipeline in pipelines if pipeline.state != "done"]
    store = FileStore(str(results))
    return Report(
        pages=[page_of(one, targets, store.load(str(one.id))) for one in done],
        failures=[failure_of(one, targets) for one in failed],
        nodes=nodes,
        seconds=seconds,
        inside=inside,
        kept=str(kept) if kept else None,
    )


def page_pipeline(url: str) -> Pipeline:
    return Pipeline(
        {Job("Downloader"): (Job("GetTextAndWords"), Job("GetLinks"))}, data={"url": url}
    )


def page_of(pipeline: Pipeline, targets: Mapping[str, str], result: Mapping[str, Any]) -> Page:
    url = pipeline.data["url"]
    return Page(
        name=targets[url],
        url=url,
        words=len(result["words"]),
        links=tuple(result["links"]),
        seconds=pipeline.duration or 0.0,
    )


def failure_of(pipeline: Pipeline, targets: Mapping[str, str]) -> Failure:
    url, error = pipeline.data["url"], pipeline.error
    if error is None:
        reason = "no reason is known"
    elif error.type.endswith(f".{DownloadError.__name__}"):
        reason = error.text  # written for people
    else:
        reason = f"{pipeline.error_job} raised {error.type}: {error.text}"
    return Failure(targets[url], url, pipeline.state, " ".join(reason.split()))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


@contextmanager
def _terminated_cleanly() -> Iterator[None]:
    """SIGTERM takes the same way out as an exception, so that nothing is left running."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(EXIT_TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
