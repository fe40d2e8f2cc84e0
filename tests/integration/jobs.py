"""Workers that behave well and badly, for tests with real slots."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from pypelinin import Job, Worker, context

GATE_S = 120.0
HOST_S = 0.05


def note(path: str, **what: Any) -> None:
    """Append one line to *path*; whole, whoever else appends."""
    line = json.dumps({"pid": os.getpid(), **what}) + "\n"
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def notes(path: Path) -> list[dict[str, Any]]:
    """The lines that `note` left; one across two pages of the file may be there by half."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


class Noop(Worker):
    def process(self, data: Any) -> None:
        return None


class Grow(Worker):
    """Adds as many jobs as the data says; what comes after waits for them."""

    def process(self, data: Any) -> None:
        for i in range(data["count"]):
            new = Job("Noop", name=f"grown-{i}")
            context.expand(new, [(new, context.job("last"))])


class Echo(Worker):
    def process(self, data: Any) -> Any:
        return data


class Pid(Worker):
    def process(self, data: Any) -> int:
        return os.getpid()


class Where(Worker):
    def process(self, data: Any) -> None:
        note(data["log"], value=os.getcwd())


class Repr(Worker):
    def process(self, data: Any) -> None:
        note(data["log"], value=ascii(data["value"]))


class Number(Worker):
    """Saves the pipeline's number."""

    requires = ("number",)

    def process(self, data: Any) -> Any:
        return {"left": data["number"], "right": data["number"] * 2}


class Left(Worker):
    requires = ("left",)

    def process(self, data: Any) -> Any:
        return {"left sum": data["left"] + 1}


class Right(Worker):
    requires = ("right",)

    def process(self, data: Any) -> Any:
        return {"right sum": data["right"] + 1}


class Add(Worker):
    requires = ("left sum", "right sum")

    def process(self, data: Any) -> Any:
        return {"sum": data["left sum"] + data["right sum"]}


class Note(Worker):
    """Appends `key` to `log`: how often did it run, where, in which order?"""

    def process(self, data: Any) -> None:
        note(data["log"], key=data.get("key"), at=time.monotonic())


class Inherited(Worker):
    """Notes a variable of the process that its slot was forked from."""

    def process(self, data: Any) -> None:
        note(data["log"], value=os.environ.get(data["variable"]))


class Host(Worker):
    """Notes the network it runs in; takes its time until the file `hurry` exists."""

    def process(self, data: Any) -> None:
        note(data["log"], host=os.readlink("/proc/self/ns/net"))
        time.sleep(data["seconds"] if os.path.exists(data["hurry"]) else HOST_S)


class RunOnce(Note):
    """To be counted."""


class Ranked(Note):
    """Used by one test only, so nobody has measured it before."""


class Gate(Worker):
    """Notes its begin, then waits until the file `gate` exists."""

    def process(self, data: Any) -> None:
        note(data["log"], key=data.get("key"), begin=True)
        deadline = time.monotonic() + GATE_S
        while not os.path.exists(data["gate"]):
            if time.monotonic() > deadline:
                raise TimeoutError(f"nobody opened {data['gate']}")
            time.sleep(0.01)
        note(data["log"], key=data.get("key"), begin=False)


class GateByRequire(Gate):
    """The same with a store that gives what is required."""

    requires = ("log", "gate")


class Sleep(Worker):
    def process(self, data: Any) -> None:
        if "log" in data:
            note(data["log"], key=data.get("key"))
        time.sleep(data["seconds"])


class Fail(Worker):
    def process(self, data: Any) -> None:
        raise ValueError("no such luck")


class FailTwice(Worker):
    """Succeeds at the third try; `log` counts."""

    def process(self, data: Any) -> None:
        note(data["log"], key=data.get("key"))
        if len(notes(Path(data["log"]))) < 3:
            raise OSError("not yet")


class Demanding(Worker):
    """Says what it needs; succeeds at the third try."""

    cores = 2
    retries = 2
    env: ClassVar = {"MODE": "demanding"}

    def process(self, data: Any) -> None:
        note(data["log"], cores=context.cores, mode=os.environ.get("MODE"))
        if len(notes(Path(data["log"]))) < 3:
            raise OSError("not yet")


class Exit(Worker):
    def process(self, data: Any) -> None:
        os._exit(3)


class SysExit(Worker):
    def process(self, data: Any) -> None:
        sys.exit("that is all")


class Interrupt(Worker):
    def process(self, data: Any) -> None:
        raise KeyboardInterrupt


class Segfault(Worker):
    def process(self, data: Any) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class KillSelf(Worker):
    def process(self, data: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class ReturnUnserialisable(Worker):
    def process(self, data: Any) -> Any:
        return {"function": lambda: None}


class PrintLots(Worker):
    def process(self, data: Any) -> None:
        for _ in range(1000):
            print("x" * 1000)
        print("y" * 1000, file=sys.stderr)


class RaiseSurrogate(Worker):
    """As `os.listdir` names files that are not UTF-8."""

    def process(self, data: Any) -> None:
        raise FileNotFoundError("file \udcff is missing")


class RaiseHuge(Worker):
    def process(self, data: Any) -> None:
        raise ValueError("\N{PILE OF POO}" * 1_000_000)


class RaiseLong(Worker):
    def process(self, data: Any) -> None:
        raise ValueError("ü" * 20_000)


class NoProcess(Worker):
    pass


class BadConstructor(Worker):
    def __init__(self, missing: str) -> None:
        self.missing = missing

    def process(self, data: Any) -> None:
        return None


class _BadStr(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class _ExitingStr(Exception):
    def __str__(self) -> str:
        sys.exit(5)
        return ""


class RaiseBadStr(Worker):
    def process(self, data: Any) -> None:
        raise _BadStr


class RaiseExitingStr(Worker):
    def process(self, data: Any) -> None:
        raise _ExitingStr


class RaiseDeep(Worker):
    def process(self, data: Any) -> None:
        self.process(data)


class Forks(Worker):
    """A child that comes back from `process` as if it were the slot."""

    def process(self, data: Any) -> None:
        note(data["log"], key="parent")
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        else:
            note(data["log"], key="child")


class ClosesDescriptors(Worker):
    def process(self, data: Any) -> None:
        os.closerange(3, 256)


class ClosesOutput(Worker):
    def process(self, data: Any) -> None:
        sys.stdout.close()
        os.close(1)
        os.open(os.devnull, os.O_WRONLY)
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - for the rest of the slot


class LeavesThread(Worker):
    def process(self, data: Any) -> None:
        threading.Thread(target=threading.Event().wait, daemon=False).start()


class LeavesChild(Worker):
    """A process of its own that outlives the job, and the slot if nobody ends it."""

    def process(self, data: Any) -> None:
        child = os.fork()
        if not child:
            os.execvp("sleep", ["sleep", "300"])
        note(data["log"], child=child)


class WritesGarbage(Worker):
    """Bytes that are no outcome on every descriptor of the slot."""

    def process(self, data: Any) -> None:
        for descriptor in range(3, 64):
            try:
                os.write(descriptor, b"\xc1" * 100)
            except OSError:
                continue


__all__ = [
    name
    for name, value in list(globals().items())
    if isinstance(value, type) and issubclass(value, Worker) and value is not Worker
]
