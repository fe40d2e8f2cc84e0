"""`list`, `show`, `status` and `cancel` on a cluster that is up."""

from __future__ import annotations

import pytest

from tests.integration.cli.commands import Home, until


def submitted(home: Home, name: str, *options: str) -> str:
    return home.fine("submit", "-q", f"menu.py:{name}", *options).strip()


def ended(home: Home, name: str) -> str:
    run = submitted(home, name)
    home.run("wait", run)
    return run


def test_status_shows_router_nodes_slots_and_queues(kitchen: Home) -> None:
    until(lambda: len(kitchen.json("status")["nodes"]) == 2, "the Pipeliner")  # nobody waits for it
    text = kitchen.fine("status")
    assert "Router 1." in text
    assert " 0 running; 2 slots" in text
    assert "Buy, Cook" not in text.splitlines()[0]
    assert any(line.split()[1:4] == ["broker", "up", "2"] for line in text.splitlines())
    document = kitchen.json("status")
    assert document["api"] == kitchen.cluster()["api"]
    assert document["jobs"] == {"queued": 0, "running": 0}
    assert {node["role"] for node in document["nodes"]} == {"broker", "pipeliner"}
    broker = next(node for node in document["nodes"] if node["role"] == "broker")
    assert broker["workers"] == ["Burn", "Buy", "Cook", "Gate", "Loud"]


def test_a_line_on_stderr_says_which_cluster(kitchen: Home) -> None:
    api = kitchen.cluster()["api"]
    said = kitchen.run("list").stderr
    assert said.startswith(f"cluster {api} (your running cluster, journal ")
    assert kitchen.run("list", "-q").stderr == ""
    assert kitchen.run("list", "--json").stderr == ""
    assert kitchen.run("list", "--api", api).stderr == ""
    assert "(PYPELININ_API)" in kitchen.run("list", env={"PYPELININ_API": api}).stderr


def test_list_has_the_newest_first(kitchen: Home) -> None:
    first, second = ended(kitchen, "meal"), ended(kitchen, "burnt")
    lines = kitchen.fine("list", "--limit", "2").splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["id", "state", "jobs"], [second, "failed", "1/3"], [first, "done", "2/2"],
    ]  # fmt: skip
    assert lines[2].endswith("for=two")
    runs = kitchen.json("list", "--state", "done", "--limit", "1")["runs"]
    assert [(run["id"], run["labels"]) for run in runs] == [(first, {"for": "two"})]
    assert kitchen.fine("list", "--state", "cancelled") in ("No runs are cancelled.\n",)


def test_show_tells_of_every_job_and_the_remote_traceback(kitchen: Home) -> None:
    run = ended(kitchen, "burnt")
    text = kitchen.fine("show", run)
    assert f"run {run}: failed, 3 jobs: 1 done, 1 failed, 1 skipped" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["Buy", "Buy", "done"] in rows
    assert ["Burn", "Burn", "failed"] in rows
    assert ["Cook", "Cook", "skipped"] in rows
    assert "ValueError: it is black" in text
    assert 'kitchen.py", line' in text
    assert "... 2 more; --limit shows them" in kitchen.fine("show", run, "--limit", "1")
    document = kitchen.json("show", run)
    assert document["error"]["job"] == "Burn"
    assert [job["after"] for job in document["jobs"]] == [[], ["Buy"], ["Burn"]]
    assert document["jobs"][1]["failure"]["type"] == "ValueError"
    assert document["jobs"][0]["failure"] is None


def test_show_draws_the_graph(kitchen: Home) -> None:
    run = ended(kitchen, "meal")
    dot = kitchen.fine("show", run, "--dot")
    assert dot.startswith("digraph pipeline {")
    assert '"Buy" -> "Cook";' in dot


def test_status_of_a_run_says_why_it_waits(kitchen: Home) -> None:
    run = submitted(kitchen, "typo", "--queue-anyway")
    text = kitchen.fine("status", run)
    assert "running, 1 job: 1 waiting" in text
    assert "it waits: no broker offers Byu" in text
    assert "Byu" in kitchen.json("status", run)["reason"]
    assert f"run {run}: cancelled" in kitchen.fine("cancel", run)


def test_cancel_lets_what_runs_finish_and_begins_no_more(shut: Home) -> None:
    run = submitted(shut, "held")
    until(shut.gate_has_begun)
    assert f"run {run}: being cancelled" in shut.fine("cancel", run)
    shut.open_gate()
    document = until(lambda: ended_document(shut, run))
    assert (document["state"], document["done"], document["cancelled"]) == ("cancelled", 1, 1)
    again = shut.json("cancel", run)["runs"]
    assert [one["state"] for one in again] == ["cancelled"]


def ended_document(home: Home, run: str) -> dict[str, object] | None:
    document: dict[str, object] = home.json("status", run)
    return document if document["finished_at"] else None


@pytest.mark.parametrize("verb", ["show", "status", "cancel", "wait"])
def test_an_id_that_is_not_there(kitchen: Home, verb: str) -> None:
    done = kitchen.run(verb, "0" * 32)
    assert done.returncode == 7
    assert f"There is no run {'0' * 32}. `pypelinin list` shows the runs" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("list", "--limit", "0"), 2, "--limit"),
        (("list", "--state", "lost"), 2, "--state"),
        (("show",), 2, "ID"),
        (("cancel",), 2, "ID..."),
        (
            ("status", "--api", "nowhere"),
            2,
            "--api: 'nowhere' is no address. Write tcp://HOST:PORT",
        ),
        (("status", "--api", "tcp://127.0.0.1:1", "--deadline", "0.3"), 3, "No Router answered at"),
        (("list", "--api", "tcp://127.0.0.1:1", "--deadline", "0.3", "--json"), 3, "for 0 s"),
    ],
)
def test_a_wrong_question(kitchen: Home, arguments: tuple[str, ...], code: int, said: str) -> None:
    done = kitchen.run(*arguments)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
