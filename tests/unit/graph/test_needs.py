"""What users may say of a job's needs, and what they are told if it makes no sense."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.errors import DefinitionError
from pypelinin.graph.needs import UNSAID, Needs, checked_needs, checked_resource


def test_nothing_said_is_one_object() -> None:
    assert checked_needs() is UNSAID


def test_all_of_it() -> None:
    needs = checked_needs(
        4, ["2GB", "4GB"], {"gpu": 1, "licence": 0}, "10min", True, {"B": "2", "A": "1"}, "1min"
    )
    assert needs == Needs(
        4, (2 * 10**9, 4 * 10**9), (("gpu", 1),), 600.0, True, (("A", "1"), ("B", "2")), 60.0
    )
    assert hash(needs)


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"cores": 0}, "cores is a whole number"),
        ({"cores": -3}, "-1 is all cores of a node but one"),
        ({"cores": 1.5}, "cores"),
        ({"cores": True}, "cores"),
        ({"memory": "lots"}, "is no size"),
        ({"memory": 2}, "write '2GB' for gigabytes"),
        ({"memory": []}, "one size or up to"),
        ({"memory": ["4GB", "2GB"]}, "rise"),
        ({"memory": ["2GB", "2GB"]}, "rise"),
        ({"memory": "9999999 TB"}, "at most 1 EiB"),
        ({"resources": {"my gpu": 1}}, "named like a Python variable"),
        ({"resources": {"gpu": -1}}, "whole numbers"),
        ({"resources": {"gpu": 0.5}}, "whole numbers"),
        ({"resources": {"memory": 1}}, "an option of its own"),
        ({"timeout": -1}, "more than 0"),
        ({"timeout": float("nan")}, "more than 0"),
        ({"timeout": "soon"}, "is no time"),
        ({"startup_timeout": -1}, "startup_timeout is in seconds"),
        ({"startup_timeout": "soon"}, "startup_timeout: .* is no time"),
        ({"isolate": "yes"}, "True or False"),
        ({"env": {"A": 1}}, "str to str"),
        ({"env": {"A=B": "1"}}, "no name of an environment variable"),
        ({"env": {"A": "\0"}}, "no name of an environment variable"),
        ({"env": {"A": "\ud800"}}, "not Unicode"),
    ],
)
def test_what_makes_no_sense_is_refused(said: dict[str, Any], match: str) -> None:
    with pytest.raises(DefinitionError, match=match):
        checked_needs(**said)


def test_a_job_goes_before_its_pipeline() -> None:
    own, defaults = checked_needs(cores=2), checked_needs(cores=4, timeout=5)
    assert own.over(defaults) == Needs(cores=2, timeout=5.0)
    assert own.over(UNSAID) is own
    assert UNSAID.over(defaults) == defaults


def test_names_of_resources() -> None:
    assert checked_resource("gpu") == "gpu"
    with pytest.raises(DefinitionError):
        checked_resource("größe")
