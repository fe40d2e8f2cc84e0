"""`pypelinin` as a user runs it: processes of their own, in a directory and a session of their own.

home.run("up", "--detach", "--workers", "kitchen")      waits, returns code, stdout, stderr
with home.start("wait", run) as command: ...            goes on beside the test
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import psutil

ROOT = Path(__file__).resolve().parents[3]
COMMAND_S = 60.0
EVENT_S = 30.0
FREE = ("--api", "tcp://127.0.0.1:0", "--broadcast", "tcp://127.0.0.1:0")
UP = ("up", "--detach", "--workers", "kitchen", "--slots", "2", "--synchronous", "normal", *FREE)
KEPT = ("PYPELININ_TEST_SESSION", "PYPELININ_CHECK")

KITCHEN = '''
"""Workers for the command line's tests."""

import time
from pathlib import Path

from pypelinin import Worker

__all__ = ["Buy", "Cook", "Burn", "Gate", "Loud"]


class Buy(Worker):
    def process(self, data):
        return "ingredients"


class Cook(Worker):
    def process(self, data):
        return "a meal"


class Burn(Worker):
    def process(self, data):
        raise ValueError("it is black")


class Gate(Worker):
    """Says that it has begun, then waits until it may end."""

    def process(self, data):
        Path(data["begun"]).touch()
        expires = time.monotonic() + 50
        while not Path(data["gate"]).exists():
            assert time.monotonic() < expires
            time.sleep(0.01)


class Loud(Worker):
    def process(self, data):
        print("hello from the slot", flush=True)
'''

MENU = """
from pathlib import Path

from pypelinin import Job, Pipeline

HERE = Path(__file__).resolve().parent
GATE = {"begun": str(HERE / "begun"), "gate": str(HERE / "gate")}

meal = Pipeline({Job("Buy"): Job("Cook")}, labels={"for": "two"})
burnt = Pipeline({Job("Buy"): Job("Burn"), Job("Burn"): Job("Cook")})
held = Pipeline({Job("Gate"): Job("Cook")}, data=GATE)
typo = Pipeline({Job("Byu"): None})
several = [Pipeline({Job("Buy"): None}) for _ in range(3)]
loud = Pipeline({Job("Loud"): Job("Burn")})
"""

T = TypeVar("T")


def until(found: Callable[[], T], what: str = "it", timeout_s: float = EVENT_S) -> T:
    """Ask *found* until its answer is true; returns the answer."""
    expires = time.monotonic() + timeout_s
    while not (answer := found()):
        assert time.monotonic() < expires, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.01)
    return answer


def gone(pids: list[int]) -> bool:
    """Whether none of these processes is alive."""
    for pid in pids:
        try:
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return False
        except psutil.NoSuchProcess:
            continue
    return True


class Started:
    """A command that runs beside the test; what it says can be read at any time."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def says(self, text: str, stream: str = "err", times: int = 1) -> None:
        """Wait until it has said *text*."""

        def said() -> bool:
            ended = self.process.poll() is not None
            found = getattr(self, stream).count(text) >= times
            assert found or not ended, f"ended ({self.process.returncode}): {self.out}{self.err}"
            return bool(found)

        until(said, repr(text))

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def interrupt(self) -> None:
        """Ctrl-C in a terminal: its whole process group gets it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def ends(self) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(COMMAND_S)

    def children(self) -> dict[str, psutil.Process]:
        """The daemons it keeps, by role."""
        found = psutil.Process(self.process.pid).children(recursive=True)
        return {role: child for child in found if (role := role_of(child))}


def role_of(process: psutil.Process) -> str:
    try:
        words = process.cmdline()
    except psutil.Error:
        return ""
    return words[-2] if "pypelinin.cli.supervised" in words else ""


class Home:
    """A directory with the files above; commands here see only clusters started here."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "run").mkdir(mode=0o700)
        (directory / "tmp").mkdir()
        self.write("kitchen.py", KITCHEN)
        self.write("menu.py", MENU)
        self._started = 0

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.write_text(text, encoding="utf-8")
        return path

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith("PYPELININ_") or k in KEPT}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        places = {"XDG_RUNTIME_DIR": f"{self.directory}/run", "TMPDIR": f"{self.directory}/tmp"}
        return {**ours, **places, "PYTHONPATH": path, **(more or {})}

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pypelinin", *arguments],
            cwd=cwd or self.directory,
            env=self.environment(env),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def fine(self, *arguments: str) -> str:
        """What the command says on stdout; it has to end well."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.fine(*arguments, "--json"))

    @contextmanager
    def start(self, *arguments: str, module: bool = True) -> Iterator[Started]:
        """The command in a session of its own; killed on leaving if it has not ended."""
        self._started += 1
        out, err = (self.directory / f"{self._started}.{name}" for name in ("out", "err"))
        command = [sys.executable, *(("-m", "pypelinin") if module else ()), *arguments]
        with open(out, "wb") as stdout, open(err, "wb") as stderr:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment(),
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        try:
            yield Started(process, out, err)
        finally:
            process.kill()
            process.wait()

    def cluster(self) -> Any:
        """The one cluster that `up` keeps running here, as its file tells."""
        (path,) = (self.directory / "run" / "pypelinin" / "clusters").glob("*.json")
        return json.loads(path.read_text())

    def scratch(self) -> list[str]:
        """What was left in the temporary directory."""
        return [path.name for path in (self.directory / "tmp").iterdir()]

    def open_gate(self) -> None:
        (self.directory / "gate").touch()

    def gate_has_begun(self) -> bool:
        return (self.directory / "begun").exists()
