"""Every "no" says what is wrong and what to do about it."""

from __future__ import annotations

import pytest

from pypelinin.cluster.refusals import (
    REMEDIES,
    no_room,
    no_such_labels,
    refuse,
    too_large,
    unknown_worker,
)


@pytest.mark.parametrize("code", REMEDIES)
def test_a_code_brings_its_remedy(code: str) -> None:
    assert refuse(code, "No.").remedy == REMEDIES[code] != ""


def test_a_remedy_of_its_own_goes_before_that_of_the_code() -> None:
    assert refuse("busy", "No.", "Wait.").remedy == "Wait."


def test_an_unknown_worker_names_the_one_that_was_meant() -> None:
    refusal = unknown_worker("Pars", ["Download", "Parse"])
    assert refusal.code == "unknown worker"
    assert "'Pars'" in refusal.what
    assert "Did you mean 'Parse'?" in refusal.what
    assert "Known: Download, Parse." in refusal.what
    assert "queue_anyway" in refusal.remedy


def test_nothing_is_guessed_if_nothing_is_close() -> None:
    refusal = unknown_worker("Xyz", ["Download"])
    assert "Did you mean" not in refusal.what
    assert "Known: Download." in refusal.what


def test_without_workers_it_says_none() -> None:
    assert "Known: none." in unknown_worker("A", []).what


def test_missing_labels_are_told_with_those_of_the_nodes() -> None:
    refusal = no_such_labels("A", {"gpu": "yes", "disk": "fast"}, ["n1 (gpu=no)", "n2 (no labels)"])
    assert refusal.code == "impossible"
    assert "gpu=yes, disk=fast" in refusal.what
    assert "n1 (gpu=no); n2 (no labels)" in refusal.what
    assert "--label" in refusal.remedy


def test_a_full_disk_says_what_goes_on_and_what_to_do() -> None:
    refusal = no_room("The disk is full: only 3.0 MB free.")
    assert refusal.code == "busy"
    assert refusal.what.startswith("The disk is full: only 3.0 MB free. What runs is still")
    assert "Make room" in refusal.remedy


def test_what_is_no_worker_of_the_user_has_no_name_to_be_told() -> None:
    call = "call:3.11/2e371c30ecbc55d1"
    refusal = too_large(call, "64 cores", ["n1 (2 cores)"])
    assert "ever run a function of this run: it needs 64 cores" in refusal.what
    assert "call:" not in no_such_labels(call, {"gpu": "yes"}, ["n1 (gpu=no)"]).what
    assert "ever run 'A': it needs" in too_large("A", "64 cores", ["n1"]).what
