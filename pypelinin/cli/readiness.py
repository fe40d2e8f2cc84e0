"""Waiting until a cluster that was just started can run jobs."""

from __future__ import annotations

import time

from pypelinin.cli.supervisor import Supervisor
from pypelinin.client import PipelineManager
from pypelinin.errors import ClusterError, PypelininError, Unreachable
from pypelinin.wire.messages import NodeStatus

JOIN_S = 30.0
ASK_PAUSE_S = 0.005
ASK_S = 1.0


def brokers(supervisor: Supervisor, every: bool = False) -> list[NodeStatus]:
    """The Brokers, once all of the supervisor have joined that can be started.

    Raises what keeps its own from it; of those on other hosts what keeps the last one from it, or
    with *every* the first.
    """
    wanted = [role for role in supervisor.daemons if role.startswith("broker")]
    found: list[NodeStatus] = []
    until = time.monotonic() + JOIN_S
    with PipelineManager(supervisor.api, deadline_s=ASK_S, access=supervisor.access) as manager:
        while time.monotonic() < until:
            supervisor.check_started()
            try:
                nodes = manager.cluster().nodes
            except Unreachable:
                continue
            found = [n for n in nodes if n.role == "broker" and n.state == "up"]
            failures = [supervisor.failures[role] for role in wanted if role in supervisor.failures]
            if failures and (every or len(failures) == len(wanted)):
                raise not_started(failures)
            if found and len(found) >= len(wanted) - len(failures):
                return found
            time.sleep(ASK_PAUSE_S)
    if found and not every:
        return found
    if late := [role for role in wanted if " on " in role]:
        raise ClusterError(f"Not all of these joined within {JOIN_S:g} s: {', '.join(late)}.")
    raise ClusterError(
        f"The Broker did not join within {JOIN_S:g} s.",
        remedy="Do its workers modules or its store take that long to load?",
    )


def not_started(failures: list[PypelininError]) -> PypelininError:
    """One error of several."""
    first, *others = failures
    if not others:
        return first
    return ClusterError(" ".join(one.what for one in failures), remedy=first.remedy)
