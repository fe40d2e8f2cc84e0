"""The names of the front-end, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pypelinin import tasks

ORIGINAL = (
    "run task Pipeline PipelineError Sequential Runner Task TaskError PipelineResult TaskResult "
    "__version__"
).split()


def test_all_names_are_there() -> None:
    assert set(ORIGINAL) <= set(tasks.__all__)
    for name in tasks.__all__:
        assert getattr(tasks, name) is getattr(tasks, name)
    assert dir(tasks) == sorted(tasks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Gone'"):
        tasks.Gone


def loaded(code: str) -> set[str]:
    """The modules that *code* has loaded."""
    told = subprocess.check_output(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"], text=True
    )
    return set(told.split())


def test_nothing_is_loaded_before_it_is_used() -> None:
    assert not any(name.startswith("pypelinin.tasks") for name in loaded("import pypelinin"))
    inside = loaded("import pypelinin.tasks.inside.work")
    assert not inside & {"zmq", "pypelinin.engine.run", "pypelinin.tasks.definition", "inspect"}
    runner = loaded("from pypelinin.tasks import Runner, task, Pipeline")
    assert not runner & {"yaml", "networkx", "matplotlib", "joblib", "numpy"}
