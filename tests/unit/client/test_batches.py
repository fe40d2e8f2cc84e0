"""Calls that are submitted together are one run."""

from __future__ import annotations

from concurrent.futures import CancelledError

import pytest

from pypelinin.client.batches import Call, JobFuture, Options, compiled, resolve
from pypelinin.client.results import Outcome
from pypelinin.errors import Failed, ValueLost
from pypelinin.graph import states
from pypelinin.runtime.value_store import Values
from pypelinin.runtime.values import pack_value
from pypelinin.wire.codec import unpack_record
from pypelinin.wire.definitions import NO_PLACE, Details, Failure, Header, Structure

RUN = "r" * 32
PLAIN = Options()
VALUES = Values(NO_PLACE)


def call(function: str = "f", options: Options = PLAIN) -> Call:
    return Call(JobFuture(), function, b"code of " + function.encode(), [b"m"], options)


def parts_of(*calls: Call) -> tuple[Header, Structure, Details]:
    header, (structure, details) = compiled(RUN, "me", calls, [b"m"] * len(calls))
    return (
        unpack_record(Header, header),
        unpack_record(Structure, structure),
        unpack_record(Details, details),
    )


def test_calls_of_a_batch_wait_for_nothing() -> None:
    header, structure, details = parts_of(call(), call(), call())
    assert header.jobs == 3
    assert list(structure.offsets) == [0, 0, 0, 0]
    assert len(structure.upstreams) == 0
    assert details.ends[-1] == len(details.payloads)


def test_each_function_and_each_options_are_a_kind() -> None:
    first = Options(priority=1)
    header, _, details = parts_of(call(), call("g"), call(), call(options=first))
    assert list(details.kind_of) == [0, 1, 0, 2]
    assert [kind.priority for kind in header.kinds] == [0, 0, 1]
    assert header.kinds[0].worker == header.kinds[2].worker != header.kinds[1].worker


def test_a_future_gets_its_result() -> None:
    future = JobFuture()
    resolve(RUN, 0, future, Outcome(states.DONE, pack_value("it", [1, "two"])), VALUES)
    assert future.result(0) == [1, "two"]


def test_no_result_is_none() -> None:
    future = JobFuture()
    resolve(RUN, 0, future, Outcome(states.DONE, b""), VALUES)
    assert future.result(0) is None


def test_a_result_that_is_lost_is_an_error() -> None:
    future = JobFuture()
    resolve(RUN, 0, future, Outcome(states.DONE, b"vnonsense"), Values(NO_PLACE))
    with pytest.raises(Exception, match="keeps none") as caught:
        future.result(0)
    assert not isinstance(caught.value, ValueLost)


def test_a_failure_without_its_exception_is_told_by_name() -> None:
    future = JobFuture()
    failure = Failure("exception", "lib.Odd", "it broke", "", "node")
    resolve(RUN, 4, future, Outcome(states.FAILED, b"", failure), VALUES)
    with pytest.raises(Failed, match=r"'call 4'.*lib.Odd: it broke"):
        future.result(0)


def test_a_failure_with_its_exception_raises_that() -> None:
    future = JobFuture()
    failure = Failure("exception", "KeyError", "'x'", "trace", "node")
    resolve(
        RUN, 4, future, Outcome(states.FAILED, pack_value("it", KeyError("x")), failure), VALUES
    )
    with pytest.raises(KeyError, match="x"):
        future.result(0)


def test_what_the_cluster_cancelled() -> None:
    future = JobFuture()
    resolve(RUN, 0, future, Outcome(states.CANCELLED, b""), VALUES)
    with pytest.raises(CancelledError):
        future.result(0)


def test_what_was_cancelled_here_keeps_that() -> None:
    future = JobFuture()
    future.cancel()
    resolve(RUN, 0, future, Outcome(states.DONE, b""), VALUES)
    assert future.cancelled()
