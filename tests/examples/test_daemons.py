"""The scripts of `daemons/`, copied and run as a user does, in three terminals."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from pypelinin import Job, Pipeline, PipelineManager
from pypelinin.stores import FileStore
from tests.integration.cluster import obeys
from tests.integration.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60
WORKERS = """
from pypelinin import Worker

__all__ = ["Greet"]


class Greet(Worker):
    requires = ["name"]

    def process(self, data):
        return {"greeting": f"hello {data['name']}"}
"""


def test_the_scripts_to_copy_make_a_cluster(tmp_path: Path) -> None:
    api, broadcast = map(str, free_ports(2))
    for script in (ROOT / "daemons").glob("*.py"):
        text = script.read_text(encoding="utf-8").replace("5555", api).replace("5556", broadcast)
        (tmp_path / script.name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "daemons" / "pypelinin.toml", tmp_path)
    (tmp_path / "workers.py").write_text(WORKERS, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environ = {**os.environ, "PYTHONPATH": path, "XDG_RUNTIME_DIR": str(tmp_path)}
    names = ("router", "broker", "pipeliner")
    with ExitStack() as stack:
        daemons = []
        for name in names:
            log = stack.enter_context(open(tmp_path / f"{name}.log", "wb"))
            command = [sys.executable, f"{name}.py"]
            daemon = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=log)
            stack.callback(daemon.wait)
            stack.callback(daemon.kill)
            daemons.append(daemon)
        pipeline = Pipeline({Job("Greet"): None}, data={"name": "kiwi"})
        with PipelineManager(f"tcp://127.0.0.1:{api}", deadline_s=TIMEOUT_S) as manager:
            manager.start(pipeline, queue_anyway=True)
            manager.wait(timeout=TIMEOUT_S)
        for daemon in reversed(daemons):
            obeys(daemon)  # the Router did without the Pipeliner
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(TIMEOUT_S) == 0
    store = FileStore(tmp_path / "results")
    assert store.load(str(pipeline.id)) == {"greeting": "hello kiwi"}
    for name in names:
        text = (tmp_path / f"{name}.log").read_text()
        assert re.search(rf"^[-\d]+ [:,\d]+ - {name.title()} - INFO - ", text, re.MULTILINE), text
        assert "Traceback" not in text
