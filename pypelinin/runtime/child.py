"""Inside a slot: the only place where the user's code runs and a payload is opened.

The slot imports the workers and the store, says what it found, then takes lots: for each
job a token from the token pipe (no token: the Broker took the rest back), `retrieve`,
`process`, `save`, and one outcome. An outcome is written as soon as it is known; nothing is
kept back, so a job that never ends hides no other job's end.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import select
import socket
import sys
import time
import traceback
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NoReturn

import msgpack

from pypelinin import context
from pypelinin.errors import DefinitionError, PypelininError, ValueLost
from pypelinin.ids import fence_attempt
from pypelinin.runtime import calls
from pypelinin.runtime.directories import Directory
from pypelinin.runtime.printing import QUICK_S, Witness
from pypelinin.runtime.value_store import Values, size_of
from pypelinin.runtime.values import Piece, pack_error, pack_value, unpack_value
from pypelinin.wire.definitions import (
    GROWN,
    INLINE_BYTES_MAX,
    NO_PLACE,
    SHELL,
    ValuePlace,
    call_worker,
)

Ended = bytes | list[Any]
"""How an attempt ended: its packed result, or cause, type, text, traceback, packed error."""

_PACKAGE = os.path.dirname(os.path.dirname(__file__)) + os.sep
TEXT_MAX = 16 * 1024
STORE_WAITS_S = (0.1, 0.4, 1.5, 3.0)
"""Between the tries to reach the store, before it is a store error."""
_MESSAGE_MAX = 2**31 - 1


class SetupError(Exception):
    """(type, text, traceback) of what keeps the slot from starting."""


def failure(cause: str, error: BaseException) -> list[str]:
    """An exception as data: cause, type, text, traceback of the user's frames."""
    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        text = str(error)
    except BaseException:
        text = "<its str() raised>"
    try:
        frames = traceback.TracebackException.from_exception(error)
        users = itertools.dropwhile(lambda frame: frame.filename.startswith(_PACKAGE), frames.stack)
        frames.stack = traceback.StackSummary.from_list(list(users) or list(frames.stack))
        trace = "".join(frames.format())
    except BaseException:  # notes, causes and the like are user code too
        trace = ""
    parts = (cause, name[:200], text[:TEXT_MAX], trace[-TEXT_MAX:])
    # lone surrogates (of file names that are not UTF-8) cannot travel
    return [part.encode("utf-8", "backslashreplace").decode() for part in parts]


def load_workers(names: list[str]) -> dict[str, Any]:
    """The classes named in `__all__` of the modules. Raises SetupError."""
    workers: dict[str, Any] = {}
    for name in names:
        try:
            module = importlib.import_module(name)
        except BaseException as error:
            data = failure("import", error)
            raise SetupError(
                data[1], f"The workers module {name!r} cannot be imported: {data[2]}", data[3]
            ) from None
        listed = getattr(module, "__all__", None)
        if listed is None:
            raise SetupError(
                "AttributeError",
                f"The workers module {name!r} ({getattr(module, '__file__', '?')}) lacks __all__. "
                "List its workers there: __all__ = ['MyWorker'].",
                "",
            )
        if type(listed) not in (list, tuple) or not all(type(n) is str for n in listed):
            raise SetupError("TypeError", f"__all__ of {name} is no list of names.", "")
        for worker in listed:
            found = getattr(module, worker, None)
            if not callable(getattr(found, "process", None)):
                raise SetupError(
                    "TypeError",
                    f"{name}.{worker} stands in __all__ but is no worker: a worker is a class "
                    "with a process(self, data) method.",
                    "",
                )
            if worker in workers and workers[worker] is not found:
                raise SetupError("ValueError", f"Two modules offer a worker {worker!r}.", "")
            workers[worker] = found
    return workers


def declarations_of(workers: dict[str, Any]) -> list[bytes]:
    """What the classes say of their jobs. Raises SetupError."""
    if not workers:
        return []
    from pypelinin.runtime.declarations import declared

    try:
        return declared(workers)
    except DefinitionError as error:
        raise SetupError("DefinitionError", str(error), "") from None


def load_store(spec: Any) -> Any:
    """The StoreClass: "module:Class", or a pickled class of a script. Raises SetupError."""
    if not spec:
        return None
    try:
        if isinstance(spec, bytes):
            return unpack_value(spec)
        module, _, name = spec.partition(":")
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        return found
    except BaseException as error:
        data = failure("import", error)
        shown = spec if isinstance(spec, str) else "of the script"
        raise SetupError(
            data[1], f"The store {shown} cannot be loaded: {data[2]}", data[3]
        ) from None


def end_fork(error: BaseException | None) -> NoReturn:
    """The end of a child that a job forked and that comes back as if it were the slot."""
    code = 0
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        traceback.print_exception(error)
        code = 1
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code & 0xFF)


class Slot:
    """The child's side of a slot's socket and token pipe."""

    def __init__(self, link: socket.socket, tokens: int, witness: Witness | None = None) -> None:
        self.link = link
        self.tokens = tokens
        self.witness = witness
        self.workers: dict[str, Any] = {}
        self.declared: list[bytes] = []
        self.store_class: Any = None
        self.store: Any = None
        self.configuration: dict[str, Any] = {}
        self.runs: dict[int, tuple[str, bytes]] = {}
        self.calls = calls.Calls()
        self.values = Values(NO_PLACE)
        self.inline_max = INLINE_BYTES_MAX
        self.directory = Directory(moves=tokens >= 0)
        self._pid = os.getpid()
        self._token: int | None = None
        self._pack = msgpack.Packer(use_bin_type=True).pack

    def serve(self) -> None:
        """Until the Broker's end is closed."""
        unpacker = msgpack.Unpacker(
            raw=False, max_buffer_size=_MESSAGE_MAX, strict_map_key=False, use_list=True
        )
        buffer = memoryview(bytearray(1 << 18))
        poller = select.poll()
        poller.register(self.link, select.POLLIN)
        while True:
            poller.poll()
            count = self.link.recv_into(buffer)
            if not count:
                return
            unpacker.feed(buffer[:count])
            for message in unpacker:
                kind = message.pop(0)
                if kind == "lot":
                    self.run_lot(*message)
                elif kind == "setup":
                    self.send(self.set_up(*message))
                elif kind == "monitoring":
                    self.send(["monitored", self.save_monitoring(message[0])])

    def send(self, message: object) -> None:
        self.link.sendall(self._pack(message))

    def set_up(
        self,
        path: list[str],
        modules: list[str],
        store: Any,
        configuration: dict[str, Any],
        values: Sequence[Any] = ("", "", 0, False, "", ""),
        cores: int = 1,
        devices: Mapping[str, Sequence[int]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> list[Any]:
        """Import what the user gave; returns ["started", worker names, failure or None].

        The jobs have so many *cores*, and of each resource in *devices* these.
        """
        os.environ.update(environment or {})
        context.granted(cores, devices or {})
        place, (host, access) = values[:5], [*values[5:], "", ""][:2]
        self.values = Values(ValuePlace(*place), host, access)
        os.environ.pop("PYPELININ_ACCESS", None)  # its Broker's, and no job's
        sys.path[:] = path + [entry for entry in sys.path if entry not in path]
        self.configuration = configuration
        try:
            self.workers = load_workers(modules)
            self.declared = declarations_of(self.workers)
            self.store_class = load_store(store)
        except SetupError as error:
            kind, text, trace = error.args
            return ["started", [], ["import", kind, text, trace], []]
        if (failed := self.make_store()) is not None:
            failed[2] = (
                f"{getattr(self.store_class, '__name__', 'The store')}() raised: {failed[2]}"
            )
            return ["started", [], failed, []]
        own = call_worker("{}.{}".format(*sys.version_info))
        return ["started", [*sorted(self.workers), own, SHELL], None, self.declared]

    def make_store(self) -> list[str] | None:
        if self.store is None and self.store_class is not None:
            try:
                self.store = self.store_class(**self.configuration)
            except BaseException as error:
                return failure("store", error)
        return None

    def save_monitoring(self, data: Any) -> list[str] | None:
        """Returns why it failed, or None (also if the store does not want it)."""
        save = getattr(self.store, "save_monitoring", None)
        if save is not None:
            try:
                save(data)
            except BaseException as error:
                return failure("store", error)
        return None

    def run_lot(
        self,
        tag: int,
        fence: int,
        skip: int,
        worker: str,
        runs: bytes,
        jobs: bytes,
        payloads: bytes,
        headers: dict[int, list[Any]],
        forget: list[int],
        follows: bytes,
        inline_max: int = INLINE_BYTES_MAX,
    ) -> None:
        """Run the jobs one after the other, as long as there are tokens for them.

        Where *follows* is 1, only if the job before is done; if not, its outcome is None.
        """
        self.inline_max = inline_max
        for number in forget:
            self.runs.pop(number, None)
        for number, (run, payload) in headers.items():
            self.runs[number] = (run, payload)
        numbers, indices = array("I", runs), array("I", jobs)
        own: Iterator[Any] = iter(())
        if payloads:
            unpacker = msgpack.Unpacker(raw=False, max_buffer_size=_MESSAGE_MAX)
            unpacker.feed(payloads)
            for _ in range(skip):
                unpacker.skip()
            own = iter(unpacker)
        clock, send, pack = time.perf_counter, self.link.sendall, self._pack
        run_job = self._way_of(worker)
        done, quick_s = True, QUICK_S
        marks = [] if self.witness is None else self.witness.begin()
        for i, number in enumerate(numbers):
            if not self.take_token(tag):
                return
            payload = next(own, None)
            if not done and follows and follows[i]:
                send(pack(None))
                continue
            begin = clock()
            ended = run_job(worker, number, indices[i], fence + i, payload)
            elapsed = clock() - begin
            done = type(ended) is bytes
            if marks or elapsed > quick_s or not done:
                note = self._note(i, elapsed, not done)
            else:
                note = b""
            if done:
                send(note + pack([elapsed, ended] if ended else elapsed))
            else:
                send(note + pack([elapsed, *ended]))

    def _way_of(self, worker: str) -> Callable[[str, int, int, int, list[Any] | None], Ended]:
        """How jobs of *worker* are run."""
        if worker.startswith("call:"):
            return self.run_call
        return self.run_shell if worker == SHELL else self.run_job

    def _note(self, position: int, elapsed: float, failed: bool) -> bytes:
        """What the job that has just ended printed and used, if that is worth a word."""
        found = None if self.witness is None else self.witness.note(position, elapsed, failed)
        return b"" if found is None else bytes(self._pack(found))

    def take_token(self, tag: int) -> bool:
        """One byte a job: whoever of Broker and slot reads it decides about the job."""
        if self._token is None:
            try:
                data = os.read(self.tokens, 1)
            except BlockingIOError:
                return False
            if not data:
                os._exit(0)  # the Broker is gone
            self._token = data[0]
        if self._token != tag:
            return False  # it belongs to the next lot: the rest of this one was recalled
        self._token = None
        return True

    def run_call(
        self, worker: str, number: int, job: int, fence: int, own: list[Any] | None
    ) -> Ended:
        """One attempt to call a function."""
        try:
            assert own is not None
            run, header = self.runs[number]
            self.directory.enter(number, header)
            context.begin()
            pieces = self.calls.run(worker.partition("/")[2], header, own, self.values.open)
            growth = self.growth(run, job, fence)
        except BaseException as error:
            if os.getpid() != self._pid:
                end_fork(error)
            cause = "value" if isinstance(error, ValueLost) else "exception"
            return [*failure(cause, error), pack_error(error)]
        if os.getpid() != self._pid:
            end_fork(None)
        return with_growth(self.kept(pieces, run, job, fence), growth)

    def growth(self, run: str, job: int, fence: int) -> bytes:
        """What the job that has just ended adds to its run; empty if nothing."""
        grown = context.end()
        if grown is None:
            return b""
        from pypelinin.growth import pack_growth
        from pypelinin.runtime.functions import Functions

        keep = partial(self.values.keep_all, f"{run}/growth-{fence:x}")
        return pack_growth(*grown, str(job), pack_value, Functions(), keep)[0]

    def kept(self, pieces: list[Piece], run: str, job: int, fence: int) -> Ended:
        """The result of an attempt: in itself, or where it is kept."""
        try:
            return self.values.keep(f"{run}/{job}-{fence:x}", pieces, self.inline_max)
        except (OSError, PypelininError) as error:
            failed = failure("value", error)
            failed[2] = f"its result of {size_of(pieces):,} bytes cannot be kept: {failed[2]}"
            return [*failed, b""]

    def run_shell(
        self, _worker: str, number: int, job: int, fence: int, own: list[Any] | None
    ) -> Ended:
        """One attempt to run a command."""
        try:
            assert own is not None
            self.directory.enter(number, self.runs[number][1])
            pieces = calls.run_command(unpack_value(self.values.open(own[1])))
        except BaseException as error:
            return [*failure("exception", error), pack_error(error)]
        return self.kept(pieces, self.runs[number][0], job, fence)

    def run_job(
        self, worker: str, number: int, job: int, fence: int, own: list[Any] | None
    ) -> Ended:
        """One attempt with a worker and the store."""
        step = "retrieve"
        try:
            run, payload = self.runs[number]
            self.directory.leave()
            name, data = own[:2] if own is not None else (None, None)
            found = self.workers[worker]
            if self.store is None and (failed := self.make_store()) is not None:
                return [*failed, b""]
            info = {
                "worker": worker,
                "worker_requires": getattr(found, "requires", ()),
                "data": unpack_value(payload if data is None else self.values.open(data)),
                "job": name or worker,
                "job_number": job,
                "pipeline": run,
                "attempt": fence_attempt(fence),
                "fence": fence,
            }
            given = info["data"] if self.store is None else retrieve(self.store, info)
            step = "process"
            context.begin()
            info["worker_result"] = found().process(given)
            growth = self.growth(run, job, fence)
            if os.getpid() != self._pid:
                end_fork(None)
            step = "save"
            if self.store is not None:
                save(self.store, info)
        except BaseException as error:
            if os.getpid() != self._pid:
                end_fork(error)
            if step == "process" or self.store is None:
                return [*failure("exception", error), b""]
            failed = failure("store", error)
            failed[2] = f"{type(self.store).__name__}.{step}() raised: {failed[2]}"
            return [*failed, b""]
        return with_growth(b"", growth)


def save(store: Any, info: dict[str, Any]) -> None:
    """Give the result to the store; one that is down for a moment is asked again.

    The job is not done before that, and the fence is the same: nothing is computed twice.
    What is wrong with the value itself is so every time.
    """
    for wait_s in STORE_WAITS_S:
        try:
            store.save(info)
            return
        except (ValueError, TypeError, LookupError, AttributeError, AssertionError):
            raise
        except Exception:
            time.sleep(wait_s)
    store.save(info)


def retrieve(store: Any, info: dict[str, Any]) -> Any:
    """What the job gets, from a store that may be unreachable for a moment."""
    for wait_s in STORE_WAITS_S:
        try:
            return store.retrieve(info)
        except (ConnectionError, TimeoutError):
            time.sleep(wait_s)
    return store.retrieve(info)


def with_growth(ended: Ended, growth: bytes) -> Ended:
    """The result of a job that adds jobs says so, if it did not fail after all."""
    if not growth or type(ended) is not bytes:
        return ended
    return GROWN + bytes(msgpack.packb([ended, growth], use_bin_type=True))


def main(link: socket.socket, tokens: int, *streams: int) -> None:
    """The slot's life; ends with the process. Jobs print to *streams*, if there are some."""
    status = 0
    try:
        Slot(link, tokens, Witness(*streams) if streams else None).serve()
    except (ConnectionError, KeyboardInterrupt):
        pass  # the Broker closed its end in the middle of something
    except BaseException:
        traceback.print_exc()
        status = 70
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
