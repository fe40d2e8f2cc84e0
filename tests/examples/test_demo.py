"""`pypelinin demo` as a user runs it: a process of its own, a real cluster, real pages."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pypelinin.demo.pages import generate, served

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [
    sys.executable,
    "-c",
    "import sys; from pypelinin.cli import main; sys.exit(main())",
    "demo",
]
TIMEOUT_S = 60


def environment(scratch: Path) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, "TMPDIR": str(scratch)}


def demo(scratch: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        cwd=scratch,
        env=environment(scratch),
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def left_in(scratch: Path) -> list[str]:
    return [path.name for path in scratch.glob("pypelinin-demo-*")]


def test_demo_prints_tables(tmp_path: Path) -> None:
    done = demo(tmp_path, "--pages", "4", "--slots", "2")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["page", "words", "links", "seconds"]
    assert lines[5].startswith("total: 4 pages, ")
    assert "12 jobs" in lines[5]
    assert "(2 slots)" in lines[5]
    assert left_in(tmp_path) == []


def test_demo_prints_one_json_document(tmp_path: Path) -> None:
    done = demo(tmp_path, "--pages", "4", "--slots", "1", "--json")
    assert done.returncode == 0, done.stderr
    result = document(done)
    assert result["total"]["pages"] == 4
    assert result["total"]["failed"] == 0
    assert result["total"]["jobs"] == 12
    assert result["total"]["words"] == sum(page["words"] for page in result["pages"]) > 1000
    assert all(page["seconds"] > 0 for page in result["pages"])
    assert [node["slots"] for node in result["nodes"]] == [1]
    assert result["failures"] == []


def test_demo_keeps_pages_and_results_where_asked(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    done = demo(tmp_path, "--pages", "2", "--keep", str(kept), "--json")
    assert done.returncode == 0, done.stderr
    assert document(done)["kept"] == str(kept)
    assert len(list((kept / "pages").glob("*.html"))) == 2
    assert any((kept / "results").rglob("*"))


def test_demo_fetches_urls_and_lists_every_failure(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    generate(site, names=["abc"])
    (site / "notes.txt").write_text("no page")
    with served(site) as base:
        urls = [f"{base}{name}" for name in ("abc.html", "none.html", "notes.txt")]
        done = demo(tmp_path, *urls, "--json")
    assert done.returncode == 1, done.stderr
    result = document(done)
    assert [page["url"] for page in result["pages"]] == urls[:1]
    reasons = {failure["url"]: failure["reason"] for failure in result["failures"]}
    assert "answers 404" in reasons[urls[1]]
    assert "is text/plain, not HTML" in reasons[urls[2]]
    assert result["most_linked"][0]["pages"] == 1


def test_demo_names_a_bad_url(tmp_path: Path) -> None:
    done = demo(tmp_path, "python.org")
    assert done.returncode == 2
    assert "'python.org'" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_demo_leaves_nothing_when_interrupted(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """conftest.py looks for processes; here for the exit code, the one line and the files."""
    kept = tmp_path / "kept"
    # far more than it can do while we look
    with running(tmp_path, "--pages", "150", "--slots", "1", "--keep", str(kept)) as process:
        wait_for(lambda: any((kept / "results").rglob("*")), process)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does: everybody gets it
        else:
            process.send_signal(number)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == code, err
    assert out == ""
    assert "Traceback" not in err
    if number == signal.SIGINT:
        assert err.splitlines()[-1] == "interrupted: nothing is left running"
    assert left_in(tmp_path) == []


@contextmanager
def running(scratch: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=scratch,
        env=environment(scratch),
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(true: Any, process: subprocess.Popen[str]) -> None:
    expires = time.monotonic() + TIMEOUT_S
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < expires
        time.sleep(0.01)
