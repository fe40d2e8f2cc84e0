"""Who may send what to the Router: one table over all messages, and why not.

Every message of `wire.messages` has an entry; what only the Router itself sends is nobody's.
"""

from __future__ import annotations

from collections.abc import Mapping

from pypelinin.wire import messages
from pypelinin.wire.codec import Record
from pypelinin.wire.definitions import Refusal

VIEWER, CLIENT, BROKER, PIPELINER, ADMIN = "viewer", "client", "broker", "pipeliner", "admin"
ROLES = (VIEWER, CLIENT, BROKER, PIPELINER, ADMIN)

LOOK = frozenset({VIEWER, CLIENT, ADMIN})
"""Requests that change nothing."""
USE = frozenset({CLIENT, ADMIN})
"""To submit, to cancel, and to have results."""
OPERATE = frozenset({ADMIN})
"""What concerns the cluster itself, or everybody's runs."""
NODE = frozenset({BROKER})
PLAN = frozenset({PIPELINER})
MEMBER = frozenset({BROKER, PIPELINER})
KEY_CODES = ("key", "role")
"""Refusals that another key would not get."""
EVERYBODY = frozenset(ROLES)
NOBODY: frozenset[str] = frozenset()

SENDERS: dict[type[Record], frozenset[str]] = {
    messages.GetConfiguration: EVERYBODY,
    messages.GetStatus: LOOK,
    messages.GetPipelines: LOOK,
    messages.GetCluster: LOOK,
    messages.GetDefinition: LOOK,
    messages.ExplainJob: LOOK,
    messages.GetLogs: LOOK,
    messages.GetResults: USE,
    messages.AddPipeline: USE,
    messages.AddJobs: USE,
    messages.Cancel: USE,
    messages.CancelJobs: USE,
    messages.ReleaseResults: USE,
    messages.PauseRuns: USE,
    messages.RetryRun: USE,
    messages.DrainNodes: OPERATE,
    messages.JoinBroker: NODE,
    messages.GetJob: NODE,
    messages.JobsFinished: NODE,
    messages.JobsReturned: NODE,
    messages.Evidence: NODE,
    messages.NodeSample: NODE,
    messages.JoinPipeliner: PLAN,
    messages.AddJob: PLAN,
    messages.PipelineSettled: PLAN,
    messages.Ping: MEMBER,
    messages.Resend: MEMBER,
    messages.Rejoin: MEMBER,
    messages.Leave: MEMBER,
    messages.Configuration: NOBODY,
    messages.PipelineAdded: NOBODY,
    messages.Status: NOBODY,
    messages.PipelineFinished: NOBODY,
    messages.KillJobs: NOBODY,
    messages.Cluster: NOBODY,
    messages.Definition: NOBODY,
    messages.Results: NOBODY,
    messages.JobsDone: NOBODY,
    messages.Refused: NOBODY,
    messages.Welcome: NOBODY,
    messages.Wait: NOBODY,
    messages.JobsOut: NOBODY,
    messages.DropJobs: NOBODY,
    messages.ForgetRuns: NOBODY,
    messages.AssignRuns: NOBODY,
    messages.JobsSettled: NOBODY,
    messages.Withdraw: NOBODY,
    messages.SetDraining: NOBODY,
    messages.Explanation: NOBODY,
    messages.Logs: NOBODY,
}
VALUE_VERBS: dict[bytes, frozenset[str]] = {
    b"get": USE | NODE,
    b"put": USE | NODE,
    b"close": USE | NODE,
}
"""Who may ask the value server for what."""

_WORDS: Mapping[type[Record], str] = {
    messages.AddPipeline: "submit",
    messages.AddJobs: "add jobs",
    messages.Cancel: "cancel",
    messages.CancelJobs: "cancel",
    messages.GetResults: "read results",
    messages.PauseRuns: "pause runs",
    messages.RetryRun: "retry runs",
    messages.DrainNodes: "drain nodes",
    messages.JoinBroker: "run jobs",
    messages.JoinPipeliner: "plan runs",
}
ACTS: Mapping[type[Record], str] = {
    messages.AddJobs: "add jobs",
    messages.Cancel: "cancel",
    messages.CancelJobs: "cancel jobs",
    messages.PauseRuns: "pause",
    messages.RetryRun: "retry",
    messages.JoinBroker: "join",
    messages.JoinPipeliner: "join",
}
"""What is written down when it is allowed, and how it is called there; see `act_of`."""


def is_allowed(role: str, kind: type[Record]) -> bool:
    return role in SENDERS.get(kind, NOBODY)


def act_of(kind: type[Record]) -> str:
    """How a message is called in the audit log; "" if it is not worth a line."""
    operation = messages.NAMES[kind] if SENDERS.get(kind) == OPERATE else ""
    return ACTS.get(kind, operation)


def wrong_role(name: str, role: str, kind: type[Record]) -> Refusal:
    """What the holder of a key is told who may not send such a message."""
    word = _WORDS.get(kind, f"send {messages.NAMES[kind]!r}")
    able = [role for role in ROLES if role in SENDERS.get(kind, NOBODY)]
    remedy = f"Ask for a key with the role {' or '.join(able)}." if able else "No role may."
    return Refusal("role", f"Your key {name!r} has the role {role}, which may not {word}.", remedy)


def not_valid(name: str) -> Refusal:
    """What the holder of a key is told that is no longer valid."""
    return Refusal(
        "key",
        f"Your key {name!r} is not valid any more: it was revoked or changed.",
        "Ask whoever runs the Router for a new access file.",
    )
