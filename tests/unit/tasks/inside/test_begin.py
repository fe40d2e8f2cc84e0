"""The function of all jobs of tasks."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import cloudpickle

from pypelinin.runtime.functions import Functions
from pypelinin.tasks.inside.begin import begin
from pypelinin.tasks.inside.work import MARKER, Order


def test_it_does_the_work(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text("token")
    order = Order(
        name="X()", folder=str(tmp_path / "X"), receives=True, refers=False,
        state=None, params={"n": 1}, saved="", parents=[],
    )  # fmt: skip
    work = cloudpickle.dumps(lambda data, n: n + 1)
    kind, packed = begin((str(tmp_path), "token", False), work, order, [])
    assert (kind, pickle.loads(packed)) == ("pickle", 2)


def test_it_is_packed_once_for_all_jobs() -> None:
    functions = Functions()
    job = partial(begin, ("directory", "token", False), b"work")
    first, again = functions.function(job), functions.function(job)
    assert first[1] is again[1]
