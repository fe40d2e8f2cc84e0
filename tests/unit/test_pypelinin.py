"""The entrance: public names, imported when they are first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pypelinin


def test_every_public_name_is_there() -> None:
    for name in pypelinin.__all__:
        assert getattr(pypelinin, name) is not None
    assert set(dir(pypelinin)) == set(pypelinin.__all__)


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Brokr'"):
        _ = pypelinin.Brokr


def test_the_import_loads_nothing_heavy() -> None:
    code = "import sys, pypelinin; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()
    assert not {"zmq", "msgpack", "psutil", "sqlite3", "click", "asyncio"} & set(loaded)
