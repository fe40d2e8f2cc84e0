"""A Slurm of two nodes on this machine: daemons of our own, without systemd and munge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.integration.cli.commands import until
from tests.integration.ports import free_ports

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
NODES = ("one", "two")
NODE_CPUS = 2
CONFIG = """
ClusterName=pypelinin
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort={controller}
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
SlurmctldLogFile={directory}/slurmctld.log
SlurmdLogFile={directory}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SlurmdParameters=config_overrides
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=30
NodeName=one,two NodeHostname={host} NodeAddr=127.0.0.1 Port={one},{two} CPUs={cpus} RealMemory=900
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class Slurm:
    """Commands for one Slurm; jobs run in *directory*."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._environment = {
            **os.environ, "PATH": PATH, "SLURM_CONF": str(directory / "slurm.conf"),
        }  # fmt: skip

    def run(self, *command: str, **more: str) -> str:
        """What the command says; it has to end well."""
        done = subprocess.run(
            command, env={**self._environment, **more}, cwd=self.directory, capture_output=True,
            text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str, *options: str) -> subprocess.Popen[bytes]:
        program = shutil.which(name, path=PATH)
        assert program is not None
        with open(self.directory / f"{name}.out", "wb") as out:
            return subprocess.Popen(
                [program, *options], env=self._environment, cwd=self.directory,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip

    def submit(self, *arguments: str, **more: str) -> str:
        """The number of the new job."""
        return self.run("sbatch", "--parsable", *arguments, **more).strip()

    def state(self, job: str) -> str:
        """Of a job, as RUNNING, COMPLETED, FAILED, CANCELLED."""
        words = self.run("scontrol", "show", "job", "--oneliner", job).split()
        return next(word.partition("=")[2] for word in words if word.startswith("JobState="))

    def ended(self, job: str) -> str:
        """The last state of *job*, once it has ended."""
        going = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING")
        until(lambda: self.state(job) not in going, f"the end of job {job}", 90)
        return self.state(job)

    def is_idle(self) -> bool:
        said = self.run("sinfo", "--noheader", "--format=%D %T").split()
        return said == [str(len(NODES)), "idle"]


@contextmanager
def started(directory: Path) -> Iterator[Slurm]:
    """The three daemons, the nodes idle; ended by their pids, with all they left."""
    host = socket.gethostname().partition(".")[0]
    controller, one, two = free_ports(3)
    values = {
        "host": host,
        "controller": controller,
        "one": one,
        "two": two,
        "cpus": NODE_CPUS,
    }
    (directory / "slurm.conf").write_text(CONFIG.format(directory=directory, **values))
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (directory / name).mkdir()
    slurm = Slurm(directory)
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        daemons.append(slurm.start("slurmctld", "-D", "-i"))
        daemons += [slurm.start("slurmd", "-D", "-N", name) for name in NODES]
        until(lambda: is_ready(slurm, daemons), "idle nodes", 60)
        yield slurm
    finally:
        for daemon in reversed(daemons):
            below = psutil.Process(daemon.pid).children(recursive=True)
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
            for process in psutil.wait_procs(below, timeout=5)[1]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()


def is_ready(slurm: Slurm, daemons: list[subprocess.Popen[bytes]]) -> bool:
    for daemon in daemons:
        logs = [path.read_text() for path in slurm.directory.glob("slurm*.log")]
        assert daemon.poll() is None, "\n".join(logs)
    try:
        return slurm.is_idle()
    except AssertionError:
        return False
