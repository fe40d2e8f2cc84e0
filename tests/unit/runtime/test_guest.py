"""A slot in another engine's worker."""

from __future__ import annotations

from array import array
from typing import Any

import msgpack
import pytest

from pypelinin.graph import states
from pypelinin.runtime.functions import Functions
from pypelinin.runtime.guest import INLINE, PYTHON, perform
from pypelinin.runtime.outcomes import Outcomes
from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.wire.definitions import call_worker

SETUP: list[Any] = [[], ["tests.integration.jobs"], "", {}, ["", "", 0, False, ""]]


def outcomes_of(written: bytes) -> Outcomes:
    found = Outcomes("node")
    unpacker = msgpack.Unpacker(raw=False)
    unpacker.feed(written)
    for outcome in unpacker:
        found.take(outcome)
    return found


def lot(worker: str, header: bytes, *payloads: object) -> list[Any]:
    count = len(payloads)
    jobs = array("I", range(count)).tobytes()
    packed = b"".join(msgpack.packb(payload, use_bin_type=True) for payload in payloads)
    headers = {0: ["r" * 32, header]}
    return [
        0,
        1 << 40,
        0,
        worker,
        bytes(4 * count),
        jobs,
        packed,
        headers,
        [],
        bytes(count),
        INLINE,
    ]


def test_calls_of_a_function_with_results_of_any_size() -> None:
    functions = Functions()
    digest, packed = functions.function(lambda size: b"x" * size)
    header = functions.header(b"m\xc0", {digest: packed})
    own = [[None, b"m" + msgpack.packb([[size], {}])] for size in (1, 300_000)]
    written = perform(PYTHON, b"key", SETUP, lot(call_worker(PYTHON, digest), header, *own))
    found = outcomes_of(written)
    assert list(found.statuses) == [states.DONE, states.DONE]
    assert [len(unpack_value(result)) for result in found.results.values()] == [1, 300_000]


def test_named_workers() -> None:
    written = perform(PYTHON, b"key", SETUP, lot("Noop", pack_value("it", None), None, None))
    assert list(outcomes_of(written).statuses) == [states.DONE, states.DONE]


def test_another_python_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"Python 3.*come from 2\.7"):
        perform("2.7", b"key", SETUP, lot("Noop", b"m\xc0", None))


def test_workers_that_cannot_be_imported() -> None:
    setup = [[], ["no_such_module"], "", {}, ["", "", 0, False, ""]]
    with pytest.raises(RuntimeError, match="no_such_module"):
        perform(PYTHON, b"other", setup, lot("Noop", b"m\xc0", None))
