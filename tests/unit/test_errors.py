"""Errors say what happened and what to do, and travel between processes."""

from __future__ import annotations

import inspect
import pickle

import pytest

from pypelinin import errors
from pypelinin.errors import PypelininError, RemoteTraceback

KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, PypelininError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_has_a_text_a_remedy_and_a_meaning(kind: type[PypelininError]) -> None:
    error = kind("The port is taken.", remedy="Choose another.")
    assert str(error) == "The port is taken. Choose another."
    assert str(kind("No.")) == "No."
    assert str(kind("echo: KeyError: 'x'", remedy="Look.")) == "echo: KeyError: 'x'. Look."
    assert kind.__doc__


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_can_be_pickled(kind: type[PypelininError]) -> None:
    copy = pickle.loads(pickle.dumps(kind("What.", remedy="Do.")))
    assert type(copy) is kind
    assert (copy.what, copy.remedy) == ("What.", "Do.")


def test_a_definition_that_cannot_run_is_a_value_error() -> None:
    assert issubclass(errors.DefinitionError, ValueError)
    assert issubclass(errors.NotFound, errors.Refused)


def test_a_remote_traceback_is_shown_as_it_is() -> None:
    assert (
        str(RemoteTraceback("Traceback ...\nValueError: no")) == "\nTraceback ...\nValueError: no"
    )
