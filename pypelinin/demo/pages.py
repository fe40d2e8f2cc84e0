"""The demo's input: the documentation of the standard library, made by pydoc, served on loopback.

Making pages imports every module of the standard library, so it happens in a child process:
this file run as a script, isolated, without the caller's environment (pydoc prints the values
it finds, `os.environ` among them). The script therefore imports nothing of pypelinin.
A page appears in the directory whole or not at all; what is there at the deadline is used.
"""

import functools
import http.server
import importlib
import os
import pydoc
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GENERATE_TIMEOUT_S = 15.0

# Windows, greetings and test material: effects at import, a display needed, or nothing to read.
SKIPPED_MODULES = frozenset(
    {"antigravity", "idlelib", "lib2to3", "test", "this", "tkinter", "turtle", "turtledemo"}
    | {"xxlimited", "xxlimited_35", "xxsubtype"}
)
SUBMODULES = (
    "collections.abc",
    "concurrent.futures",
    "email.message",
    "email.parser",
    "email.policy",
    "html.parser",
    "http.client",
    "http.cookiejar",
    "http.cookies",
    "http.server",
    "importlib.metadata",
    "importlib.resources",
    "logging.config",
    "logging.handlers",
    "multiprocessing.pool",
    "multiprocessing.shared_memory",
    "unittest.mock",
    "urllib.error",
    "urllib.parse",
    "urllib.request",
    "urllib.robotparser",
    "xml.dom.minidom",
    "xml.etree.ElementTree",
    "xml.sax.saxutils",
)


class NoPagesError(Exception):
    """pydoc made no page at all; the message holds the last words of its process."""


def module_names() -> list[str]:
    """The modules worth a page, sorted. Some may not import here."""
    public = {name for name in sys.stdlib_module_names if not name.startswith("_")}
    return sorted((public - SKIPPED_MODULES) | set(SUBMODULES))


def generate(
    directory: Path,
    limit: int | None = None,
    names: Sequence[str] = (),
    timeout_s: float = GENERATE_TIMEOUT_S,
) -> list[str]:
    """Write `<module>.html` for the modules *names* (default: all of them), at most *limit*.

    Returns the names of the modules that have a page, sorted; fewer than asked for when
    modules do not import here or *timeout_s* is over.
    Raises NoPagesError when there is not one.
    """
    wanted = names or module_names()
    script = [sys.executable, "-I", "-S", "-W", "ignore", os.path.abspath(__file__)]
    inherited = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    try:
        child = subprocess.run(
            [*script, str(directory.resolve()), str(limit or len(wanted)), *wanted],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            cwd=directory,
            env=inherited,
        )
        last_words = child.stderr.decode(errors="replace").strip() or "none of them imports"
    except subprocess.TimeoutExpired:
        last_words = f"out of time after {timeout_s:g} s"
    made = sorted(page.stem for page in directory.glob("*.html"))
    if not made:
        raise NoPagesError(f"pydoc made no page of the standard library: {last_words[-500:]}")
    return made


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve *directory* on a free port of 127.0.0.1 while the block runs; yields its base URL."""
    server = _Server(("127.0.0.1", 0), functools.partial(_Handler, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="demo pages")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    # Not http.server.ThreadingHTTPServer: that one asks the name service who 127.0.0.1 is.
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up early is its own affair; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012 - as its base has it
        ".html": "text/html; charset=utf-8", "": "application/octet-stream",
    }  # fmt: skip
    timeout = 10

    def log_message(self, format: str, *arguments: Any) -> None:
        """Silence: the demo's progress bar has the terminal."""


def render(name: str) -> str:
    """The page pydoc makes of module *name*, which is imported into this process."""
    module = importlib.import_module(name)
    return pydoc.html.page(pydoc.describe(module), pydoc.html.document(module, name))


def write_pages(directory: Path, names: Sequence[str], limit: int) -> None:
    """Render pages until *limit* is reached; modules that do not import or render are left out."""
    written = 0
    for name in names:
        if written >= limit:
            return
        try:
            page = render(name)
        except (Exception, SystemExit):  # whatever a module for another platform comes up with
            continue
        part = directory / f"{name}.part"
        part.write_text(page, encoding="utf-8", errors="xmlcharrefreplace")
        part.replace(directory / f"{name}.html")
        written += 1


if __name__ == "__main__":  # pages.py DIRECTORY [LIMIT [MODULE...]]
    directory, *more = sys.argv[1:]
    wanted = more[1:] or module_names()
    write_pages(Path(directory), wanted, int(more[0]) if more else len(wanted))
