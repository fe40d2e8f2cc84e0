"""The example directory, copied and run as a user does: its tests, its store, its cluster."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pypelinin.demo import workers as demo_workers
from pypelinin.demo.pages import generate, served
from tests.integration.cluster import obeys
from tests.integration.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example in a directory of its own, its ports replaced by free ones."""
    copy = tmp_path / "example"
    shutil.copytree(ROOT / "example", copy, ignore=shutil.ignore_patterns("result", "__pycache__"))
    api, broadcast = map(str, free_ports(2))
    for script in copy.glob("*.py"):
        text = script.read_text(encoding="utf-8")
        script.write_text(text.replace("5555", api).replace("5556", broadcast), encoding="utf-8")
    return copy


def environment() -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def python(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        f"example_{name}", ROOT / "example" / f"{name}.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- workers ----------------------------------------------------------------------------------


def test_the_examples_own_tests_pass(example: Path) -> None:
    done = python(example, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_workers.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout


def test_example_and_demo_find_the_same_in_real_pages(tmp_path: Path) -> None:
    example_workers = load("workers")
    with served(tmp_path) as base:
        for name in generate(tmp_path, limit=20):
            ours = through(demo_workers, f"{base}{name}.html")
            theirs = through(example_workers, f"{base}{name}.html")
            assert {key: theirs[key] for key in ("html", "text", "words", "links")} == {
                key: ours[key] for key in ("html", "text", "words", "links")
            }


def through(module: Any, url: str) -> dict[str, Any]:
    """The page's data after all workers of *module*, each given what it requires."""
    data: dict[str, Any] = {"url": url}
    for name in module.__all__:
        worker = getattr(module, name)
        data |= worker().process({key: data[key] for key in worker.requires})
    return data


# --- SimpleFileStore --------------------------------------------------------------------------


def info(**more: Any) -> dict[str, Any]:
    data = {"id": "7", "url": "http://host/"}
    return {"worker": "W", "worker_requires": [], "data": data, "worker_result": {}, **more}


def test_store_gives_back_what_was_saved_and_given(tmp_path: Path) -> None:
    store = load("file_store").SimpleFileStore(directory=str(tmp_path / "new"))
    assert store.retrieve(info(worker_requires=["url"])) == {"url": "http://host/"}
    store.save(info(worker_result={"html": "<p>"}))
    assert store.retrieve(info(worker_requires=["html"])) == {"html": "<p>"}
    saved = json.loads((tmp_path / "new" / "7.data").read_text())
    assert saved == {"id": "7", "url": "http://host/", "html": "<p>"}


def test_store_names_what_is_missing(tmp_path: Path) -> None:
    store = load("file_store").SimpleFileStore(directory=str(tmp_path))
    with pytest.raises(KeyError, match=r"W requires \['html'\]"):
        store.retrieve(info(worker_requires=["url", "html"]))


@pytest.mark.parametrize("name", ["../7", "a/b", "", ".hidden"])
def test_store_takes_no_id_that_leads_elsewhere(tmp_path: Path, name: str) -> None:
    store = load("file_store").SimpleFileStore(directory=str(tmp_path))
    with pytest.raises(ValueError, match="does not make a file name"):
        store.save(info(data={"id": name}))


def test_store_appends_monitoring_where_configured(tmp_path: Path) -> None:
    log = tmp_path / "monitoring.log"
    store_class = load("file_store").SimpleFileStore
    store_class(directory=str(tmp_path)).save_monitoring({"cpu": 1})
    assert not log.exists()
    store = store_class(**{"directory": str(tmp_path), "monitoring filename": str(log)})
    store.save_monitoring({"cpu": 1})
    store.save_monitoring({"cpu": 2})
    assert [json.loads(line) for line in log.read_text().splitlines()] == [{"cpu": 1}, {"cpu": 2}]


SAVE_MANY = """
import sys
from file_store import SimpleFileStore
store = SimpleFileStore(directory=sys.argv[1])
for number in range(30):
    result = {f"{sys.argv[2]} {number}": number}
    store.save({"data": {"id": "one"}, "worker_result": result})
"""


def test_store_loses_nothing_of_processes_that_save_at_once(example: Path, tmp_path: Path) -> None:
    result = tmp_path / "result"
    arguments = [sys.executable, "-c", SAVE_MANY, str(result)]
    with ExitStack() as stack:
        savers = [
            stack.enter_context(subprocess.Popen([*arguments, who], cwd=example, env=environment()))
            for who in ("a", "b", "c")
        ]
        assert [saver.wait(TIMEOUT_S) for saver in savers] == [0, 0, 0]
    assert len(json.loads((result / "one.data").read_text())) == 1 + 3 * 30
    assert sorted(path.name for path in result.iterdir()) == [".lock", "one.data"]


# --- the scripts ------------------------------------------------------------------------------


@contextmanager
def daemons(example: Path) -> Iterator[None]:
    """Router, Broker and Pipeliner as in three terminals; they end by SIGTERM, with code 0."""
    scripts = ("my_router.py", "my_broker.py", "my_pipeliner.py")
    started: list[subprocess.Popen[bytes]] = []
    try:
        for script in scripts:
            with open(example / f"{script}.log", "wb") as log:
                started.append(
                    subprocess.Popen(
                        [sys.executable, script], cwd=example, env=environment(), stderr=log
                    )
                )
        yield
        for daemon in reversed(started):
            obeys(daemon)  # the Router did without the Pipeliner
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(TIMEOUT_S) == 0
    finally:
        for daemon in started:
            daemon.kill()
            daemon.wait()


def test_send_pipelines_leaves_a_file_for_each_and_says_where(example: Path) -> None:
    with daemons(example):
        done = python(example, "send_pipelines.py")
        assert done.returncode == 0, done.stderr
        again = python(example, "send_pipelines.py", "http://127.0.0.1:9/none.html")
        assert again.returncode == 1, again.stderr
    result = example / "result"
    assert done.stdout.splitlines()[-1] == f"results in {result}"
    files = sorted(result.glob("*.data"))
    assert [file.name for file in files] == ["1.data", "2.data", "3.data", "4.data"]
    for file in files:
        data = json.loads(file.read_text(encoding="utf-8"))
        assert data["url"] in done.stdout
        assert len(data["words"]) > 100
        assert data["links"]
    assert "http://127.0.0.1:9/none.html: failed" in again.stdout
    for script, name in (("my_router", "My Router"), ("my_broker", "My Broker")):
        assert f" - {name} - INFO - " in (example / f"{script}.py.log").read_text()
