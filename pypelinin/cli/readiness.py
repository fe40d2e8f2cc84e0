"""Waiting until a cluster that was just started can run jobs."""

from __future__ import annotations

import time

from pypelinin.cli.supervisor import Supervisor
from pypelinin.client import PipelineManager
from pypelinin.errors import ClusterError, Unreachable
from pypelinin.wire.messages import NodeStatus

JOIN_S = 30.0
ASK_PAUSE_S = 0.005
ASK_S = 1.0


def brokers(supervisor: Supervisor) -> list[NodeStatus]:
    """The Brokers, once one has joined. Raises what keeps the supervisor's own from it."""
    until = time.monotonic() + JOIN_S
    with PipelineManager(supervisor.api, deadline_s=ASK_S) as manager:
        while time.monotonic() < until:
            supervisor.check_started()
            try:
                nodes = manager.cluster().nodes
            except Unreachable:
                continue
            if found := [n for n in nodes if n.role == "broker" and n.state == "up"]:
                return found
            time.sleep(ASK_PAUSE_S)
    raise ClusterError(
        f"The Broker did not join within {JOIN_S:g} s.",
        remedy="Do its workers modules or its store take that long to load?",
    )
