"""The names of `pypelinin.streams`: there when they are asked for, and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pypelinin import streams


@pytest.mark.parametrize("name", streams.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(streams, name).__name__ == name
    assert name in dir(streams)


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match=r"'pypelinin\.streams' has no attribute 'Wrok'"):
        _ = streams.Wrok


def test_the_package_itself_imports_nothing() -> None:
    code = (
        "import pypelinin.streams, sys\n"
        "print(sorted(name for name in sys.modules if name.startswith('pypelinin.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['pypelinin.streams']"
