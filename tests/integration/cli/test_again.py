"""`pause`, `resume`, `retry` and `explain` on a cluster that is up."""

from __future__ import annotations

import pytest

from tests.integration.cli.commands import Home, until


def submitted(home: Home, name: str) -> str:
    return home.fine("submit", "-q", f"menu.py:{name}").strip()


def failed(home: Home) -> str:
    run = submitted(home, "burnt")
    assert home.run("wait", run).returncode == 1
    return run


def test_a_paused_run_waits_until_it_is_resumed(shut: Home) -> None:
    run = submitted(shut, "held")
    until(shut.gate_has_begun)
    assert f"run {run}: paused, 2 jobs: 1 running, 1 waiting" in shut.fine("pause", run)
    shut.open_gate()
    until(lambda: shut.json("status", run)["done"] == 1, "the end of what ran")
    document = shut.json("status", run)
    assert (document["state"], document["paused"]) == ("running", True)
    assert document["reason"] == "it is paused"
    assert f"`pypelinin resume {run}` lets it go on" in shut.fine("explain", run, "1")
    (resumed,) = shut.json("resume", run)["runs"]
    assert resumed["paused"] is False
    assert shut.fine("wait", run).startswith(f"{run} done")
    assert "done" in shut.fine("pause", run)


def test_retry_runs_only_what_did_not_succeed(kitchen: Home) -> None:
    run = failed(kitchen)
    done = kitchen.run("retry", run, "--failed", "--memory", "1GB", "--memory", "2GB")
    assert done.returncode == 0, done.stderr
    assert "1 job given, the others run." in done.stderr
    new = done.stdout.strip()
    assert kitchen.run("wait", new).returncode == 1  # it burns again
    document = kitchen.json("status", new)
    assert (document["retry_of"], document["done"], document["failed"]) == (run, 1, 1)
    assert kitchen.json("retry", run)["retry_of"] == run


def test_what_cannot_be_retried_says_why(shut: Home) -> None:
    run = submitted(shut, "held")
    done = shut.run("retry", run)
    assert done.returncode == 6
    assert f"Run {run} is still running. Wait for its end, or cancel it first" in done.stderr
    shut.open_gate()
    shut.fine("wait", run)
    assert f"Nothing of run {run} is left to do." in shut.run("retry", run).stderr
    assert "memory: 'much' is no size" in shut.run("retry", run, "--memory", "much").stderr


def test_explain_says_why_and_what_to_try(kitchen: Home) -> None:
    run = failed(kitchen)
    lines = kitchen.fine("explain", run, "Burn").splitlines()
    assert lines[0] == f"job Burn of run {run}: failed"
    assert "ValueError: it is black" in lines[1]
    assert f"`pypelinin retry {run} --failed`" in lines[2]
    document = kitchen.json("explain", run, "Cook")
    assert document["state"] == "skipped"
    assert document["lines"] == ["It never ran: Burn (failed) above it did not succeed."]


@pytest.mark.parametrize("verb", ["pause", "resume", "retry"])
def test_an_unknown_run_is_not_found(kitchen: Home, verb: str) -> None:
    done = kitchen.run(verb, "0" * 32)
    assert done.returncode == 7
    assert f"There is no run {'0' * 32}" in done.stderr


@pytest.mark.parametrize(
    ("job", "said"), [("Nobody", "has no job 'Nobody'"), ("99", "has no job '99'")]
)
def test_an_unknown_job_is_not_found(kitchen: Home, job: str, said: str) -> None:
    run = failed(kitchen)
    done = kitchen.run("explain", run, job)
    assert done.returncode == 7
    assert said in done.stderr


def test_cancel_ends_what_runs_if_asked(shut: Home) -> None:
    run = submitted(shut, "held")
    until(shut.gate_has_begun)
    shut.fine("cancel", "--running", run)
    assert shut.run("wait", run).stdout.startswith(f"{run} cancelled")
    document = shut.json("status", run)
    assert (document["done"], document["cancelled"]) == (0, 2)
