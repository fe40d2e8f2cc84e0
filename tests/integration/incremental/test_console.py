"""A script with a terminal of its own: what is typed there, what is seen, and what is not lost."""

from __future__ import annotations

import os
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from pypelinin.incremental.interrupting import TWICE_S

WAIT_S = 60.0
SCRIPT = """
import os, sys, time
from pathlib import Path
import pypelinin.incremental as ppg

ppg.new(cores=2, run_mode=ppg.RunMode[sys.argv[1]], log_address=None, dir_config=".ppg")

def note(line):
    with open("ran", "a") as file:
        file.write(line + "\\n")

def quick(path):
    path.write_text("x")
    note(path.name)

def waits(path):
    Path("pid").write_text(str(os.getpid()))
    while not Path("go").exists():
        time.sleep(0.01)
    path.write_text("x")
    note(path.name)

first = [ppg.FileGeneratingJob(f"quick{i}", quick) for i in range(5)]
slow = ppg.FileGeneratingJob("slow", waits).depends_on(first)
ppg.FileGeneratingJob("after", quick).depends_on(slow)
print("the script begins", flush=True)
try:
    ppg.run(print_failures=False)
    print("all is done")
except BaseException as error:
    print("ended by", type(error).__name__)
"""
ON_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
QUICK = [f"quick{i}" for i in range(5)]


class Terminal:
    """The script in *directory*, and the other side of its terminal."""

    def __init__(self, directory: Path, mode: str) -> None:
        self.side, theirs = os.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_TERMINAL, "run.py", mode],
            cwd=directory, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        os.close(theirs)
        self.seen = ""
        self.is_open = True

    def type(self, text: str) -> None:
        os.write(self.side, text.encode())

    def expect(self, pattern: str) -> str:
        """Read until the pattern is seen, and return it; what comes before it is done with."""
        until = time.monotonic() + WAIT_S
        while (found := re.search(pattern, self.seen)) is None:
            left = until - time.monotonic()
            ready = left > 0 and select.select([self.side], [], [], left)[0]
            has_more = ready and self._read()
            assert has_more, f"{pattern!r} is not in {self.seen!r}"
        self.seen = self.seen[found.end() :]
        return found[0]

    def _read(self) -> bool:
        try:
            data = os.read(self.side, 65536)
        except OSError:  # the script has ended
            return False
        self.seen += data.decode(errors="replace")
        return bool(data)

    def ended(self) -> None:
        """The script has ended by itself."""
        while self._read():
            pass
        self.process.wait(WAIT_S)

    def hang_up(self) -> None:
        if self.is_open:
            self.is_open = False
            os.close(self.side)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.hang_up()


class Project:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.terminals: list[Terminal] = []
        (directory / "run.py").write_text(SCRIPT)

    def run(self, mode: str = "CONSOLE") -> Terminal:
        self.terminals.append(Terminal(self.directory, mode))
        return self.terminals[-1]

    def go(self) -> None:
        """Let the slow job end."""
        (self.directory / "go").touch()

    def wait_for(self, name: str) -> None:
        until = time.monotonic() + WAIT_S
        path = self.directory / name
        while not (path.exists() and path.stat().st_size):
            assert time.monotonic() < until, name
            time.sleep(0.01)

    @property
    def ran(self) -> list[str]:
        return sorted((self.directory / "ran").read_text().split())

    def recorded(self) -> int:
        with closing(sqlite3.connect(self.directory / ".ppg/history/history.sqlite3")) as database:
            return int(database.execute("select count(*) from records").fetchone()[0])

    def runs_on(self) -> None:
        """Begun again, it does what was not done, and only that."""
        self.go()
        terminal = self.run("NONINTERACTIVE")
        terminal.expect("all is done")
        terminal.ended()
        assert Counter(self.ran) == Counter([*QUICK, "slow", "after"])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    for terminal in made.terminals:
        terminal.close()


def test_enter_shows_what_runs(project: Project) -> None:
    terminal = project.run()
    project.wait_for("pid")
    terminal.expect("5 done, 1 running, 1 waiting, 0 failed")
    terminal.type("\n")
    terminal.expect(r"number +time +job\s+\d+ +[\d.]+ s +slow")
    terminal.type("why after\n")
    terminal.expect("waits for slow")
    project.go()
    terminal.expect("7 ran in ")
    terminal.expect("all is done")
    terminal.ended()


def test_stop_lets_what_runs_end(project: Project) -> None:
    terminal = project.run()
    project.wait_for("pid")
    terminal.type("stop\n")
    terminal.expect("Nothing more is begun; 1 jobs still run")
    project.go()
    terminal.expect("ended by JobsFailed")
    terminal.ended()
    assert project.ran == sorted([*QUICK, "slow"])
    project.runs_on()


def test_abort_ends_what_runs_and_loses_nothing_that_is_done(project: Project) -> None:
    terminal = project.run()
    project.wait_for("pid")
    terminal.type("abort\n")
    terminal.expect("ended by JobsFailed")
    terminal.ended()
    assert project.ran == QUICK
    project.runs_on()


@pytest.mark.parametrize("mode", ["CONSOLE", "CONSOLE_INTERACTIVE"])
def test_on_a_console_ctrl_c_twice_ends_the_run_and_loses_nothing(
    project: Project, mode: str
) -> None:
    terminal = project.run(mode)
    project.wait_for("pid")
    hint, end = "Ctrl-C does not end the run", "ended by JobsFailed"
    pressed = time.monotonic()
    terminal.type("\x03")
    terminal.expect(hint)
    while True:
        before, pressed = pressed, time.monotonic()
        terminal.type("\x03")
        if terminal.expect(f"{hint}|{end}") == end:
            break
        assert time.monotonic() - before > TWICE_S, "it was in time"
    terminal.ended()
    project.runs_on()


@pytest.mark.parametrize("mode", ["NOTEBOOK", "NONINTERACTIVE"])
def test_elsewhere_ctrl_c_ends_the_run_and_loses_nothing(project: Project, mode: str) -> None:
    terminal = project.run(mode)
    project.wait_for("pid")
    terminal.type("\x03")
    terminal.expect("ended by JobsFailed")
    terminal.ended()
    project.runs_on()


def test_usr1_ends_the_run_and_loses_nothing(project: Project) -> None:
    terminal = project.run()
    project.wait_for("pid")
    terminal.process.send_signal(signal.SIGUSR1)
    terminal.expect("ended by JobsFailed")
    terminal.ended()
    project.runs_on()


def test_a_script_that_is_killed_takes_its_jobs_along_and_loses_nothing(project: Project) -> None:
    terminal = project.run("NONINTERACTIVE")
    project.wait_for("pid")
    until = time.monotonic() + WAIT_S
    while project.recorded() < len(QUICK):
        assert time.monotonic() < until
        time.sleep(0.01)
    job = psutil.Process(int((project.directory / "pid").read_text()))
    terminal.process.kill()
    terminal.process.wait()
    psutil.wait_procs([job], timeout=WAIT_S)
    assert not job.is_running()
    project.runs_on()


def test_again_runs_the_script_once_more(project: Project) -> None:
    terminal = project.run()
    terminal.expect("the script begins")
    project.wait_for("pid")
    terminal.type("again\n")
    terminal.expect("when this run is over")
    project.go()
    terminal.expect("the script begins")
    terminal.expect("all is done")
    terminal.ended()
    assert Counter(project.ran) == Counter([*QUICK, "slow", "after"])


def test_a_terminal_that_goes_away_does_not_end_the_run(project: Project) -> None:
    terminal = project.run()
    project.wait_for("pid")
    terminal.hang_up()
    project.go()
    terminal.process.wait(WAIT_S)
    assert Counter(project.ran) == Counter([*QUICK, "slow", "after"])
