"""`pypelinin doctor` on this machine, with a cluster and without."""

from __future__ import annotations

import json
import socket
from typing import Any

from pypelinin.config import VERSION
from tests.integration.cli.commands import Home
from tests.integration.cli.test_daemons import broker, router


def findings(home: Home, *options: str, code: int = 0) -> dict[str, dict[str, Any]]:
    done = home.run("doctor", "--json", *options)
    assert done.returncode == code, done.stdout + done.stderr
    return {found["name"]: found for found in json.loads(done.stdout)["findings"]}


def test_a_running_cluster_is_asked(home: Home) -> None:
    with (
        router(home) as (_, api),
        broker(home, api),
        home.start("pipeliner", "--router", api) as planner,
    ):
        planner.says("Joined")
        found = findings(home, "--api", api)
        assert found["versions"]["what"] == f"{VERSION}, the Router and 2 nodes"
        assert found["clock"]["state"] == "ok"
        assert "is the Router's" in found["port of api"]["what"]
        assert {node["version"] for node in home.json("status", "--api", api)["nodes"]} == {VERSION}


def test_what_fails_is_said_with_a_remedy_and_the_exit_code(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        api = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        done = home.run("doctor", "--api", api, "--deadline", "0.5")
        found = findings(home, "--api", api, "--deadline", "0.5", code=1)
    assert done.returncode == 1
    assert "failed   cluster" in done.stdout
    assert "-> Start it, or correct its address." in done.stdout
    assert found["port of api"]["state"] == "failed"
    assert "pid" in found["port of api"]["what"]
    assert set(found["python"]) == {"name", "state", "what", "remedy"}
