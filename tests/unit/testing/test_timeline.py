"""Virtual time goes from one planned action to the next."""

from __future__ import annotations

from functools import partial

from pypelinin.testing.timeline import Timeline


def test_actions_come_in_the_order_of_their_time_then_of_their_planning() -> None:
    timeline, seen = Timeline(), []

    def act(name: str) -> None:
        seen.append((timeline.now, name))

    for when, name in ((2.0, "c"), (1.0, "a"), (1.0, "b")):
        timeline.at(when, partial(act, name))
    while timeline.step():
        pass
    assert seen == [(1.0, "a"), (1.0, "b"), (2.0, "c")]


def test_what_should_have_been_happens_now() -> None:
    timeline, seen = Timeline(), []
    timeline.at(3.0, lambda: timeline.at(1.0, lambda: seen.append(timeline.now)))
    timeline.after(5.0, lambda: seen.append(timeline.now))
    while timeline.step():
        pass
    assert seen == [3.0, 5.0]


def test_nothing_planned_is_told() -> None:
    assert not Timeline().step()
