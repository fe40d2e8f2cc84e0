"""The base of the user's workers asks for nothing and does nothing."""

from __future__ import annotations

import pytest

from pypelinin.worker import Worker


def test_a_worker_without_process_says_which_one() -> None:
    class Forgetful(Worker):
        requires = ("text",)

    with pytest.raises(NotImplementedError, match="Forgetful has no process"):
        Forgetful().process({"text": "a"})


def test_a_worker_needs_nothing_unless_it_says_so() -> None:
    class Doubler(Worker):
        def process(self, data: int) -> int:
            return 2 * data

    assert tuple(Doubler.requires) == ()
    assert Doubler().process(4) == 8
