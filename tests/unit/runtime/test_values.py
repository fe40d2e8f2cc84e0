from __future__ import annotations

import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from threading import Lock
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypelinin.errors import DefinitionError, NotPicklable
from pypelinin.runtime.values import check_plain, pack_value, unpack_value

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_values_need_no_pickle(value: Any) -> None:
    data = pack_value("it", value)
    assert data[:1] == b"m"
    assert unpack_value(data) == value


class Colour(IntEnum):
    RED = 1


class Text(str):
    pass


@pytest.mark.parametrize(
    "value",
    [
        (1, 2), {3}, {1: 2}, 2**63, -(2**63) - 1, 1j, Colour.RED, Text("x"), "\udcff", [("a",)],
        {"a": (1,)}, bytearray(b"x"), {Text("k"): 1},
    ],
)  # fmt: skip
def test_all_others_come_back_as_what_they_were(value: Any) -> None:
    data = pack_value("it", value)
    assert data[:1] == b"p"
    found = unpack_value(data)
    assert found == value
    assert type(found) is type(value)


def test_true_is_no_one() -> None:
    assert unpack_value(pack_value("it", [True, 1, 1.0])) == [True, 1, 1.0]
    assert [type(x) for x in unpack_value(pack_value("it", [True, 1, 1.0]))] == [bool, int, float]


def test_deep_nesting_is_pickled_or_refused() -> None:
    value: Any = "bottom"
    for _ in range(100):
        value = [value]
    assert unpack_value(pack_value("it", value)) == value
    for _ in range(100_000):
        value = [value]
    with pytest.raises(NotPicklable, match=r"it cannot be sent: .*recursion"):
        pack_value("it", value)
    while value != "bottom":  # or freeing it would recurse as well
        value = value[0]


def test_what_cannot_be_packed_is_named() -> None:
    with pytest.raises(NotPicklable, match=r"the data of Job\('A'\) cannot be sent: TypeError"):
        pack_value("the data of Job('A')", {"lock": Lock()})


@pytest.mark.parametrize("value", [Path("x"), {1: 2}, {"a": {3}}, 2**64, "\udcff", [object()]])
def test_what_only_python_could_read_is_refused(value: Any) -> None:
    with pytest.raises(DefinitionError, match=r"^config is no plain data: .* Use None, bool"):
        check_plain("config", value)
    check_plain("config", {"a": [1, 2.5, None, True, b"x", "y", (1, 2)]})


def test_a_function_travels_by_value() -> None:
    factor = 3

    def times(x: int) -> int:
        return factor * x

    assert unpack_value(pack_value("it", times))(4) == 12


def test_plain_values_do_not_load_cloudpickle() -> None:
    script = (
        "import sys; from pypelinin.runtime.values import pack_value, unpack_value\n"
        "unpack_value(pack_value('it', {'a': [1]}))\n"
        "assert 'cloudpickle' not in sys.modules and 'pickle' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
