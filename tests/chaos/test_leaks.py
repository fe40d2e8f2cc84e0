"""Many jobs, runs and slots that come and go: what daemons hold does not grow with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.churn import BYTES_PER_10_000, churn

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

JOBS = 5_000


def test_nothing_grows_with_the_number_of_jobs(tmp_path: Path) -> None:
    """The same number of jobs twice, with slots killed in between; the second time is judged."""
    found = churn(tmp_path, JOBS, rounds=2)
    assert set(found.files.values()) == {0}, found
    assert set(found.threads.values()) == {0}, found
    assert found.left == [], found
    for name, grown_bytes in found.grown_bytes.items():
        assert grown_bytes < BYTES_PER_10_000, (name, found)
