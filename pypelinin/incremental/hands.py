"""Where jobs of a run are carried out: slots of this node, a cluster, or an engine.

`submit` takes jobs by their number, `wait` tells how they ended. Embedded, slots are forked from
this process, so they have all jobs and all loaded data that there is at that moment. Far from
here jobs are read from a file in the project's directory, which all nodes share, and data is
loaded where it is read.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future
from typing import Any

from pypelinin.client.batches import Call, JobFuture, Options, compiled, resolve
from pypelinin.client.conversation import Conversation
from pypelinin.config import Limits
from pypelinin.errors import Impossible
from pypelinin.graph.needs import ALL_CORES, WHOLE_NODE, Needs
from pypelinin.ids import new_id
from pypelinin.incremental import inside
from pypelinin.incremental.enums import Resources
from pypelinin.incremental.exceptions import JobDied, JobError
from pypelinin.incremental.handing import Ended, HandOut
from pypelinin.local import LocalPort
from pypelinin.runtime.functions import Functions, pack_call
from pypelinin.runtime.nurseries import SESSION_VARIABLE, fork_nursery
from pypelinin.runtime.values import Piece
from pypelinin.wire.definitions import Failure

CORES = {
    Resources.SingleCore: 1, Resources.RunsHere: 1,
    Resources.AllCores: ALL_CORES, Resources.Exclusive: WHOLE_NODE,
}  # fmt: skip

RUNS_KEPT = 100


class Hands:
    """What all ways share: runs of the cluster's protocol, each a batch of jobs."""

    loads_here = False
    """Whether what jobs read has to be loaded in this process."""
    api = ""
    """Of the cluster that goes on with jobs when this process dies."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._functions = Functions()
        self._options: dict[tuple[Resources | Needs, str], Options] = {}
        self._runs: dict[str, dict[int, int]] = {}
        """By run, the number of each of its jobs."""
        self._places: dict[int, tuple[str, int]] = {}
        self._told: list[str] = []

    @property
    def busy(self) -> int:
        return len(self._places)

    def renew(self) -> None:
        """There are more jobs, or more is loaded, than there was at the last submit."""
        raise NotImplementedError  # local and far ones differ

    def call_of(self, one: HandOut) -> tuple[Any, Sequence[Piece], str]:
        """(function, packed arguments, session) for a one."""
        raise NotImplementedError  # local and far ones differ

    def new_run(self) -> str:
        """The id that the next batch will have, so that it can be written down before."""
        return new_id(os.urandom)

    def submit(self, run: str, hand_outs: Sequence[HandOut]) -> None:
        """Begin these, as the run of that id."""
        batch: list[Call] = []
        for one in hand_outs:
            function, payload, session = self.call_of(one)
            name, packed = self._functions.function(function)
            options = self._options_of(one.resources, session)
            batch.append(Call(JobFuture(), name, packed, payload, options))
        sent = [b"".join(call.payload) for call in batch]
        header, part = compiled(run, self._conversation.submitter, batch, sent)
        self._runs[run] = {}
        for place, one in enumerate(hand_outs):
            self._runs[run][place] = one.number
            self._places[one.number] = (run, place)
        self._conversation.submit_compiled(run, header, [part])

    def _options_of(self, resources: Resources | Needs, session: str) -> Options:
        key = (resources, session)
        if key not in self._options:
            env = ((SESSION_VARIABLE, session),) if session else None
            needs = Needs(CORES[resources]) if isinstance(resources, Resources) else resources
            self._options[key] = Options(needs=needs._replace(env=env))
        return self._options[key]

    def wait(self, timeout_s: float) -> Iterator[Ended]:
        """What ended; sleeps at most so long for something to happen. Raises ClusterError."""
        self._conversation.converse(timeout_s)
        while self._conversation.refused:
            run, error = self._conversation.refused.popitem()
            for number in self._runs.pop(run, {}).values():
                del self._places[number]
                yield Ended(number, None, _refused(inside.jobs[number], error))
        for run, outcomes in self._conversation.take_outcomes():
            numbers = self._runs.get(run, {})
            for place, outcome in outcomes.items():
                if place not in numbers:
                    continue
                number = numbers.pop(place)
                del self._places[number]
                future: Future[Any] = Future()
                resolve(run, place, future, outcome, self._conversation.values)
                yield ended(number, future, outcome.failure)
            if not numbers and run in self._runs:
                del self._runs[run]
                self._over(run)

    def _over(self, run: str) -> None:
        """All of a batch has ended, and was told."""
        self._conversation.forget(run)
        self._told.append(run)

    def settled(self) -> None:
        """What `wait` told is durable: nobody will ask for it again."""
        told, self._told = self._told, []
        self._conversation.release_results(told)

    def wake(self) -> None:
        """From a signal handler or another thread: end the `wait` that sleeps."""
        self._conversation.wake()

    def cancel(self, numbers: Sequence[int]) -> None:
        """End these, running or not; how they ended comes with `wait`."""
        jobs: dict[str, list[int]] = {}
        for number in numbers:
            if number in self._places:
                run, place = self._places[number]
                jobs.setdefault(run, []).append(place)
        for run, places in jobs.items():
            self._conversation.cancel_jobs(run, places)

    def close(self) -> None:
        """Let go; embedded, all that still runs ends."""
        self._conversation.close()


def ended(number: int, future: Future[Any], failure: Failure | None) -> Ended:
    """How a job ended, told from the future of its call."""
    try:
        error = future.exception(0)
    except CancelledError as cancelled:
        return Ended(number, None, cancelled)
    if error is None:
        return Ended(number, future.result(0), None)
    if failure is not None and not isinstance(error, JobError):  # its process died
        error = JobError(JobDied(failure.text, None, _code_of(failure)))
    return Ended(number, None, error)


def _refused(job: Any, error: BaseException) -> BaseException:
    """To the cluster a job has no name, and there are no options that could be advised."""
    if not isinstance(error, Impossible):
        return error
    _, _, facts = error.what.partition(": ")
    return Impossible(
        f"No node could ever run {job!r}: {facts}", remedy="Ask for less, or start a larger Broker."
    )


def _code_of(failure: Failure) -> int:
    """The exit code of a slot, below 0 for a signal."""
    if failure.cause == "signal":
        return -getattr(signal, failure.type, 0)
    found = re.search(r"exited with code (\d+)", failure.text)
    return int(found[1]) if found else 1


class LocalHands(Hands):
    """Embedded: slots are forked from this process."""

    loads_here = True

    def __init__(self, cores: int) -> None:
        limits = Limits(history_runs_max=RUNS_KEPT, crashes_max=1)  # a job that dies has failed
        port = LocalPort(cores, limits=limits, sessions=lambda _name, kept: fork_nursery(kept))
        super().__init__(Conversation(port=port, limits=port.limits))
        self._session = 0

    def renew(self) -> None:
        self._session += 1

    def call_of(self, one: HandOut) -> tuple[Any, Sequence[Piece], str]:
        payload = pack_call("A job", (one.number, one.alone or bool(one.loaders)), {}, {})
        return inside.perform, payload, str(self._session)


class FarHands(Hands):
    """On a cluster, or an engine: what there is to do stands in a *pack* in *directory*."""

    def __init__(self, conversation: Conversation, directory: str, api: str = "") -> None:
        super().__init__(conversation)
        self._directory = directory
        self.api = api
        self._packs: list[str] = []

    def renew(self) -> None:
        """Write all jobs into a new pack. Raises NotPicklable, OSError."""
        import cloudpickle

        self._functions.function(inside.perform_far)  # it marks the modules that travel as code
        path = os.path.join(self._directory, f"jobs-{new_id(os.urandom)[:16]}.pack")
        content = (os.getcwd(), [entry or os.getcwd() for entry in sys.path], inside.jobs)
        with open(path, "xb") as file:
            cloudpickle.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        self._packs.append(path)

    def call_of(self, one: HandOut) -> tuple[Any, Sequence[Piece], str]:
        pack = self._packs[-1]
        payload = pack_call("A job", (pack, one.number, list(one.loaders), one.alone), {}, {})
        if not one.loaders or not self.api:  # in an engine who reads it loads it
            return inside.perform_far, payload, ""
        loaders = [(number, inputs) for number, inputs, _ in one.loaders]
        return inside.perform_far, payload, inside.session_name(pack, loaders)

    def close(self) -> None:
        super().close()
        for path in self._packs:  # sessions end when their pack is gone
            os.unlink(path)


def hands_for(cores: int, directory: str, on: str | None, engine: Executor | None) -> Hands:
    """Where the jobs of a run go. Raises ClusterError, DefinitionError."""
    if engine is not None:
        port = LocalPort(engine=engine, limits=Limits(history_runs_max=RUNS_KEPT))
        return FarHands(Conversation(port=port, limits=port.limits), directory)
    if on:
        conversation = Conversation(on)
        conversation.configuration()
        return FarHands(conversation, directory, on)
    return LocalHands(cores)
