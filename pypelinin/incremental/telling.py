"""Why a job runs, waits or rests, in the words of people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pypelinin.engine import entry as why
from pypelinin.engine import table
from pypelinin.graph.fingerprint import Tags, same
from pypelinin.incremental.reasons import TEXTS

if TYPE_CHECKING:
    from pypelinin.engine.entry import Entry
    from pypelinin.incremental.running import Running

NAMED_MAX = 3


def told(running: Running, number: int) -> Iterator[str]:
    """What is known of a job of a run that goes on, as lines."""
    entry = running.run.jobs.get(number)
    job = running.jobs[number]
    if entry is None:
        yield f"{job}: it has ended, and nobody will ask for it again."
        return
    yield f"{job}: {_state(running, number, entry)}"
    if reason := TEXTS.get(entry.why):
        yield f"  {reason}"
    record = entry.record
    if entry.why == why.INPUT and record is not None:
        now = why.inputs_now(entry)
        changed = [name for (_, name), tags in now.items() if _differs(record.inputs, name, tags)]
        yield f"  changed: {', '.join(changed[:NAMED_MAX])}"
    waits_for = [up.name for up, _, _ in entry.inputs if table.OPEN[up.state]]
    if waits_for and table.OPEN[entry.state] and entry.state != table.READY:
        more = f" and {len(waits_for) - NAMED_MAX} more" if len(waits_for) > NAMED_MAX else ""
        yield f"  waits for {', '.join(waits_for[:NAMED_MAX])}{more}"


def _differs(recorded: Mapping[tuple[str, str], Tags], name: str, tags: Tags) -> bool:
    return not any(known[1] == name and same(old, tags) for known, old in recorded.items())


def _state(running: Running, number: int, entry: Entry) -> str:
    if entry.state != table.READY:
        return table.MEANING[entry.state]
    job = running.jobs[number]
    if any(working.job is job for working in running.working()):
        return "it runs"
    return "it can begin as soon as there is room"
