"""The log files of a run.

`<script>-<time>.messages.log` in the project's log directory has what was logged, with a short
sign for the place in the code; `.lookup.log` says where these are; `latest.messages` and
`latest.lookup` lead to the newest ones. `runtimes.tsv` has the jobs that took a second or more.
Where the working directory has a folder `logs`, `ppg_run.txt`, `ppg_errors.txt` and
`ppg_graph.txt` are written there, as pypipegraph's first version did.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pypelinin.incremental.ends import was_not_begun
from pypelinin.incremental.enums import JobOutcome
from pypelinin.incremental.error_files import described
from pypelinin.incremental.links import keep_newest, point
from pypelinin.incremental.log_sending import LogSender
from pypelinin.incremental.progress import span, summary
from pypelinin.incremental.reasons import TEXTS
from pypelinin.incremental.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pypelinin.incremental.definition import Graph
    from pypelinin.incremental.jobs.base import Job
    from pypelinin.incremental.outcomes import RecordedJobOutcome
    from pypelinin.incremental.running import Running

LOGGER = "pypelinin.incremental"
RUNTIME_MIN_S = 1.0
V1_FOLDER = "logs"


class LogFile(logging.Handler):
    """A log file that slots write to as well: each process opens it for itself, as a slot has
    inherited no more than the number of a descriptor."""

    def __init__(self, path: Path, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._path = path.absolute()
        self._descriptor = -1
        self._pid = 0
        self._open()

    def _open(self) -> None:
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor, self._pid = os.open(self._path, how, 0o644), os.getpid()

    def write(self, line: str) -> None:
        """Raises OSError."""
        if self._pid != os.getpid():
            self._open()
        os.write(self._descriptor, f"{line}\n".encode(errors="backslashreplace"))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self.write(self.line(record))
        except OSError:  # a full disk ends no run
            pass
        except Exception:
            self.handleError(record)

    def line(self, record: logging.LogRecord) -> str:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        return f"{when} {record.levelname:7} {self.format(record)}"

    def close(self) -> None:
        if self._pid == os.getpid():
            os.close(self._descriptor)
        self._pid = -1
        super().close()


class Messages(LogFile):
    """With signs for places in the code, and a second file that says what they mean."""

    def __init__(self, path: Path, lookup: Path, level: int) -> None:
        super().__init__(path, level)
        self._lookup = LogFile(lookup)
        self._signs: dict[tuple[str, int], str] = {}

    def line(self, record: logging.LogRecord) -> str:
        place = (record.pathname, record.lineno)
        sign = self._signs.get(place)
        if sign is None:  # the same in each process
            sign = self._signs[place] = f"{zlib.crc32(repr(place).encode()) >> 12:05x}"
            told = f"{sign}\t{record.pathname}:{record.lineno}\t{record.funcName}"
            self._lookup.write(told)
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        return f"{when} {record.levelname:7} {sign} {self.format(record)}"

    def close(self) -> None:
        self._lookup.close()
        super().close()


class Told(logging.Handler):
    """Warnings go to who reads the terminal, unless the program has its own way for them."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._pid = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        if logging.getLogger().handlers:
            return
        if os.getpid() == self._pid:
            self._say(self.format(record))
        else:
            print(self.format(record), file=sys.stderr)


class RunLog(Watcher):
    """Writes them. A file that cannot be written is said once, and left out."""

    def __init__(self, graph: Graph, say: Callable[[str], None] = lambda _text: None) -> None:
        self._graph = graph
        self._say = say
        self._log = logging.getLogger(LOGGER)
        self._handlers: list[logging.Handler] = []
        self._former_level = logging.NOTSET
        self._directory: Path | None = None
        self._v1 = False
        self._began_at = 0.0
        self._ran = 0

    def began(self, running: Running) -> None:
        self._began_at, self._ran = time.monotonic(), 0
        directory = self._graph.dir_config.log_dir
        self._directory = directory if isinstance(directory, Path) else None
        self._v1 = os.path.isdir(V1_FOLDER)
        level = self._graph.options.log_level
        self._handlers = [Told(self._say)]
        if self._directory is not None:
            with self._guarded():
                self._handlers.append(self._messages(self._directory, level))
        if self._v1:
            with self._guarded():
                self._begin_v1(running)
        if self._graph.options.log_address is not None:
            self._handlers.append(LogSender(self._graph.options.log_address, level))
        for handler in self._handlers:
            self._log.addHandler(handler)
        self._former_level = self._log.level
        level = logging.DEBUG if self._v1 else level
        self._log.setLevel(min(level, self._former_level or level))  # somebody may want more
        self._log.info("A run of %d jobs begins.", len(running.jobs))

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._say(f"This log is not written: {error}")

    def _messages(self, directory: Path, level: int) -> Messages:
        directory.mkdir(parents=True, exist_ok=True)
        base = f"{script_name()}-{self._graph.time_str}"
        paths = {kind: directory / f"{base}.{kind}.log" for kind in ("messages", "lookup")}
        handler = Messages(paths["messages"], paths["lookup"], level)
        self._graph.log_file = paths["messages"]
        for kind, path in paths.items():
            point(directory / f"latest.{kind}", path.name)
            keep_newest(directory.glob(f"*.{kind}.log"), self._graph.options.log_retention)
        return handler

    def _begin_v1(self, running: Running) -> None:
        folder = Path(V1_FOLDER)
        for name in ("ppg_run.txt", "ppg_errors.txt"):
            if (folder / name).exists():
                os.replace(folder / name, folder / f"{name}.1")
        self._handlers.append(LogFile(folder / "ppg_run.txt", logging.DEBUG))
        with open(folder / "ppg_graph.txt", "w", encoding="utf-8") as file:
            for job in running.jobs:
                file.write(f"{type(job).__name__} {job.job_id}\n")
                file.writelines(f"  {up.job_id}\n" for up in job.upstreams)

    # --- meanwhile -------------------------------------------------------------------------------

    def started(self, jobs: Sequence[Job]) -> None:
        if self._log.isEnabledFor(logging.DEBUG):
            for job in jobs:
                self._log.debug("%s is handed out.", job)

    def ended(self, job: Job, outcome: RecordedJobOutcome) -> None:
        self._ran += 1
        took = "" if outcome.run_time is None else f" after {span(outcome.run_time)}"
        if outcome.outcome is JobOutcome.Failed:
            self._log.info("%s failed%s: %s", job, took, outcome.error_or_none)
        else:
            self._log.info("%s is done%s.", job, took)

    # --- afterwards ------------------------------------------------------------------------------

    def over(self, outcomes: dict[str, RecordedJobOutcome]) -> None:
        if not self._handlers:
            return
        if self._log.isEnabledFor(logging.DEBUG):
            for outcome in outcomes.values():
                reason = TEXTS.get(outcome.reason, "nothing that it depends on has changed")
                self._log.debug("%s: %s, %s.", outcome.job_id, outcome.outcome.name, reason)
        took = span(time.monotonic() - self._began_at)
        self._log.info("The run has ended: %s in %s.", summary(outcomes, self._ran), took)
        if self._directory is not None:
            with self._guarded():
                self._directory.mkdir(parents=True, exist_ok=True)
                write_runtimes(self._directory / "runtimes.tsv", outcomes.values())
        if self._v1:
            with self._guarded():
                self._write_errors(outcomes.values())
        self._log.setLevel(self._former_level)
        while self._handlers:
            handler = self._handlers.pop()
            self._log.removeHandler(handler)
            handler.close()

    def _write_errors(self, outcomes: Iterable[RecordedJobOutcome]) -> None:
        failed = [o for o in outcomes if o.outcome is JobOutcome.Failed and not was_not_begun(o)]
        with open(Path(V1_FOLDER, "ppg_errors.txt"), "w", encoding="utf-8") as file:
            for outcome in failed:
                file.write(described(self._graph.jobs[outcome.job_id], outcome) + "\n")


def script_name() -> str:
    """What names the logs of the program that runs."""
    script = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else ""
    return script.lstrip("-") or "interactive"


def write_runtimes(path: Path, outcomes: Iterable[RecordedJobOutcome]) -> None:
    """A table of the jobs that took long, the longest first."""
    took = [(outcome.run_time or 0.0, outcome.job_id) for outcome in outcomes]
    rows = sorted((row for row in took if row[0] >= RUNTIME_MIN_S), reverse=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write("runtime_s\tjob_id\n")
        file.writelines(f"{seconds:.3f}\t{job_id}\n" for seconds, job_id in rows)
