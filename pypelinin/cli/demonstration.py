"""`pypelinin demo`: a real cluster on real pages, in one command."""

from __future__ import annotations

from pathlib import Path

import click

from pypelinin.cli import options


@options.verb("demo")
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option("--pages", type=int, metavar="N", help="Make at most so many pages.")
@click.option("--slots", type=int, metavar="N", help="Jobs at once.  [default: the CPUs]")
@click.option(
    "--keep", type=click.Path(path_type=Path), metavar="DIR",
    help="Keep pages and results in a new or empty directory.",
)  # fmt: skip
@options.json_option
def demo(
    urls: tuple[str, ...], pages: int | None, slots: int | None, keep: Path | None, as_json: bool
) -> int:
    """See a cluster work.

    Starts a cluster on this machine, makes the documentation of Python's standard library as some
    200 HTML pages, downloads and analyses every page through the cluster, and stops it again.
    With URLs, those are fetched instead.

    --json: total, nodes, pages, most_linked, failures, kept.
    """
    from pypelinin.demo import main

    return main.run(urls, slots, keep, as_json, pages)


COMMANDS = {"demo": demo}
