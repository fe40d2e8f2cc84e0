"""Deciding what a job does, and starting it: the two looks at a job that is not at its end."""

from __future__ import annotations

from pypelinin.engine import entry as why
from pypelinin.engine.core import Core
from pypelinin.engine.entry import Entry, changed, has, is_broken, is_read
from pypelinin.engine.table import (
    BLOCKED,
    DORMANT,
    HOLDS,
    KEPT,
    OPEN,
    READY,
    WANTED,
)


class Deciding(Core):
    def _decide(self, job: Entry) -> None:
        """WAITING: does it run, rest, or stand?"""
        if not job.eager and not job.open:
            self._unneeded(job)
            return
        if not self._knows_inputs(job) or self._is_held(job) or not self._passes_barrier(job):
            return
        if not job.facts:
            if not job.looking:  # keyed: its key is known only now
                job.looking = True
                self.commands.look.append(job.number)
            return
        reason = changed(job)
        if not reason and job.eager and job.kept & ~job.there:
            reason = why.ABSENT
        if reason:
            self._want(job, reason)
            return
        self._announce(job)
        if job.recipe or job.all & ~job.there:
            self._move(job, DORMANT)
            self._stir(job)
            if not job.open:
                self._queue(job)
        else:
            self._settle(job, KEPT)

    def _knows_inputs(self, job: Entry) -> bool:
        inputs, i = job.inputs, job.cursor
        while i < len(inputs):
            up, _, tolerant = inputs[i]
            if up.prints is None:
                if not is_broken(up):
                    break
                if not tolerant:
                    self._break(job, BLOCKED, why.BROKEN, up.number)
                    return False
            i += 1
        job.cursor = i
        return i == len(inputs)

    def _is_held(self, job: Entry) -> bool:
        """Whether an order-only upstream has neither a fingerprint nor an end yet."""
        after, i = job.after, job.held
        while i < len(after):
            up, tolerant = after[i]
            if up.prints is None:
                if OPEN[up.state]:
                    break
                if up.eager and not tolerant and is_broken(up):
                    self._break(job, BLOCKED, why.BROKEN, up.number)
                    return True
            i += 1
        job.held = i
        return i < len(after)

    def _passes_barrier(self, job: Entry) -> bool:
        if not job.final or (self.barrier and not self._broken):
            return True
        if self.barrier:
            self._break(job, BLOCKED, why.BARRIER, None)
        return False

    def _announce(self, job: Entry) -> None:
        """Its fingerprint is known before it runs; its consumers may go by it."""
        job.promised = True
        record = job.record
        if job.keyed or record is None:
            job.prints = why.key_prints(job)
            return
        job.prints = tuple(record.outputs[name] for name in job.outputs)
        if record.inputs != why.inputs_now(job) or record.spec != job.spec:
            self._remember(job)

    def _want(self, job: Entry, reason: int, woken: bool = False) -> None:
        job.why, job.woken, job.cursor = reason, woken, -1
        self._move(job, WANTED)
        if job.there:
            self._upsets += 1
        self._queue(job)

    def _start(self, job: Entry) -> None:
        """WANTED: hand it out if all is there and nobody is in the way."""
        if job.woken or not job.eager:
            if not job.open:
                self._unneeded(job)
                return
            if self._looks:
                self._late.append(job)
                return
        if job.inputs and not self._has_inputs(job):
            return
        for up, _ in job.after:
            if up.state in (WANTED, READY):
                return
        if job.promised and is_read(job):
            self._refused = True
            return
        self._forget(job)
        self._move(job, READY)
        for up, _, _ in job.inputs:
            if not up.always:
                up.readers += 1
                up.ran = up.ran or up.recipe
        self.commands.run.append(job.number)

    def _has_inputs(self, job: Entry) -> bool:
        inputs, i = job.inputs, job.cursor
        while 0 <= i < len(inputs):
            up, outputs, tolerant = inputs[i]
            if not (up.recipe or has(up, outputs) or (tolerant and is_broken(up))):
                if HOLDS[up.state]:
                    job.cursor = i
                    return False
                break
            i += 1
        job.cursor = -1
        return self._obtains(job)

    def _obtains(self, job: Entry) -> bool:
        """Whether all that *job* reads is there, through recipes too; wakes what is not."""
        complete, cacheable = True, True
        stack, recipes = [job], dict.fromkeys((job,))
        while stack:
            reader = stack.pop()
            for up, outputs, tolerant in reader.inputs:
                if up.recipe and not is_broken(up):
                    if up.sound != self._upsets and up not in recipes:
                        recipes[up] = None
                        stack.append(up)
                elif has(up, outputs) or (tolerant and is_broken(up)):
                    continue
                elif not self._wake(up, outputs, job):
                    return False
                else:
                    complete = False
            if reader is not job and reader.after:
                cacheable = False
                complete = complete and not any(
                    up.state in (WANTED, READY) for up, _ in reader.after
                )
        if complete and cacheable:
            for recipe in recipes:
                if recipe is not job or not job.after:  # its readers wait for those, too
                    recipe.sound = self._upsets
        elif not complete:
            job.cursor = 0
        return complete

    def _wake(self, up: Entry, outputs: int, job: Entry) -> bool:
        """Have absent *outputs* made for *job*; False if that cannot be, and *job* is blocked."""
        if HOLDS[up.state]:
            return True
        if is_broken(up):
            self._break(job, BLOCKED, why.BROKEN, up.number)
            return False
        if up.state != DORMANT:
            up.lost |= outputs & ~up.there
        if up.lost & outputs:
            self._break(job, BLOCKED, why.LOST, up.number)
            return False
        self._want(up, why.WOKEN, woken=True)
        return True
