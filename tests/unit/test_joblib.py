"""joblib on our executor, and what is built upon it; Dask collections, too."""

from __future__ import annotations

import os
from math import sqrt

import pytest

from pypelinin import Executor

joblib = pytest.importorskip("joblib", reason="joblib is not installed: 'pypelinin[joblib]'")
pytestmark = pytest.mark.timeout(100)


def pid(_: int) -> int:
    return os.getpid()


def test_calls_run_in_other_processes() -> None:
    import pypelinin.joblib

    with joblib.parallel_config("pypelinin", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(sqrt)(i * i) for i in range(500)) == list(
            range(500)
        )
        pids = joblib.Parallel()(joblib.delayed(pid)(i) for i in range(20))
    assert os.getpid() not in pids
    assert pypelinin.joblib.PypelininBackend in joblib.parallel.BACKENDS.values()


def test_an_exception_ends_it() -> None:
    import pypelinin.joblib  # noqa: F401 - it registers itself

    with joblib.parallel_config("pypelinin", n_jobs=2), pytest.raises(ValueError, match="math"):
        joblib.Parallel()(joblib.delayed(sqrt)(-i) for i in range(100))


def test_a_grid_search() -> None:
    import pypelinin.joblib  # noqa: F401 - it registers itself

    sklearn = pytest.importorskip("sklearn", reason="needs 'pypelinin[test-all]'")
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    assert sklearn.__version__
    x, y = load_iris(return_X_y=True)
    grid = {"C": [0.1, 1, 10], "kernel": ["linear", "rbf"]}
    alone = GridSearchCV(SVC(), grid, cv=3).fit(x, y)
    with joblib.parallel_config("pypelinin", n_jobs=2):
        found = GridSearchCV(SVC(), grid, cv=3).fit(x, y)
    assert found.best_params_ == alone.best_params_
    assert found.best_score_ == alone.best_score_


def test_a_dask_array() -> None:
    pytest.importorskip("dask", reason="Dask is not installed: 'pypelinin[test-all]'")
    da = pytest.importorskip("dask.array", reason="needs 'pypelinin[test-all]'")
    with Executor(2) as executor:
        array = da.arange(200_000, chunks=20_000)
        assert array.sum().compute(scheduler=executor) == sum(range(200_000))
        assert (array * 2).max().compute(scheduler=executor) == 399_998
