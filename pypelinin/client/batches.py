"""Calls of an executor as runs: what is submitted together, and how each future ends."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from functools import lru_cache
from typing import Any, NamedTuple

from pypelinin.client.results import Outcome, error_of
from pypelinin.graph import states
from pypelinin.graph.needs import UNSAID, Needs
from pypelinin.runtime.directories import working_directory
from pypelinin.runtime.functions import Functions
from pypelinin.runtime.value_store import Values
from pypelinin.runtime.values import Piece, pack_header, unpack_value
from pypelinin.wire.codec import pack_plain, pack_record, pack_shared
from pypelinin.wire.definitions import Details, Header, Kind, Structure, call_worker, terms_of


class Options(NamedTuple):
    """What the jobs of an executor ask for; see Job."""

    labels: Mapping[str, str] = {}
    retries: int = 0
    priority: int = 0
    needs: Needs = UNSAID


class Call(NamedTuple):
    future: JobFuture
    function: str
    packed_function: bytes
    payload: Sequence[Piece]
    options: Options


class JobFuture(Future[Any]):
    """A Future whose `cancel` also ends a job that runs already."""

    _on_cancel: Callable[[JobFuture], None] | None = None
    place: tuple[str, int] | None = None
    """(run, job), once it is submitted."""

    def cancel(self) -> bool:
        """Cancel it, running or not; False if it has ended."""
        if not super().cancel():
            return False
        if self._on_cancel is not None:
            self._on_cancel(self)
        return True


def resolve(run: str, job: int, future: Future[Any], outcome: Outcome, values: Values) -> None:
    """Give *future* what came of its job."""
    if not future.set_running_or_notify_cancel():
        return
    if outcome.status == states.DONE:
        try:
            packed = values.open(outcome.result)
            future.set_result(unpack_value(packed) if packed else None)
        except BaseException as broken:  # opening a result is user code
            future.set_exception(broken)
        return
    if outcome.status == states.CANCELLED:
        future.set_exception(CancelledError())
        return
    error = error_of(run, f"call {job}", outcome)
    assert error is not None
    future.set_exception(error.exception or error)


def compiled(
    run: str, submitter: str, batch: Sequence[Call], sent: Sequence[bytes]
) -> tuple[bytes, tuple[bytes, bytes]]:
    """(header, (structure, details)) of a run of calls that wait for nothing.

    *sent* is what travels of the arguments of each.
    """
    kinds: dict[tuple[str, int], int] = {}
    listed: list[Kind] = []
    functions: dict[str, bytes] = {}
    kind_of, ends = array("I"), array("I")
    payloads: list[bytes] = []
    size = 0
    for call, arguments in zip(batch, sent, strict=True):
        key = (call.function, id(call.options))
        if key not in kinds:
            kinds[key] = len(listed)
            worker = call_worker(Functions.version, call.function)
            options = call.options
            labels, terms = dict(options.labels), terms_of(options.needs)
            listed.append(Kind(worker, labels, options.retries, options.priority, *terms))
            functions[call.function] = call.packed_function
        kind_of.append(kinds[key])
        payloads.append(pack_plain([None, arguments]))
        size += len(payloads[-1])
        ends.append(size)
    joined = b"".join(payloads)
    fingerprint = run.encode()  # a batch is nobody's repetition
    payload = _header_payload(tuple(functions.items()), working_directory())
    header = Header(run, fingerprint, submitter, len(batch), tuple(listed), payload, {})
    details = Details(0, kind_of if len(listed) > 1 else array("I"), ends, joined)
    return pack_shared(header), (_edgeless(len(batch)), pack_shared(details))


@lru_cache(maxsize=64)
def _header_payload(functions: tuple[tuple[str, bytes], ...], place: str) -> bytes:
    """What each slot has to know of a run: its functions, and where its client is."""
    return pack_header(b"m\xc0", dict(functions), place)


@lru_cache(maxsize=64)
def _edgeless(jobs: int) -> bytes:
    """So many jobs that wait for nothing."""
    return pack_record(Structure(0, array("I", bytes(4 * (jobs + 1))), array("I")))
