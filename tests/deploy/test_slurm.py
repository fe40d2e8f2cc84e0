"""The batch script on a real Slurm, of two nodes that are this machine."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.deploy.slurm import NODE_CPUS, Slurm, started
from tests.integration.cli.commands import ROOT, until

SCRIPT = ROOT / "deploy" / "slurm" / "pypelinin.sbatch"
WORK = """
import sys, time
from pypelinin import Job, PipelineManager, run

def square(number):
    return number * number

squares = [Job(square, args=(n,)) for n in range(100)]
total = run(Job(sum, args=(squares,)), timeout=60)
until = time.monotonic() + 60
while len(brokers := [n for n in PipelineManager().cluster().nodes if n.role == "broker"]) < int(
    sys.argv[2]
):
    assert time.monotonic() < until
    time.sleep(0.05)
print("total", total, "slots", [node.slots for node in brokers], end=" ")
print("MiB", [node.capacity.memory >> 20 for node in brokers])
sys.exit(int(sys.argv[1]))
"""
FOR_EVER = """
import os, time
from pathlib import Path
from pypelinin import Job, run

def hold(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(300)

run(Job(hold, args=(os.path.abspath("held"),)), timeout=300)
"""
PATIENT = """
import signal, sys
from pathlib import Path
from pypelinin import Job, run

def goodbye(number, frame):
    print("goodbye", flush=True)
    sys.exit(7)

signal.signal(signal.SIGTERM, goodbye)
run(Job(pow, args=(2, 3)), timeout=60)
Path("ready").touch()
signal.pause()
"""

pytestmark = pytest.mark.slurm


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    directory = tmp_path_factory.mktemp("slurm")
    (directory / "bin").mkdir()
    program = directory / "bin" / "pypelinin"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pypelinin "$@"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with started(directory) as found:
        yield found


@pytest.fixture
def environment(slurm: Slurm) -> dict[str, str]:
    return {
        "PATH": f"{slurm.directory}/bin:{os.environ['PATH']}:/usr/sbin",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "PYPELININ_SYNCHRONOUS": "normal",
        "PYPELININ_ADDRESS": "127.0.0.1",
        "XDG_RUNTIME_DIR": "/no/such/directory",
    }


def left(slurm: Slurm) -> list[list[str]]:
    """Command lines of what jobs left running: all of them work in Slurm's directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(slurm.directory) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return [words for words in found if words and not Path(words[0]).name.startswith("slurm")]


def output(slurm: Slurm, job: str) -> str:
    logs = slurm.directory.glob(f".pypelinin-{job}/*.log")
    texts = [(slurm.directory / f"slurm-{job}.out").read_text(), *(p.read_text() for p in logs)]
    return "\n".join(texts)


@pytest.mark.parametrize(
    ("nodes", "code", "state"), [(1, 0, "COMPLETED"), (1, 3, "FAILED"), (2, 0, "COMPLETED")]
)
def test_a_job_is_a_cluster_and_ends_with_its_command(
    slurm: Slurm, environment: dict[str, str], nodes: int, code: int, state: str
) -> None:
    (slurm.directory / "work.py").write_text(WORK)
    command = (sys.executable, "work.py", str(code), str(nodes))
    options = (f"--nodes={nodes}", f"--cpus-per-task={NODE_CPUS}", "--mem=300M")
    job = slurm.submit(*options, str(SCRIPT), *command, **environment)
    assert slurm.ended(job) == state, output(slurm, job)
    assert f"total 328350 slots {[NODE_CPUS] * nodes} MiB {[300] * nodes}" in output(slurm, job)
    until(lambda: not left(slurm), "the end of all of it")


def test_nothing_is_left_of_a_job_that_is_cancelled(
    slurm: Slurm, environment: dict[str, str]
) -> None:
    (slurm.directory / "for_ever.py").write_text(FOR_EVER)
    held = slurm.directory / "held"
    held.unlink(missing_ok=True)
    job = slurm.submit("--nodes=2", str(SCRIPT), sys.executable, "for_ever.py", **environment)
    until(lambda: held.exists() or slurm.state(job) not in ("PENDING", "RUNNING"), "its job", 90)
    assert held.exists(), output(slurm, job)
    assert left(slurm)
    slurm.run("scancel", job)
    assert slurm.ended(job) == "CANCELLED"
    until(lambda: not left(slurm), "the end of all of it", 60)


def test_a_signal_reaches_the_command_and_its_exit_code_counts(
    slurm: Slurm, environment: dict[str, str]
) -> None:
    """What Slurm does shortly before the time is over (--signal=B:TERM@60)."""
    (slurm.directory / "patient.py").write_text(PATIENT)
    ready = slurm.directory / "ready"
    ready.unlink(missing_ok=True)
    job = slurm.submit(str(SCRIPT), sys.executable, "patient.py", **environment)
    until(lambda: ready.exists() or slurm.state(job) not in ("PENDING", "RUNNING"), "its job", 90)
    slurm.run("scancel", "--signal=TERM", "--batch", job)
    assert slurm.ended(job) == "FAILED"
    assert "goodbye" in output(slurm, job)
    assert "ExitCode=7:0" in slurm.run("scontrol", "show", "job", job)
    until(lambda: not left(slurm), "the end of all of it")


def test_brokers_join_a_router_that_runs(slurm: Slurm, environment: dict[str, str]) -> None:
    """One job has the Router; another one adds its node and ends."""
    journal = slurm.directory / "journal"
    up = [sys.executable, "-m", "pypelinin"]
    options = ["--journal", str(journal)]
    free = ["--api", "tcp://127.0.0.1:0", "--broadcast", "tcp://127.0.0.1:0"]
    own = {**environment, "XDG_RUNTIME_DIR": str(slurm.directory)}
    slurm.run(*up, "up", "--detach", "--no-broker", *options, *free, **own)
    try:
        api = slurm.run(*up, "up", "--json", *options, **own).partition('"api": "')[2]
        environment["PYPELININ_API"] = api.partition('"')[0]
        (slurm.directory / "work.py").write_text(WORK)
        job = slurm.submit(str(SCRIPT), sys.executable, "work.py", "0", "1", **environment)
        assert slurm.ended(job) == "COMPLETED", output(slurm, job)
        assert not (slurm.directory / f".pypelinin-{job}" / "router.log").exists()
    finally:
        slurm.run(*up, "down", *options, **own)


@pytest.mark.needs_all
def test_it_passes_shellcheck(tmp_path: Path) -> None:
    program = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert program is not None
    subprocess.run([program, str(SCRIPT)], check=True, timeout=60)
    bad = tmp_path / "bad.sh"
    bad.write_text(SCRIPT.read_text().replace('"$directory"', "$directory"))
    done = subprocess.run([program, str(bad)], capture_output=True, text=True, timeout=60)
    assert "SC2086" in done.stdout


def test_a_router_that_cannot_start_is_told(slurm: Slurm, environment: dict[str, str]) -> None:
    environment["PYPELININ_SYNCHRONOUS"] = "sometimes"
    job = slurm.submit(str(SCRIPT), "true", **environment)
    assert slurm.ended(job) == "FAILED"
    assert "The Router did not start:" in output(slurm, job)
    assert "sometimes" in output(slurm, job)
    until(lambda: not left(slurm), "the end of all of it")
