"""`nodes`, `drain` and `undrain` on a cluster that is up."""

from __future__ import annotations

from tests.integration.cli.commands import Home, until


def names(home: Home) -> list[str]:
    return [node["name"] for node in home.json("nodes")["nodes"]]


def test_nodes_shows_what_each_has_and_what_is_free(kitchen: Home) -> None:
    (name,) = names(kitchen)
    text = kitchen.fine("nodes").splitlines()
    assert text[0].split() == [
        "node", "state", "running", "free", "cores", "free", "labels", "why"
    ]  # fmt: skip
    assert text[1].split()[:6] == [name, "up", "0", "2", "of", "2"]
    (node,) = kitchen.json("nodes")["nodes"]
    assert (node["state"], node["why"], node["capacity"]["cores"]) == ("up", "", 2)


def test_a_drained_node_gets_nothing_until_it_is_undrained(kitchen: Home) -> None:
    (name,) = names(kitchen)
    try:
        line = kitchen.fine("drain", name, "--why", "a new disk").splitlines()[1]
        assert line.split()[:2] == [name, "draining"]
        assert line.endswith("a new disk")
        run = kitchen.fine("submit", "-q", "menu.py:meal").strip()
        reason = f"all nodes that could run it are draining ({name}: a new disk)"
        assert reason in kitchen.json("status", run)["reason"]
        assert reason in kitchen.fine("explain", run, "Buy")
    finally:
        assert kitchen.json("undrain", name)["nodes"][0]["why"] in ("", "a new disk")
    until(lambda: kitchen.json("nodes")["nodes"][0]["state"] == "up", "the node takes jobs")
    assert kitchen.fine("wait", run).startswith(f"{run} done")


def test_without_a_reason_it_says_who_asked(kitchen: Home) -> None:
    (name,) = names(kitchen)
    try:
        assert kitchen.json("drain", name)["nodes"][0]["why"].endswith(" asked for it")
    finally:
        kitchen.fine("undrain", name)


def test_an_unknown_node_is_not_found(kitchen: Home) -> None:
    (name,) = names(kitchen)
    for verb in ("drain", "undrain"):
        done = kitchen.run(verb, name + "x")
        assert done.returncode == 7
        assert f"There is no node '{name}x'. Did you mean '{name}'?" in done.stderr
        assert kitchen.run(verb).returncode == 2
