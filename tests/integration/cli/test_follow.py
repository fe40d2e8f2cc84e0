"""`wait` on a cluster that is up, and what Ctrl-C does."""

from __future__ import annotations

import json
import signal

import click
import pytest

from pypelinin.cli import follow
from pypelinin.cli.which import Reach
from tests.integration.cli.commands import Home, until


def held(home: Home) -> str:
    """A run that stands at the gate."""
    run = home.fine("submit", "-q", "menu.py:held").strip()
    until(home.gate_has_begun)
    return run


def test_wait_says_how_each_has_ended(kitchen: Home) -> None:
    runs = kitchen.fine("submit", "-q", "menu.py:several").split()
    lines = kitchen.fine("wait", *runs, runs[0]).splitlines()
    assert [line.split()[:2] for line in lines] == [[run, "done"] for run in runs]
    document = json.loads(kitchen.run("wait", "--json", *runs).stdout)
    assert [run["id"] for run in document["runs"]] == runs


def test_wait_shows_the_remote_traceback_and_fails(kitchen: Home) -> None:
    run = kitchen.fine("submit", "-q", "menu.py:burnt").strip()
    done = kitchen.run("wait", run)
    assert done.returncode == 1
    assert f"run {run}, job Burn failed on " in done.stderr
    assert 'kitchen.py", line' in done.stderr
    assert "ValueError: it is black" in done.stderr
    document = json.loads(kitchen.run("wait", run, "--json").stdout)["runs"][0]
    assert (document["state"], document["error"]["job"]) == ("failed", "Burn")


def test_a_cancelled_run_is_no_success(kitchen: Home) -> None:
    run = kitchen.fine("submit", "-q", "menu.py:typo", "--queue-anyway").strip()
    kitchen.fine("cancel", run)
    done = kitchen.run("wait", run)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{run} cancelled ")


def test_patience_has_an_end(shut: Home) -> None:
    run = held(shut)
    done = shut.run("wait", run, "--timeout", "0.1")
    assert done.returncode == 5
    assert "1 of 1 pipelines are not finished after 0.1 s. They go on" in done.stderr
    shut.open_gate()
    shut.fine("wait", run)


def test_a_bar_is_drawn_if_wanted(kitchen: Home) -> None:
    run = kitchen.fine("submit", "-q", "menu.py:meal").strip()
    assert "1/1 pipelines" in kitchen.run("wait", run, "--progress").stderr
    assert "pipelines" not in kitchen.run("wait", run).stderr


def test_the_first_ctrl_c_lets_go_and_says_how_to_come_back(shut: Home) -> None:
    run = held(shut)
    with shut.start("wait", run, "--progress") as command:
        command.says("0/1 pipelines")
        command.interrupt()
        assert command.ends() == 130
        assert f"pypelinin wait {run}" in command.err
        assert "Traceback" not in command.err
        assert command.out == ""
    shut.open_gate()
    assert shut.fine("wait", run).startswith(f"{run} done ")


UNHURRIED = """
import sys
from pypelinin.cli import follow, main
follow.SECOND_THOUGHT_S = 30.0
sys.exit(main(sys.argv[1:]))
"""


def test_a_second_ctrl_c_cancels(shut: Home) -> None:
    words = ("submit", "menu.py:held", "--wait", "--progress")
    with shut.start("-c", UNHURRIED, *words, module=False) as command:
        until(shut.gate_has_begun)
        command.says("0/1 pipelines")
        run = command.out.strip()
        command.interrupt()
        command.says(f"pypelinin wait {run}")
        command.interrupt()
        assert command.ends() == 130
        assert f"Cancelled: {run}" in command.err
    shut.open_gate()
    assert shut.run("wait", run).stdout.startswith(f"{run} cancelled ")


def test_a_second_ctrl_c_while_it_says_so_cancels_too(
    shut: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, echo, said = held(shut), click.echo, list[str]()

    def interrupted(text: str, err: bool) -> None:
        echo(text, err=err)
        said.append(text)
        if len(said) == 2:  # the way back is told: somebody may hurry
            raise KeyboardInterrupt

    monkeypatch.setattr(click, "echo", interrupted)
    assert follow.let_go(Reach(shut.cluster()["api"], None, quiet=True), [run]) == 130
    assert capsys.readouterr().err.endswith(f"Cancelled: {run}\n")
    shut.open_gate()
    assert shut.run("wait", run).stdout.startswith(f"{run} cancelled ")


def test_the_way_back_names_the_cluster_that_was_named(shut: Home) -> None:
    run, api = held(shut), shut.cluster()["api"]
    with shut.start("wait", "--api", api, run, "--progress") as command:
        command.says("0/1 pipelines")
        command.signal(signal.SIGINT)
        assert command.ends() == 130
        assert f"pypelinin wait --api {api} {run}" in command.err
    shut.open_gate()
    shut.fine("wait", run)


def test_the_way_back_from_very_many_runs_is_short(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow, "SECOND_THOUGHT_S", 0.0)
    runs = [str(number) for number in range(follow.RUNS_NAMED_MAX + 1)]
    assert follow.let_go(Reach("tcp://127.0.0.1:1", None, quiet=True), runs) == 130
    back = "pypelinin list --api tcp://127.0.0.1:1 --state running"
    assert capsys.readouterr().err.splitlines()[-1] == back
