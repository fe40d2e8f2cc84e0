"""Functions and arguments on their way out: as they are, or refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin import Job, LocalRunner, Pipeline
from pypelinin.errors import DefinitionError, NotPicklable, VersionMismatch
from pypelinin.runtime import functions as module
from pypelinin.runtime.calls import unpack_call, unpack_function
from pypelinin.runtime.functions import Functions, pack_call
from pypelinin.runtime.values import unpack_value

LOCK = threading.Lock()


def uses_a_global() -> bool:
    return LOCK.locked()


def line_of(function: Any, below: int) -> str:
    return f"test_functions.py:{function.__code__.co_firstlineno + below}:"


def refused(function: Any) -> str:
    with pytest.raises(NotPicklable) as caught:
        Functions().function(function)
    return str(caught.value)


# --- functions --------------------------------------------------------------------------------


def test_a_function_comes_out_of_the_header_as_it_was() -> None:
    factor = {"by": 3}
    functions = Functions()
    times, name = functions.function(lambda x: x * factor["by"]), functions.function(json.dumps)
    header = functions.header(b"m\x07", dict([times, name]))
    assert unpack_function(header, times[0])(5) == 15
    assert unpack_function(header, name[0]) is json.dumps
    assert unpack_value(header) == 7, "the pipeline's data is still there"


def test_a_function_is_packed_once() -> None:
    functions = Functions()
    assert functions.function(uses_nothing)[1] is functions.function(uses_nothing)[1]


def uses_nothing() -> int:
    return 1


def test_equal_content_has_one_digest_and_other_content_another() -> None:
    def made(by: int) -> Any:
        return lambda x: x + by

    digests = [Functions().function(made(by))[0] for by in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_methods_and_partials_and_callable_objects_are_functions() -> None:
    functions = Functions()
    for function in ("10".strip, partial(int, base=2), Adder("1")):
        name, packed = functions.function(function)
        again = unpack_function(functions.header(b"m\xc0", {name: packed}), name)
        assert again("0") == function("0")


class Adder:
    def __init__(self, by: Any) -> None:
        self.by = by

    def __call__(self, x: Any) -> Any:
        return self.by + x


async def coroutine() -> None: ...


def generator() -> Iterator[int]:
    yield 1


async def both() -> AsyncIterator[int]:
    yield 1


@pytest.mark.parametrize("function", [coroutine, generator, both])
def test_what_does_not_end_with_its_call_is_refused(function: Any) -> None:
    with pytest.raises(DefinitionError, match="ordinary function"):
        Functions().function(function)


@pytest.mark.parametrize("function", [1, None, b"x", ["ls"]])
def test_what_cannot_be_called_is_refused(function: Any) -> None:
    with pytest.raises(DefinitionError, match="a function or shell"):
        Functions().function(function)


# --- what cannot be sent ----------------------------------------------------------------------


def test_a_closure_that_cannot_be_pickled_is_named_with_its_line() -> None:
    lock = threading.Lock()

    def uses() -> bool:
        fine = 1
        return fine > 0 and lock.locked()

    text = refused(uses)
    assert "uses() cannot be sent: it uses the variable 'lock' of the function around it" in text
    assert line_of(uses, 2) in text


def test_a_global_that_cannot_be_pickled_is_named_with_its_line() -> None:
    text = refused(uses_a_global)
    assert "uses_a_global() cannot be sent: it uses the global variable 'LOCK' (lock)" in text
    assert line_of(uses_a_global, 1) in text


def test_a_default_argument_that_cannot_be_pickled_is_named() -> None:
    def uses(lock: Any = threading.Lock()) -> bool:  # noqa: B008 - wrong on purpose
        return bool(lock.locked())

    text = refused(uses)
    assert "it uses a default argument (lock)" in text
    assert line_of(uses, 0) in text


def test_what_has_no_code_is_named_all_the_same() -> None:
    assert "lock" in refused(partial(bool, LOCK))
    assert "Adder" in refused(Adder(threading.Lock()))


def test_a_function_that_takes_too_much_with_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FUNCTION_BYTES_MAX", 10_000)
    small, table = b"x", b"x" * 20_000
    text = refused(lambda: small + table)
    assert "at most 10,000" in text
    assert "The largest is the variable 'table' of the function around it: 20,0" in text


def test_a_function_that_takes_much_with_it_is_warned_of_once() -> None:
    table = b"x" * (module.CAPTURED_WARN_BYTES + 1)
    functions = Functions()

    def uses() -> bytes:
        return table

    with pytest.warns(UserWarning, match=r"takes 1,0.* The largest is the variable 'table'"):
        functions.function(uses)
    functions.function(uses)


# --- modules ----------------------------------------------------------------------------------


def test_a_module_of_the_project_travels_as_code_and_an_installed_one_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_the_project.py").write_text(
        "import json\ndef text(x): return json.dumps(inner(x))\ndef inner(x): return [x]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    import of_the_project  # type: ignore[import-not-found]  # made above

    _, packed = Functions().function(of_the_project.text)
    script = "import pickle, sys; print(pickle.load(sys.stdin.buffer)(7), 'json' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], input=packed, capture_output=True, check=True, cwd="/"
    )
    assert found.stdout == b"[7] True\n"
    monkeypatch.delitem(sys.modules, "of_the_project")


def test_functions_of_another_python_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    own = "{}.{}".format(*sys.version_info)
    with LocalRunner(1) as runner:
        runner.run(Pipeline([Job(uses_nothing)]), timeout=20)  # its node is known from now on
        monkeypatch.setattr(Functions, "version", "2.7")
        with pytest.raises(VersionMismatch, match=rf"Python 2\.7; they have {own}\."):
            runner.start(Pipeline([Job(uses_nothing)]))


# --- arguments --------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.lists(VALUES), st.dictionaries(st.text(), VALUES))
def test_arguments_come_back_as_they_were(args: list[Any], kwargs: dict[str, Any]) -> None:
    packed = pack_call("A call", tuple(args), kwargs, {})
    found_args, found_kwargs = unpack_call(b"".join(packed), ())
    assert list(found_args) == args
    assert found_kwargs == kwargs


def test_plain_arguments_need_no_pickle() -> None:
    assert pack_call("A call", (1, "x"), {"k": [None]}, {})[0] == b"m"
    assert pack_call("A call", ((1,),), {}, {})[0] == b"p"


def test_an_argument_that_cannot_be_sent_is_named() -> None:
    with pytest.raises(NotPicklable, match=r"^<Job f>: argument 1 \(lock\) cannot be sent: "):
        pack_call("<Job f>", (1, LOCK), {}, {})
    with pytest.raises(NotPicklable, match=r"^<Job f>: where \(dict\) cannot be sent: "):
        pack_call("<Job f>", ((1,),), {"x": 1, "where": {"deep": [LOCK]}}, {})


def test_an_argument_beside_a_job_that_cannot_be_sent_is_named() -> None:
    job = Job(uses_nothing)
    with pytest.raises(NotPicklable, match=r"argument 1 \(lock\)"):
        pack_call("A call", (job, LOCK), {}, {job: 0})


def test_a_job_that_nobody_knows_as_an_input_is_no_argument() -> None:
    with pytest.raises(NotPicklable, match=r"argument 0 \(Adder\)"):
        pack_call("A call", (Adder(Job(uses_nothing)),), {}, {})


def test_whatever_pickling_raises_is_told() -> None:
    class Odd:
        def __reduce__(self) -> str:
            raise RuntimeError("not with me")

    with pytest.raises(NotPicklable, match=r"argument 0 \(Odd\) cannot be sent: not with me"):
        pack_call("A call", (Odd(),), {}, {})
