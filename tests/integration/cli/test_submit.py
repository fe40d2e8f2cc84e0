"""`submit` on a cluster that is up."""

from __future__ import annotations

import json

import pytest

from tests.integration.cli.commands import Home


def test_it_prints_the_ids_one_a_line(kitchen: Home) -> None:
    ids = kitchen.fine("submit", "menu.py:several").split("\n")
    assert len(ids) == 4
    assert ids[-1] == ""
    listed = [run["id"] for run in kitchen.json("list", "--limit", "3")["runs"]]
    assert sorted(listed) == sorted(ids[:3])
    assert len(kitchen.json("submit", "menu.py:several")["ids"]) == 3


def test_all_of_a_file(kitchen: Home) -> None:
    kitchen.write(
        "two.py",
        "from pypelinin import Job, Pipeline\n"
        "class Own:\n    pass\n"
        "a = Pipeline({Job('Buy'): None}, data=Own())\nb = [Pipeline({Job('Cook'): None})]\n",
    )
    done = kitchen.run("submit", "two.py", "--wait")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" done ") == 2


def test_wait_shows_how_they_ended(kitchen: Home) -> None:
    done = kitchen.run("submit", "menu.py:burnt", "--wait")
    assert done.returncode == 1
    run = done.stdout.splitlines()[0]
    assert done.stdout.splitlines()[1].startswith(f"{run} failed ")
    assert f"run {run}, job Burn failed on " in done.stderr
    assert "ValueError: it is black" in done.stderr
    done = kitchen.run("submit", "menu.py:several", "--wait", "--json")
    assert done.returncode == 0
    assert [run["state"] for run in json.loads(done.stdout)["runs"]] == ["done"] * 3


def test_an_unknown_worker_is_refused_with_a_hint(kitchen: Home) -> None:
    done = kitchen.run("submit", "menu.py:typo")
    assert done.returncode == 6
    assert "No Broker offers a worker 'Byu'. Did you mean 'Buy'?" in done.stderr
    assert "--queue-anyway" in done.stderr
    assert done.stdout == ""


def test_what_was_accepted_is_told_also_if_something_was_not(kitchen: Home) -> None:
    kitchen.write("mixed.py", "from menu import meal, typo\n")
    done = kitchen.run("submit", "mixed.py")
    assert done.returncode == 6
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (None, 2, "There is no file 'work.py'"),
        ("x = 1\n", 6, "no Pipeline at module level"),
        ("1 / 0\n", 6, "work.py, line 1: ZeroDivisionError: division by zero."),
        ("import sys\nsys.exit()\n", 6, "SystemExit"),
        (
            "from pypelinin import Job as J, Pipeline\n"
            "p = Pipeline({J('A'): J('B'), J('B'): J('A')})\n",
            6,
            "The jobs form a cycle: ",
        ),
        (
            "from pypelinin import Job, Pipeline\nfrom threading import Lock\n"
            "p = Pipeline({Job('Buy'): None}, data=Lock())\n",
            6,
            "the pipeline's data cannot be sent",
        ),
    ],
)
def test_a_file_that_cannot_be_submitted(
    kitchen: Home, text: str | None, code: int, said: str
) -> None:
    (kitchen.directory / "work.py").unlink(missing_ok=True)
    if text is not None:
        kitchen.write("work.py", text)
    done = kitchen.run("submit", "work.py")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_debug_shows_where_a_file_raised(kitchen: Home) -> None:
    kitchen.write("work.py", "def f():\n    return 1 / 0\nf()\n")
    assert ", in f\n" in kitchen.run("submit", "work.py", "--debug").stderr
