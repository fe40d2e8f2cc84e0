"""The package's names are there without importing all of it at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pypelinin import testing
from pypelinin.testing.sim import ClusterSim


def test_every_public_name_is_there() -> None:
    for name in testing.__all__:
        assert getattr(testing, name).__name__ == name
    assert testing.ClusterSim is ClusterSim


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        testing.Nothing


def test_a_module_of_it_can_be_run_without_a_warning() -> None:
    command = [sys.executable, "-W", "error", "-m", "pypelinin.testing.sim", "--seeds", "1"]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert run.returncode == 0, run.stderr
    assert "1 seeds in" in run.stdout
