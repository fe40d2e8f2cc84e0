"""What the commands of a console do; each gives the text that is the answer."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pypelinin.engine import table
from pypelinin.incremental import telling
from pypelinin.incremental.at_work import Working
from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.progress import Progress, span

if TYPE_CHECKING:
    from pypelinin.incremental.jobs.base import Job
    from pypelinin.incremental.outcomes import RecordedJobOutcome
    from pypelinin.incremental.running import Running

LISTED_MAX = 20
SPY_S, FLAME_S = 10, 5
NO_SPY = "That needs py-spy, which is not installed here (pip install py-spy)."
DEBUG_FILE = "debug.txt"
HELP = (
    ("Enter, status", "the jobs that run, and for how long"),
    ("abort", "end what runs, begin nothing more; what is done is kept"),
    ("stop", "let what runs end, begin nothing more"),
    ("again, reboot", "run the script again when this run is over"),
    ("stop_and_again, restart", "let what runs end, then run the script again"),
    ("kill N", "end job number N; it counts as failed"),
    ("why JOB", "why a job (its number or name) runs, waits or rests"),
    ("errors", "what has failed so far"),
    ("runtimes", "which jobs took longest so far"),
    ("next", "what is begun next; after `stay`: go on with the script"),
    ("stay", "read commands when the run is over, until `next`"),
    ("open_jobs", "what has not ended yet"),
    ("open_jobs_search TEXT", "the same, of jobs with that in their name"),
    ("spy N", "where job N is in its code (needs py-spy)"),
    ("spy_flame N", "a flame graph of the next seconds of job N (needs py-spy)"),
    ("debug", f"write all that is known of the run to {DEBUG_FILE}"),
    ("die", "end this process at once"),
    ("help", "this list"),
)


class Commands:
    """Of one run. The names without `do_` are what is typed."""

    def __init__(self, running: Running, progress: Progress) -> None:
        self.shall_stay = False
        self._running = running
        self._progress = progress
        self._failed: dict[str, RecordedJobOutcome] = {}
        self._times: dict[str, float] = {}
        self._recording: list[tuple[subprocess.Popen[bytes], str]] = []

    def by_name(self) -> dict[str, Callable[[str], str]]:
        return {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("do_")}

    def ended(self, job: Job, outcome: RecordedJobOutcome) -> None:
        if outcome.outcome is JobOutcome.Failed:
            self._failed[job.job_id] = outcome
        if (took := outcome.run_time) is not None:
            self._times[job.job_id] = took

    def beat(self) -> None:
        """Tell what was recorded meanwhile."""
        for one in [one for one in self._recording if one[0].poll() is not None]:
            self._recording.remove(one)
            process, path = one
            done = f"The flame graph is in {path}." if not process.returncode else "py-spy failed."
            self._progress.say(done)

    def close(self) -> None:
        while self._recording:
            process, _ = self._recording.pop()
            process.terminate()
            process.wait()

    # --- what goes on ----------------------------------------------------------------------------

    def do_status(self, _: str) -> str:
        rows = [self._row(working) for working in self._running.working()]
        if not rows:
            return f"{self._progress.counts()}\nNothing runs."
        head = ("number", "time", "job")
        width = max(len(row[0]) for row in [*rows, head])
        lines = [f"{number:>{width}}  {took:>7}  {job}" for number, took, job in [head, *rows]]
        return "\n".join([str(self._progress.counts()), *lines])

    def _row(self, working: Working) -> tuple[str, str, str]:
        return str(working.job.job_number), span(time.time() - working.since), working.job.job_id

    def do_runtimes(self, _: str) -> str:
        longest = sorted(self._times.items(), key=lambda one: -one[1])[:LISTED_MAX]
        return "\n".join(f"{span(took):>7}  {job}" for job, took in longest) or "Nothing has run."

    def do_errors(self, _: str) -> str:
        lines = [f"{job}: {outcome.error_or_none}" for job, outcome in self._failed.items()]
        return _listed(lines) or "Nothing has failed."

    def do_why(self, name: str) -> str:
        found = self._find(name)
        if isinstance(found, str):
            return found
        number = self._running.numbers.get(found.job_id)
        if number is None:
            return f"{found}: it is not part of this run."
        return "\n".join(telling.told(self._running, number))

    def do_next(self, _: str) -> str:
        if self.shall_stay:
            self.shall_stay = False
            return ""
        at_work = {working.job.job_id for working in self._running.working()}
        ready = [self._running.jobs[n].job_id for n in self._running.started]
        return _listed([one for one in ready if one not in at_work]) or "Nothing is ready to begin."

    def do_open_jobs(self, _: str) -> str:
        return self._open("")

    def do_open_jobs_search(self, text: str) -> str:
        return self._open(text) if text else "Say what to look for: open_jobs_search TEXT"

    def _open(self, text: str) -> str:
        entries = self._running.run.jobs
        found = [
            f"{job.job_number}  {table.NAMES[entries[n].state].lower():8}  {job.job_id}"
            for n, job in enumerate(self._running.jobs)
            if n in entries and table.OPEN[entries[n].state] and text in job.job_id
        ]
        return _listed(found) or "No such job is open."

    def do_help(self, _: str) -> str:
        width = max(len(name) for name, _ in HELP)
        return "\n".join(f"{name:{width}}  {what}" for name, what in HELP)

    # --- what is to go on ------------------------------------------------------------------------

    def do_abort(self, _: str) -> str:
        self._running.graph.restart_afterwards = False
        self._running.abort()
        return "The run is ended; what is done is kept."

    def do_stop(self, _: str) -> str:
        self._running.stop()
        return f"Nothing more is begun; {len(self._running.working())} jobs still run."

    def do_again(self, _: str) -> str:
        self._running.graph.restart_afterwards = True
        return "The script is run again when this run is over."

    def do_stop_and_again(self, _: str) -> str:
        return f"{self.do_stop('')}\n{self.do_again('')}"

    do_reboot = do_again
    do_restart = do_stop_and_again

    def do_stay(self, _: str) -> str:
        self.shall_stay = True
        return "Commands are read after the run, too, until `next`."

    def do_kill(self, name: str) -> str:
        working = self._working(name)
        if isinstance(working, str):
            return working
        if not self._running.kill(working.job.job_id):
            return f"{working.job} runs in this process, so it cannot be ended alone."
        return f"{working.job} is ended."

    def do_die(self, _: str) -> str:
        os.kill(os.getpid(), signal.SIGTERM)
        return ""

    # --- looking closer --------------------------------------------------------------------------

    def do_debug(self, _: str) -> str:
        with open(DEBUG_FILE, "w", encoding="utf-8") as file:
            file.write(f"{self._progress.counts()}\n\n{self.do_status('')}\n\n")
            for number in range(len(self._running.jobs)):
                file.write("\n".join(telling.told(self._running, number)) + "\n")
        return f"Written to {DEBUG_FILE}."

    def do_spy(self, name: str) -> str:
        program, pid = self._spied(name)
        if program is None:
            return str(pid)
        found = subprocess.run(
            [program, "dump", "--pid", str(pid)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SPY_S, check=False,
        )  # fmt: skip
        return (found.stdout + found.stderr).strip()

    def do_spy_flame(self, name: str) -> str:
        program, pid = self._spied(name)
        if program is None:
            return str(pid)
        path = f"flame-{name}.svg"
        order = ["record", "--pid", str(pid), "--duration", str(FLAME_S), "--output", path]
        null = subprocess.DEVNULL
        process = subprocess.Popen([program, *order], stdin=null, stdout=null, stderr=null)
        self._recording.append((process, path))
        return f"{FLAME_S} seconds of it are recorded."

    def _spied(self, name: str) -> tuple[str | None, Any]:
        """(py-spy, the process of a job), or (None, why not)."""
        working = self._working(name)
        if isinstance(working, str):
            return None, working
        program = shutil.which("py-spy")
        if program is None:
            return None, NO_SPY
        pid = working.pid or os.getpid()
        if not os.path.exists(f"/proc/{pid}"):
            return None, f"{working.job} does not run on this machine."
        return program, pid

    # --- which job -------------------------------------------------------------------------------

    def _find(self, name: str) -> Job | str:
        """The job of that number, name or file, or why there is none."""
        graph = self._running.graph
        if not name:
            return "Say which job: its number, or its name."
        if name in graph.jobs:
            return graph.jobs[name]
        if name.isdecimal():
            for job in graph.jobs.values():
                if job.job_number == int(name):
                    return job
        with contextlib.suppress(KeyError):
            return graph.find_job_from_file(name)
        found = graph.find_job(name)
        if len(found) == 1:
            return found[0]
        names = _listed([job.job_id for job in found])
        return f"Which of these?\n{names}" if found else f"There is no job {name!r}."

    def _working(self, name: str) -> Working | str:
        found = self._find(name)
        if isinstance(found, str):
            return found
        for working in self._running.working():
            if working.job is found:
                return working
        return f"{found} does not run."


def _listed(lines: list[str]) -> str:
    if len(lines) > LISTED_MAX:
        lines = [*lines[:LISTED_MAX], f"... and {len(lines) - LISTED_MAX} more"]
    return "\n".join(lines)
