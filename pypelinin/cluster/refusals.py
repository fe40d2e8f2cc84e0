"""Every typed "no" of the Router, in one place; `wire.refusal_error` makes the exception."""

from __future__ import annotations

from difflib import get_close_matches

from pypelinin.wire.definitions import Refusal, is_own, offered

REMEDIES = {
    "malformed": "Is the client of the same version? `pypelinin --version` tells.",
    "busy": "Try again in a moment.",
    "conflict": "Give another key, or submit exactly the same definition.",
    "not found": "`pypelinin list` shows the runs; finished ones are kept for 7 days.",
    "version": "Install the same version of pypelinin on both sides.",
}


def refuse(code: str, what: str, remedy: str = "") -> Refusal:
    return Refusal(code, what, remedy or REMEDIES.get(code, ""))


def no_room(short: str) -> Refusal:
    """The journal's disk is full, as *short* says."""
    remedy = "Make room on it and try again: the Router goes on by itself."
    return refuse("busy", f"{short} What runs is still recorded, nothing new is taken.", remedy)


def unknown_worker(worker: str, known: list[str]) -> Refusal:
    if worker.startswith("call:"):
        wanted, pythons = (
            offered(worker)[5:],
            ", ".join(name[5:] for name in known if name.startswith("call:")),
        )
        return refuse(
            "version",
            f"No Broker runs functions of Python {wanted}; they have {pythons or 'none'}.",
            "Use the same Python minor version here and on the nodes: a function is bytecode.",
        )
    known = [name for name in known if not is_own(name)]
    close = get_close_matches(worker, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return refuse(
        "unknown worker",
        f"No Broker offers a worker {worker!r}.{hint} Known: {', '.join(known) or 'none'}.",
        "Start a Broker with the module that has it in __all__, or submit with "
        "queue_anyway=True (--queue-anyway) to wait for one.",
    )


def too_large(worker: str, wanted: str, nodes: list[str]) -> Refusal:
    what = "a function of this run" if worker.startswith("call:") else repr(worker)
    return refuse(
        "impossible",
        f"No node could ever run {what}: it needs {wanted}. Nodes: {'; '.join(nodes)}.",
        "Ask for less, start a larger Broker, or submit with queue_anyway=True (--queue-anyway).",
    )


def no_such_node(name: str, known: list[str]) -> Refusal:
    close = get_close_matches(name, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return refuse(
        "not found",
        f"There is no node {name[:100]!r}.{hint} Known: {', '.join(known) or 'none'}.",
        "`pypelinin nodes` lists them.",
    )


def no_such_labels(worker: str, labels: dict[str, str], nodes: list[str]) -> Refusal:
    wanted = ", ".join(f"{key}={value}" for key, value in labels.items())
    which = "" if worker.startswith("call:") else f" with worker {worker!r}"
    return refuse(
        "impossible",
        f"No node{which} carries the labels {wanted}. Nodes: {'; '.join(nodes)}.",
        "Start a Broker with --label, or submit with queue_anyway=True (--queue-anyway).",
    )
