"""A Run as bytes and back, and as the declaration of another try.

Only between events: the work lists are empty then. A thawed Run asks again for what it had
asked for (looks and hand-outs are set unions for whoever obeys).
"""

from __future__ import annotations

from typing import Any

import msgpack

from pypelinin.engine.entry import Entry, has, is_broken, record_of, repeatable
from pypelinin.engine.run import Run
from pypelinin.engine.table import DONE, KEPT
from pypelinin.graph.declared import After, Declared, Input, Policy, Record
from pypelinin.graph.graph import order

VERSION = 2
_SETS = ("all", "kept", "there", "altered", "lost")
_EDGES = ("inputs", "after", "consumers", "followers", "record")
_FIELDS = tuple(name for name in Entry.__slots__ if name not in _EDGES + _SETS)
_RUN = tuple(
    "next_number closed cancelled barrier _open _holding _broken _ended _refused _upsets".split()
)


def freeze(run: Run) -> bytes:
    """All of *run*; equal Runs give equal bytes."""
    jobs = [
        (
            [getattr(job, name) for name in _FIELDS],
            [_packed(getattr(job, name)) for name in _SETS],
            [(up.number, _packed(outputs), tolerant) for up, outputs, tolerant in job.inputs],
            [(up.number, tolerant) for up, tolerant in job.after],
            job.record,
        )
        for job in _everyone(run)
    ]
    fields = [getattr(run, name) for name in _RUN]
    told = run.commands  # looks and hand-outs are told again anyway
    untaken = (told.forget, list(told.remember.items()), told.release, told.kill)
    frozen: bytes = msgpack.packb((VERSION, fields, list(run.jobs), jobs, untaken))
    return frozen


def thaw(frozen: bytes) -> Run:
    """The Run again. Raises ValueError for another version's bytes."""
    version, *rest = msgpack.unpackb(frozen, use_list=False, strict_map_key=False)
    if version != VERSION:
        raise ValueError(f"a Run frozen by version {version} of the engine, not {VERSION}")
    fields, numbers, jobs, (forget, remember, release, kill) = rest
    run = Run(closed=False)
    everyone: dict[int, Entry] = {}
    for plain, sets, *_ in jobs:
        job = Entry(0, Declared())
        for name, value in zip(_FIELDS + _SETS, (*plain, *map(_unpacked, sets)), strict=True):
            setattr(job, name, value)
        everyone[job.number] = job
    for job, (_, _, inputs, after, record) in zip(everyone.values(), jobs, strict=True):
        job.record = None if record is None else Record(*record)
        job.inputs = [(everyone[n], _unpacked(outputs), ok) for n, outputs, ok in inputs]
        job.after = [(everyone[n], ok) for n, ok in after]
    run.jobs = {number: everyone[number] for number in numbers}
    for name, value in zip(_RUN, fields, strict=True):
        setattr(run, name, value)
    for job in run.jobs.values():
        run.restore(job)
    run.commands.forget += forget
    run.commands.remember.update((number, Record(*record)) for number, record in remember)
    run.commands.release += release
    run.commands.kill += kill
    return run


def retry(run: Run) -> list[Declared]:
    """The jobs of a new Run of the same graph in which what succeeded is given.

    In an order of their own (`Declared.name` tells which is which), since jobs may have gained
    inputs that are younger. What was never decided comes with its record, as the world may have
    it; ask the front-end for newer facts. A success whose data is lost does not count where
    it is needed.
    """
    everyone = _everyone(run)
    edges = [(up, job) for job in everyone for up, _, _ in job.inputs]
    edges += [(up, job) for job in everyone for up, _ in job.after]
    jobs, _ = order(everyone, edges)
    gone = {job for job in jobs if job.number not in run.jobs}
    given = {job for job in jobs if job.state in (DONE, KEPT) and job.prints is not None}
    anew = {job for job in jobs if job.lost or is_broken(job)}
    for job in reversed(jobs):
        if job in anew:
            anew.update(
                up
                for up, outputs, _ in job.inputs
                if up in given and not has(up, outputs) and not repeatable(up)
            )
    given -= anew - gone
    number = {job: i for i, job in enumerate(jobs)}
    return [_again(job, number, job in given | gone, job in gone) for job in jobs]


def _again(job: Entry, number: dict[Entry, int], given: bool, gone: bool) -> Declared:
    return Declared(
        policy=Policy(job.always, job.eager, False, job.recipe),
        inputs=[Input(number[up], up.names(mask), ok) for up, mask, ok in job.inputs],
        after=[After(number[up], ok) for up, ok in job.after],
        name=job.name,
        spec=job.spec,
        outputs=job.outputs,
        keep=tuple(bool(job.kept >> i & 1) for i in range(len(job.outputs))),
        record=(job.record if job.prints is None else record_of(job)) if job.recorded else None,
        there=job.names(job.there) if given else None,
        given=job.prints or ((),) * len(job.outputs) if given else None,
        invariant=job.invariant or gone,
        keyed=job.keyed,
        final=job.final,
        reload=job.reload and not given,
    )


def _everyone(run: Run) -> list[Entry]:
    """The jobs, and TOKENs that are gone but still name what was read, by number."""
    found = dict(run.jobs)
    for job in run.jobs.values():
        found.update((up.number, up) for up, _, _ in job.inputs)
        found.update((up.number, up) for up, _ in job.after)
    return [found[number] for number in sorted(found)]


def _packed(outputs: int) -> Any:
    """Sets of outputs have any number of bits, msgpack's ints 64."""
    return outputs if outputs < 1 << 63 else outputs.to_bytes(outputs.bit_length() // 8 + 1, "big")


def _unpacked(outputs: Any) -> int:
    return outputs if isinstance(outputs, int) else int.from_bytes(outputs, "big")
