"""Random streams whose functions raise, whose slots die, and that are stopped and go on."""

from __future__ import annotations

import random
from typing import Any

import pytest

from pypelinin.streams.conducting import Conductor, Items
from tests.streams import programs
from tests.streams.programs import Item, built, doubled, dropped, expected, plus, specs
from tests.streams.shuffling import shuffled


def raising(step: int, item: Item) -> Item:
    """Fails for what `dropped` drops."""
    found = dropped(step, item)
    if found is None:
        raise KeyError(item)
    return found


@pytest.mark.parametrize("ordered", [False, True])
def test_what_fails_is_lost_and_nothing_else(
    ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = 0
    for seed in range(300):
        spec = specs(seed)
        with monkeypatch.context() as patch:
            patch.setattr(programs, "JOBS", (plus, raising, doubled))
            executor = shuffled(monkeypatch, seed, deaths=0.2)
            here = random.Random(seed) if seed % 3 == 0 else None
            work = built(spec, here, engine=executor, ordered=ordered, on_error="collect")
            found = sorted(work.run())
        assert found == expected(spec), f"seed {seed}: {spec}"
        assert {type(error.exception) for error in work.errors} <= {KeyError}
        failed += len(work.errors)
    assert failed > 100


class Stopped(Exception):
    pass


@pytest.mark.parametrize("ordered", [False, True])
def test_a_stream_that_is_stopped_anywhere_goes_on(
    ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of its state alone, in another conductor, any number of times."""
    stops = 0
    for seed in range(300):
        rng, spec = random.Random(seed), specs(seed)
        executor = shuffled(monkeypatch, seed)
        here = random.Random(seed) if seed % 3 == 0 else None
        program = built(spec, here)._builder.finished()
        program.ordered, program.cpus = ordered, 2
        out: list[Any] = []
        state, taken = b"", 0

        def turned(rng: random.Random = rng) -> None:
            if rng.random() < 0.2:
                raise Stopped

        while True:
            conductor = Conductor(program, Items(spec.items, taken), executor, out.extend)
            executor._waiting.clear()
            executor._ended.clear()
            if state:
                conductor.restore(state)
            try:
                conductor.run(turned)
                break
            except Stopped:
                stops += 1
                assert conductor.settled
                state, taken = conductor.state(), conductor.items.taken
        assert sorted(out) == expected(spec), f"seed {seed}: {spec}"
    assert stops > 300
