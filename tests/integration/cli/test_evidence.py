"""`logs`, and `show` of one job, on a cluster that is up."""

from __future__ import annotations

import json

from tests.integration.cli.commands import Home, until


def loud(home: Home) -> str:
    """A run whose first job printed a line, and whose second failed; when both are known."""
    run = home.fine("submit", "-q", "menu.py:loud").strip()
    home.run("wait", run)
    until(lambda: "hello" in home.fine("logs", run), "what it printed")
    return run


def test_logs_of_a_run_and_of_a_job(kitchen: Home) -> None:
    run = loud(kitchen)
    assert kitchen.fine("logs", run) == "Loud: hello from the slot\n"
    assert kitchen.fine("logs", "-f", run, "Loud") == "hello from the slot\n"
    assert kitchen.fine("logs", run, "0", "--attempt", "-1") == "hello from the slot\n"
    assert kitchen.fine("logs", run, "Loud", "--stderr") == ""
    (line,) = kitchen.fine("logs", run, "--json").splitlines()
    document = json.loads(line)
    assert (document["job"], document["attempt"], document["stream"]) == ("Loud", 1, "stdout")
    assert document["text"] == "hello from the slot\n"


def test_what_is_not_there_is_said(kitchen: Home) -> None:
    run = loud(kitchen)
    nothing = kitchen.run("logs", "-q", run, "Burn")
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert nothing.stderr == "Nothing that was printed is kept of it.\n"
    for arguments in ([run, "Bake"], [run, "7"], ["0" * 32], [run, "Loud", "--attempt", "9"]):
        assert kitchen.run("logs", *arguments).returncode == 7
    assert "has no job 'Bake'" in kitchen.run("logs", run, "Bake").stderr
    assert "There is no run" in kitchen.run("logs", "0" * 32).stderr
    assert kitchen.run("logs", run, "--attempt", "1").returncode == 2


def test_show_of_a_job_has_its_attempts_and_why_it_failed(kitchen: Home) -> None:
    run = loud(kitchen)
    until(lambda: kitchen.json("show", run, "Burn")["attempts"], "an attempt")
    text = kitchen.fine("show", run, "Burn")
    assert f"run {run}, job Burn: failed" in text
    assert "after Loud" in text
    assert "ValueError: it is black" in text
    assert 'kitchen.py", line' in text
    document = kitchen.json("show", run, "Burn")
    (attempt,) = document["attempts"]
    assert attempt["failure"]["type"] == "ValueError"
    assert attempt["node"]
    assert (document["run"], document["state"], document["number"]) == (run, "failed", 1)
    assert kitchen.run("show", run, "Bake").returncode == 7


def test_status_tells_how_the_node_is(kitchen: Home) -> None:
    def samples() -> list[dict[str, float]]:
        nodes = kitchen.json("status")["nodes"]
        return [node["sample"] for node in nodes if node["sample"]]

    (sample,) = until(samples, "a sample")
    assert 0 < sample["memory_used"] < sample["memory_total"]
    assert "% CPU, " in kitchen.fine("status")
