"""200 seeds of a whole cluster under crashes, loss, doubling, pauses and cuts.

By hand: `python -m tests.simulation --seeds 20000`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest

from pypelinin.testing.sim import ClusterSim, run_seeds

SEEDS = 200
CHUNK = 20
SOMETIMES = (
    "adopted lots",
    "cancels",
    "compactions",
    "crashes of a broker",
    "crashes of a client",
    "crashes of a pipeliner",
    "crashes of a router",
    "cuts",
    "doubled messages",
    "drained nodes",
    "executed again",
    "late outcomes dropped",
    "lots with needs",
    "lost messages",
    "memory kills",
    "nodes gone: a new incarnation came",
    "nodes gone: did not come back",
    "nodes gone: silent",
    "paused runs",
    "pauses",
    "recalls",
    "rejoins",
    "resends",
    "retries",
    "returned lots",
    "rows lost in crashes",
    "shared nodes",
    "slot deaths",
    "timeouts",
    "turns on a shared node",
    "undrained nodes",
    "void lots",
)
"""Each rare path must be seen in these seeds, or the simulation has gone tame."""

_seen: Counter[str] = Counter()


@pytest.mark.exhaustive
@pytest.mark.parametrize("start", range(0, SEEDS, CHUNK))
def test_no_promise_is_broken(start: int) -> None:
    _seen.update(run_seeds(start, CHUNK))


@pytest.mark.exhaustive
def test_every_rare_path_was_seen() -> None:
    if _seen["seeds"] < SEEDS:
        pytest.fail("run this after all of test_no_promise_is_broken")
    assert [name for name in SOMETIMES if not _seen[name]] == []


def test_a_seed_is_the_same_story_in_every_process() -> None:
    code = "from pypelinin.testing.sim import ClusterSim; print(ClusterSim(7).run().trace)"
    traces = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert traces == {ClusterSim(7).run().trace}
    assert ClusterSim(8).run().trace not in traces
