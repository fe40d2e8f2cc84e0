"""Names of errors: what is caught by which, and what becomes of those of the core."""

from __future__ import annotations

import builtins
import pickle

import pytest

from pypelinin.errors import ClusterError, Impossible, PypelininError
from pypelinin.incremental import exceptions as now
from pypelinin.incremental.v1 import exceptions as v1


@pytest.mark.parametrize("name", [one for one in v1.__all__ if one[0].isupper()])
def test_all_descend_from_the_one_but_the_signal(name: str) -> None:
    kind = getattr(v1, name)
    is_signal = name == "NothingChanged"
    assert issubclass(kind, v1.PyPipelineGraphError) is not is_signal
    assert issubclass(kind, ValueError) is not is_signal


def test_the_error_of_a_run_is_the_builtin_one_too() -> None:
    error = v1.RuntimeError("two jobs failed", [KeyError("a"), 3])
    assert isinstance(error, builtins.RuntimeError)
    assert isinstance(error, now.JobsFailed)
    assert error.value == "two jobs failed"
    assert error.exceptions[1] == 3
    assert "two jobs failed" in str(error)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (now.NotADag("a -> a"), v1.CycleError),
        (now.JobContractError("no file"), v1.JobContractError),
        (now.JobRedefinitionError("other"), v1.JobContractError),
        (now.JobOutputConflict("two"), v1.PyPipeGraphError),
        (now.HistoryLoadingFailed("broken"), v1.PyPipeGraphError),
        (now.RunFailedInternally("oh"), v1.RuntimeException),
        (ClusterError("nobody"), v1.CommunicationFailure),
        (TypeError("no function"), v1.ArgumentError),
        (KeyError("no such output"), v1.UnknownOutput),
    ],
)
def test_errors_leave_under_their_old_names(raised: Exception, expected: type[Exception]) -> None:
    with pytest.raises(expected) as info, v1.as_version_1():
        raise raised
    assert type(info.value) is expected
    assert info.value.__cause__ is raised
    assert raised.args[0] in str(info.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (v1.CycleError, now.NotADag),
        (v1.JobContractError, now.JobContractError),
        (v1.RuntimeException, now.RunFailedInternally),
        (v1.CommunicationFailure, ClusterError),
        (v1.JobDiedException, now.JobDied),
        (v1.ArgumentError, TypeError),
        (v1.UnknownOutput, KeyError),
    ],
)
def test_who_knows_the_new_name_catches_it_too(old: type[Exception], new: type[Exception]) -> None:
    assert issubclass(old, new)


def test_what_to_do_is_not_lost() -> None:
    with pytest.raises(v1.CycleError, match="Remove one"), v1.as_version_1():
        raise now.NotADag("a -> b -> a.", remedy="Remove one.")


def test_a_value_error_stays_as_it_is() -> None:
    raised = ValueError("no graph")
    with pytest.raises(ValueError) as info, v1.as_version_1():
        raise raised
    assert info.value is raised


def test_what_a_job_raised_is_unwrapped_and_stays_as_it_is() -> None:
    raised = TypeError("mine")
    assert v1.translated(now.JobError(raised)) is raised


def test_a_job_that_died_has_its_exit_code() -> None:
    found = v1.translated(now.JobDied("killed", None, -9))
    assert isinstance(found, v1.JobDiedException)
    assert found.exit_code == -9
    copy = pickle.loads(pickle.dumps(found))
    assert (copy.exit_code, str(copy)) == (-9, str(found))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "no error"),
        (KeyError("a"), "Exception"),
        ("Upstream", "Indirect"),
        (now.JobDied("killed"), "Unknown/died"),
        (Impossible("1000 cores"), "Needed to much memory/cores"),
    ],
)
def test_reasons_have_their_old_words(error: object, reason: str) -> None:
    assert v1.error_reason(error) == reason


def test_an_error_of_this_library_is_one_of_its_errors() -> None:
    assert issubclass(v1.PyPipeGraphError, PypelininError)
    assert v1.NothingChanged(3).new_value == 3
