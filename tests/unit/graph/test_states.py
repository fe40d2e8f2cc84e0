"""The states of a job: distinct bytes that are written down, so they never change."""

from __future__ import annotations

from pypelinin.graph import states


def test_the_bytes_in_the_journal_never_change() -> None:
    assert (states.OPEN, states.DONE, states.FAILED, states.AGAIN) == (0, 1, 2, 3)
    assert (states.SKIPPED, states.CANCELLED) == (4, 5)


def test_what_is_only_in_memory_is_written_down_as_open() -> None:
    everything = bytes(range(256))
    recorded = everything.translate(states.TO_RECORD)
    for state in everything:
        open_to_others = state in (states.QUEUED, states.OUT)
        assert recorded[state] == (states.OPEN if open_to_others else state)


def test_what_is_open_has_not_ended() -> None:
    assert not states.ENDED & {states.OPEN, states.QUEUED, states.OUT, states.AGAIN}


def test_people_see_a_name_of_its_own_for_every_state_of_a_job() -> None:
    assert set(states.NAMES) == {states.OPEN, states.QUEUED, states.OUT} | states.ENDED
    assert len(set(states.NAMES.values())) == len(states.NAMES)


def test_a_finished_run_ended_in_a_way_a_job_can_end() -> None:
    ends = {states.NAMES[state] for state in states.ENDED}
    assert set(states.RUN_STATES) - {"running"} <= ends
