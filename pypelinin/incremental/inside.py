"""Where jobs run: in a slot that was forked from the caller, or far from it.

`jobs` is set in the process that slots are forked from. Far from there they are read from a
*pack*, a file in the project's directory, once a process; what jobs read is loaded in the session
that slots are forked from (see runtime/session.py), once a node.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pypelinin.incremental.exceptions import JobContractError, JobDied, JobError

PIPE_BYTES = 1 << 16
CAPTURED_MAX = 1 << 20
"""Bytes of what a job printed that are kept: the last ones."""

Loaded = tuple[str, bytes]
"""(view, digest) of what a loader loaded; no digest: only the caller knows it."""
jobs: Any = []
"""The jobs of the run, by number."""
run_directory = ""
_pack = ""
_loaded: dict[tuple[int, bytes], Loaded | JobError] = {}
"""By (number of a loader, digest of what it reads): what stands for what it loaded."""

Loader = tuple[int, bytes]
"""Number, and digest of what it reads."""
is_interruptible = False
"""Whether code of a job runs in the caller now, so that Ctrl-C may end it."""


def begin(of_run: Any, directory: str) -> None:
    """In the caller: a run begins with these jobs, which print into files of *directory*."""
    global jobs, run_directory
    jobs = of_run
    run_directory = os.path.abspath(directory)
    os.makedirs(run_directory, exist_ok=True)


class Done(NamedTuple):
    """What comes back of a job."""

    result: Any
    stdout: str
    stderr: str
    started: float
    stopped: float


class Context(NamedTuple):
    """What a job is told where it runs."""

    inputs: bytes = b""
    """The digest of all that it reads."""


def perform(number: int, alone: bool = False) -> tuple[Any, ...]:
    """Run one job in this slot; *alone*: in a process of its own, which nobody else gets.

    Raises JobError with what the job raised.
    """
    job = jobs[number]
    return tuple(_apart(job) if alone else _performed(job))


# --- far from the caller ------------------------------------------------------------------------


class LoaderFailed(JobError):
    """A loader failed where the job was to run; *number* is the loader's."""

    number = -1

    def __reduce__(self) -> tuple[object, ...]:
        return (_loader_failed, (self.number, self.exception, self.trace))


def _loader_failed(number: int, exception: BaseException, trace: str) -> LoaderFailed:
    made = LoaderFailed(exception, trace)
    made.number = number
    return made


def session_name(pack: str, loaders: Sequence[Loader]) -> str:
    """What slots have to be forked from in which these loaders have run."""
    return f"{__name__}:prepare|{pack}|" + ",".join(f"{n}:{inputs.hex()}" for n, inputs in loaders)


def prepare(pack: str, named: str) -> None:
    """In a session: have these loaded. What fails is told to the jobs that want to read it."""
    open_pack(pack)
    for one in filter(None, named.split(",")):
        number, _, inputs = one.partition(":")
        _load((int(number), bytes.fromhex(inputs)))


def open_pack(path: str) -> None:
    """Read the jobs of a run, unless that was done. Raises what it raises."""
    global jobs, run_directory, _pack
    if path == _pack:
        return
    with open(path, "rb") as file:
        directory, search, jobs = pickle.load(file)
    sys.path[:] = search + [entry for entry in sys.path if entry not in search]
    run_directory = os.path.dirname(path)
    os.chdir(directory)
    _pack = path
    _loaded.clear()


def _load(loader: Loader) -> Loaded | JobError:
    if loader not in _loaded:
        try:
            loaded: Loaded = jobs[loader[0]].perform(Context(loader[1]))[0]
            _loaded[loader] = loaded
        except Exception as error:
            _loaded[loader] = as_job_error(error, "", "")
    return _loaded[loader]


def perform_far(
    pack: str, number: int, loaders: Sequence[tuple[int, bytes, bytes]], alone: bool = False
) -> Any:
    """Run job *number* of that pack; *loaders* are (number, digest of what it reads, digest of
    what it must give, or nothing). A loader itself gives what it loaded.

    Raises JobError, and LoaderFailed.
    """
    open_pack(pack)
    for loader, inputs, wanted in loaders:
        found = _load((loader, inputs))
        if not isinstance(found, JobError) and wanted and found[1] and found[1] != wanted:
            found = JobError(JobContractError(
                f"{jobs[loader]!r} loaded something else than the last time, although nothing that "
                "it depends on had changed.",
                remedy="Let it depend on what it reads.",
            ))  # fmt: skip
        if isinstance(found, JobError):
            raise _loader_failed(loader, found.exception, found.trace)
        if loader == number:
            now = time.time()
            return tuple(Done((found, None), "", "", now, now))
    return tuple(_apart(jobs[number]) if loaders or alone else _performed(jobs[number]))


# --- one job ------------------------------------------------------------------------------------


def perform_here(job: Any, context: Context) -> Any:
    """In the caller."""
    global is_interruptible
    is_interruptible = True
    try:
        return job.perform(context)
    finally:
        is_interruptible = False


def _performed(job: Any) -> Done:
    if threading.current_thread() is not threading.main_thread():  # an engine of threads
        return _performed_in_thread(job)
    here = os.getcwd()
    started = time.time()
    with captured(f"{job.job_number}-{os.getpid()}") as printed:
        try:
            result = job.perform(Context())
            error = None
        except BaseException as raised:
            error = raised
    stopped = time.time()
    moved_back(here)
    out, err = printed.read()
    if error is not None:
        failed = as_job_error(error, out, err)
        failed.started = started
        raise failed
    if not getattr(job, "always_capture_output", True):
        out = err = "not captured"
    return Done(result, out, err, started, stopped)


def moved_back(here: str) -> str:
    """Go back to the working directory *here*; where we were, if that was another one."""
    try:
        now = os.getcwd()
    except FileNotFoundError:
        now = "a directory that is gone"
    if now == here:
        return ""
    os.chdir(here)
    return now


def _performed_in_thread(job: Any) -> Done:
    """Beside others: what it prints and where it goes is not its own."""
    started = time.time()
    try:
        result = job.perform(Context())
    except BaseException as error:
        raise as_job_error(error, "", "") from None
    return Done(result, "not captured", "not captured", started, time.time())


def as_job_error(error: BaseException, out: str, err: str) -> JobError:
    """What travels of an exception, with its traceback and what was printed."""
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        died = JobDied(f"The job called sys.exit({error.code!r}).", None, code)
        return JobError(died, "", out, err)
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = JobDied(f"{type(error).__name__}: {error!r}", repr(error))
    error.__traceback__ = None
    return JobError(error, trace, out, err)


def _apart(job: Any) -> Done:
    """In a fork of this process: what it does to loaded data is gone with it."""
    read, write = os.pipe()
    _flush()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.close(read)
            try:
                answer: tuple[bool, Done | JobError] = (True, _performed(job))
            except JobError as error:
                answer = (False, error)
            with open(write, "wb", closefd=False) as pipe:
                pickle.dump(answer, pipe)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            _flush()
            os._exit(code)
    os.close(write)
    try:
        data = _sent(pid, read)
    finally:
        os.close(read)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code or not data:
        out, err = Printed(*_paths(f"{job.job_number}-{pid}")).read()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        died = JobDied(f"{job!r} died: its process ended with {how}.", None, code)
        raise JobError(died, "", out, err)
    fine, found = pickle.loads(data)
    if fine:
        return Done(*found)
    raise found


def _sent(pid: int, pipe: int) -> bytes:
    """What a child writes until it ends; what it has left behind may hold the pipe for longer."""
    end = os.pidfd_open(pid)
    try:
        poller = select.poll()
        for number in (pipe, end):
            poller.register(number, select.POLLIN)
        parts: list[bytes] = []
        while True:
            ready = dict(poller.poll())
            if pipe not in ready:  # it has ended, perhaps after the pipe had been looked at
                ready = dict(poller.poll(0))
            if pipe not in ready or not (part := os.read(pipe, PIPE_BYTES)):
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(end)


# --- what is printed ----------------------------------------------------------------------------


class Printed:
    """What a job printed, in two files."""

    def __init__(self, out: str, err: str) -> None:
        self.paths = (out, err)

    def read(self) -> tuple[str, str]:
        """(stdout, stderr), and the files are gone."""
        found = []
        for path in self.paths:
            try:
                with open(path, "rb") as file:
                    file.seek(max(0, os.path.getsize(path) - CAPTURED_MAX))
                    found.append(file.read().decode(errors="replace"))
                os.unlink(path)
            except FileNotFoundError:
                found.append("")
        return found[0], found[1]


def _paths(name: str) -> tuple[str, str]:
    return (f"{run_directory}/{name}.stdout", f"{run_directory}/{name}.stderr")


@contextlib.contextmanager
def captured(name: str) -> Iterator[Printed]:
    """Everything that this process and its children print meanwhile goes into files.

    `sys.stdout` is a new one: the caller's may be no file, or one that is not open here.
    """
    printed = Printed(*_paths(name))
    _flush()
    kept = [os.dup(1), os.dup(2)]
    for number, path in zip((1, 2), printed.paths, strict=True):
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
        os.dup2(fd, number)
        os.close(fd)
    former = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        open(  # noqa: SIM115 - they stay open
            fd, "w", errors="backslashreplace", closefd=False, buffering=buffering
        )
        for fd, buffering in ((1, -1), (2, 1))
    )
    try:
        yield printed
    finally:
        _flush()
        sys.stdout, sys.stderr = former
        for number, fd in zip((1, 2), kept, strict=True):
            os.dup2(fd, number)
            os.close(fd)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
