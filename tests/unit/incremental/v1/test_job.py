"""The classes of jobs, by the names that pypipegraph.job has."""

from __future__ import annotations

import pytest

from pypelinin.incremental import v1
from pypelinin.incremental.v1 import job


@pytest.mark.parametrize(
    "name", [one for one in job.__all__ if one[0].isupper() and one != "LATER"]
)
def test_a_class_has_one_place(name: str) -> None:
    assert getattr(job, name) is getattr(v1, name)


def test_a_name_that_is_not_there_is_told() -> None:
    with pytest.raises(AttributeError, match="NoSuchJob"):
        job.NoSuchJob
    with pytest.raises(AttributeError, match="NoSuchJob"):
        v1.NoSuchJob


def test_names_for_later_are_of_no_other_module() -> None:
    assert not set(job.LATER) & set(job.__all__)
