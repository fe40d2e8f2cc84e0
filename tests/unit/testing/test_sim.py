"""The simulator as a tool: its results, its report of a violation, its command line."""

from __future__ import annotations

import pytest

from pypelinin.testing.bugs import planted
from pypelinin.testing.history import Violation
from pypelinin.testing.sim import ClusterSim, full_digest, main, run_seeds
from tests.playbook.scene import state_with, wide


def test_a_seed_is_one_story() -> None:
    first, second, other = (ClusterSim(seed).run() for seed in (5, 5, 6))
    assert first == second
    assert first.trace != other.trace
    assert first.counters["executions"] > 0


def test_seeds_add_up() -> None:
    said: list[str] = []
    total = run_seeds(0, 2, said.append)
    assert total["seeds"] == 2
    assert [line.split(":")[0] for line in said] == ["seed 0", "seed 1"]


def test_a_violation_names_the_seed_and_what_led_to_it() -> None:
    with planted("epoch not raised"), pytest.raises(Violation) as caught:
        run_seeds(0, 20)
    *story, last = str(caught.value).splitlines()
    assert "Violation: epoch" in last
    assert last.startswith("seed ")
    assert any("router" in line for line in story)


def test_the_command_line_tells_what_was_seen(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "1", "--start", "3", "--verbose"]) == 0
    out = capsys.readouterr().out
    assert "seed 3: " in out
    assert "1 seeds in" in out
    assert " executions" in out


def test_the_command_line_fails_on_a_violation(capsys: pytest.CaptureFixture[str]) -> None:
    with planted("no fence check"):
        assert main(["--seeds", "20"]) == 1
        assert main(["--seeds", "3", "--keep-going"]) == 1
    assert "3 seeds in" in capsys.readouterr().out


def test_a_lived_state_that_replay_does_not_give_is_seen() -> None:
    sim = ClusterSim(0)
    sim.run()
    sim.router.machine.state.next_node += 1
    with pytest.raises(Violation, match="replay differs in next"):
        sim._compare(sim.router.machine)


def test_the_full_digest_holds_more_than_the_short_one() -> None:
    state = state_with(wide(2))
    before = full_digest(state)
    state.runs.by_number[1].lsn += 1
    assert full_digest(state) != before
    assert state.digest().items() <= before.items()
