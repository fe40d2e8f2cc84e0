"""A Broker that hangs on its standard input; `tests/deploy/test_ssh.py` puts ssh between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pypelinin.cli import hosted
from pypelinin.cli.hosted import Keeper
from pypelinin.cli.supervised import ORPHANED
from pypelinin.config import DEFAULTS, VERSION

ENDS_S = 30.0


class Hosted:
    """The process, and what it answered."""

    def __init__(self, directory: Path, *command: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "pypelinin.cli.hosted"))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, "XDG_RUNTIME_DIR": str(directory)},
        )  # fmt: skip
        self.directory = directory

    def tell(self, **document: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(document).encode() + b"\n")
        self.process.stdin.flush()

    def configure(self, **more: Any) -> None:
        api = f"ipc://{self.directory}/nobody.api"
        own = {"api": api, "name": "far", "slots": 1, "path": [], "version": VERSION}
        self.tell(**{**DEFAULTS, **own, "directory": str(self.directory), **more})

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Hosted]:
    (tmp_path / "run").mkdir(mode=0o700)
    started = Hosted(tmp_path / "run")
    yield started
    started.process.kill()
    with started.process:
        pass


def test_it_says_when_it_works_and_stops_when_told(broker: Hosted) -> None:
    broker.configure()
    assert broker.answer()["ready"]["api"].startswith("ipc://")
    broker.tell(alive=True)
    broker.tell(stop=True)
    broker.tell(stop=True)
    assert broker.process.wait(ENDS_S) == 0


@pytest.mark.parametrize("is_configured", [True, False])
def test_it_ends_when_its_input_does(broker: Hosted, is_configured: bool) -> None:
    if is_configured:
        broker.configure()
        broker.answer()
    assert broker.process.stdin is not None
    broker.process.stdin.close()
    assert broker.process.wait(ENDS_S) == ORPHANED


def test_another_version_is_refused(broker: Hosted) -> None:
    broker.configure(version="0.9")
    error = broker.answer()["error"]
    assert error["kind"] == "VersionMismatch"
    assert f"pypelinin {VERSION} is installed here, but 0.9" in error["what"]
    assert "-m pip install pypelinin==0.9" in error["remedy"]
    assert broker.process.wait(ENDS_S) == 1


def test_what_keeps_it_from_starting_is_told(broker: Hosted) -> None:
    broker.configure(memory="a lot")
    assert broker.answer()["error"]["kind"] == "DefinitionError"
    assert broker.process.wait(ENDS_S) == 1


def test_a_keeper_that_is_silent_for_too_long_is_gone(tmp_path: Path) -> None:
    """A network that swallows everything closes nothing."""
    code = "from pypelinin.cli.hosted import *; obey(Keeper(0, 1, 0.2).lines(), print)"
    silent = Hosted(tmp_path, "-c", code)
    with silent.process:
        silent.tell(alive=True)
        assert silent.process.wait(ENDS_S) == ORPHANED


def test_what_a_slot_prints_is_no_answer(tmp_path: Path) -> None:
    code = (
        "from pypelinin.cli import hosted; import os\n"
        "reads, writes = hosted.connection()\n"
        "print('noise', flush=True); os.system('echo noise; cat')\n"
        "hosted.Keeper(reads, writes).tell({'read': os.read(reads, 9).decode()})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=b"a line\n", capture_output=True, check=True, timeout=30
    )
    assert json.loads(done.stdout) == {"read": "a line\n"}
    assert done.stderr == b"noise\nnoise\n"


def test_lines_come_whole_and_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, writes = os.pipe()
    os.write(writes, b'{"a": 1}\n{"b": 2}\n{"c"')
    lines = Keeper(reads, writes).lines()
    assert [next(lines), next(lines)] == [{"a": 1}, {"b": 2}]
    monkeypatch.setattr(hosted, "LINE_BYTES_MAX", 3)
    os.write(writes, b": 3")
    assert list(lines) == []
    os.close(reads)
    os.close(writes)


def test_a_directory_that_is_not_here_is_left_out(tmp_path: Path) -> None:
    code = (
        "from pypelinin.cli.hosted import enter; import os, sys\n"
        "enter('/no/such'); enter(sys.argv[1]); print(os.getcwd())"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=30)
    assert done.stdout.decode().strip() == str(tmp_path.resolve())


def test_an_access_file_is_only_for_its_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert hosted.access_file({"name": "node"}) == ""
    for number, text in enumerate(["secret", "another"]):
        values = {"name": "../node", "access_text": text, "api": f"ipc:///tmp/{number}.api"}
        path = Path(hosted.access_file(values))
        assert path == tmp_path / "pypelinin" / f"node-{number}.api.access"
        assert (path.read_text(), path.stat().st_mode & 0o777) == (text, 0o600)
        hosted.remove(str(path))
        assert not path.exists()
