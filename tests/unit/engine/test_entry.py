"""Questions about one job."""

from __future__ import annotations

from typing import Any

import pytest

from pypelinin.engine import entry
from pypelinin.engine.entry import Entry
from pypelinin.graph.declared import OUTPUT, Declared, Record
from pypelinin.graph.fingerprint import canonical, same

SPEC = (("text", b"1"),)
OLD = (("python 3.11", b"x"), ("text", b"1"))
NEW = (("python 3.12", b"y"), ("text", b"1"))


def made(**declared: Any) -> Entry:
    given: dict[str, Any] = {"policy": OUTPUT, "name": "j", "spec": SPEC, "there": (), **declared}
    return Entry(0, Declared(**given))


def test_the_first_view_that_both_have_decides() -> None:
    assert same(OLD, NEW)
    assert not same(OLD, (("python 3.11", b"y"), ("text", b"1")))
    assert not same(OLD, ())
    assert not same((), OLD)
    assert same((), ())


def test_a_key_is_made_of_the_least_specific_view() -> None:
    """Rule 19: a key over all views would change with the version of Python."""
    assert canonical(OLD) == canonical(NEW) == b"1"
    keys = {entry.key(made(spec=spec, keyed=True)) for spec in (OLD, NEW)}
    assert len(keys) == 1


def test_equal_jobs_of_other_names_have_keys_of_their_own() -> None:
    """Rule 19: else they would release each other's value."""
    assert entry.key(made(name="a", keyed=True)) != entry.key(made(name="b", keyed=True))


def test_sets_of_outputs_have_any_number_of_bits() -> None:
    job = made(outputs=tuple(map(str, range(100))))
    assert job.names(job.mask(("3", "99", "3"))) == ("3", "99")
    assert job.mask(None) == job.all == (1 << 100) - 1
    with pytest.raises(ValueError, match="not in"):
        job.mask(("100",))


RECORD = Record(SPEC, {"": (("c", b"o"),)}, {})


@pytest.mark.parametrize(
    ("declared", "why"),
    [
        ({"record": None}, entry.NEW),
        ({"record": RECORD}, 0),
        ({"record": RECORD, "reload": True}, entry.RELOADED),
        ({"record": RECORD, "spec": (("text", b"2"),)}, entry.SPEC),
        ({"record": RECORD, "outputs": ("a", "b")}, entry.OUTPUTS),
        ({"record": RECORD._replace(inputs={("u", ""): ()})}, entry.INPUTS),
    ],
)
def test_why_a_job_runs(declared: dict[str, object], why: int) -> None:
    assert entry.changed(made(**declared)) == why


def test_an_output_that_was_altered_is_a_change_only_if_it_is_kept() -> None:
    """Rule 18."""
    job = made(record=RECORD)
    job.altered = 1
    assert entry.changed(job) == entry.ALTERED
    job.kept = 0
    assert entry.changed(job) == 0
