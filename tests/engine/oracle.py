"""What must happen in a run, straight from the definitions; no order, no events, no engine.

For worlds in which jobs are pure, nothing vanishes, nothing expands and nobody cancels. With
failures several ends may be right for some jobs, since it depends on time how far work that
turns out to be in vain had come; the oracle gives all that are allowed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pypelinin.engine.table import BLOCKED, DONE, FAILED, KEPT, UNUSED
from tests.engine.world import JobCase, World

YES, MAYBE, NO = "yes", "maybe", "no"


@dataclass
class Expected:
    verdicts: list[set[int]] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)
    """Whether each job is started: yes, maybe or no."""


class Oracle:
    """One run of *world* in which the jobs of *failing* fail if they are started."""

    def __init__(self, world: World, failing: frozenset[int]) -> None:
        self.world = world
        self.case = world.case
        self.failing = failing
        count = len(self.case)
        self.asked = self._asked()
        self.decision = [""] * count
        """'' never asked, blocked, run, rest (unchanged with something absent), keep."""
        self.prints: list[dict[str, int] | None] = [None] * count
        self.woken = [NO] * count
        self.ends: list[set[str]] = [set() for _ in self.case]
        """What a start of the job may end in: well, badly, blocked."""
        self.unsure: set[int] = set()
        """Time decides what these see: whether an input that is there breaks by a repeat."""
        self.in_doubt: set[int] = set()
        """Time decides whether these are blocked, whatever they were to do."""

    def _asked(self) -> list[bool]:
        asked = [job.policy.eager for job in self.case]
        for number in reversed(range(len(self.case))):
            if asked[number]:
                for up, _, _ in self.case[number].reads:
                    asked[up] = True
        return asked

    # --- decisions, upstreams first ------------------------------------------------------------

    def expect(self) -> Expected:
        order = sorted(range(len(self.case)), key=lambda number: self.case[number].final)
        for number in order:
            if self.asked[number]:
                self._decide(number)
        for number in reversed(order):
            self._wake_inputs(number)
        expected = Expected()
        for number, job in enumerate(self.case):
            expected.verdicts.append(self._verdicts(number, job))
            expected.starts.append(self._starts(number))
        return expected

    def broken(self, number: int) -> bool:
        """It has no fingerprint and will not get one."""
        return self.decision[number] == "blocked" or (
            self.decision[number] == "run" and "well" not in self.ends[number]
        )

    def _decide(self, number: int) -> None:
        job = self.case[number]
        if self._is_unsure(number, job):
            self.unsure.add(number)
        strict = [up for up, _, tolerant in job.reads if not tolerant]
        before = [up for up, tolerant in job.after if self.case[up].policy.eager and not tolerant]
        if any(map(self.broken, strict + before)) or (job.final and self._anything_broke()):
            self.decision[number] = "blocked"
            return
        stale = self._is_stale(number, job)
        there = {output: self._stands(number, output) for output in job.outputs}
        kept_absent = any(job.keeps(output) and not there[output] for output in job.outputs)
        if stale or (job.policy.eager and kept_absent):
            self.decision[number] = "run"
        elif job.policy.recipe or not all(there.values()):
            self.decision[number] = "rest"
        else:
            self.decision[number] = "keep"
        if self._is_in_doubt(job):
            self.in_doubt.add(number)
        self.ends[number] = self._ends(number)
        if self.decision[number] != "run" or "well" in self.ends[number]:
            self.prints[number] = self._fingerprint(number)

    def _is_unsure(self, number: int, job: JobCase) -> bool:
        troubled = {n for n, ends in enumerate(self.ends) if ends - {"well"} and not self.broken(n)}
        shaky = troubled | self.unsure
        needs = self._needs(number)
        if any(up in shaky and (tolerant or up in self.unsure) for up, _, tolerant in needs):
            return True
        return any(up in self.unsure for up, _ in job.after) or (job.final and bool(shaky))

    def _anything_broke(self) -> bool:
        """Whether a job that is not final has broken when the final ones are decided."""
        return any(self.broken(n) for n, job in enumerate(self.case) if not job.final)

    def _fingerprint(self, number: int) -> dict[str, int]:
        """What it writes, or wrote: jobs are pure, so this is what is true."""
        without = frozenset(
            (reader, up)
            for reader, job in enumerate(self.case[: number + 1])
            for up, _, tolerant in job.reads
            if tolerant and self.broken(up)
        )
        outputs = self.case[number].outputs
        return {output: self.world.truth(number, output, without) for output in outputs}

    def _is_stale(self, number: int, job: JobCase) -> bool:
        record = self.world.records.get(number)
        if job.policy.always or record is None:
            return True
        text = b"%d.%d" % (self.world.version[number], self.world.touched[number])
        if record.spec != (("text", text),) or set(record.outputs) != set(job.outputs):
            return True
        now = {
            (f"j{up}", name): (self.prints[up] or {})[name]
            for up, names, _ in job.reads
            for name in names
        }
        recorded = {key: dict(tags)["content"] for key, tags in record.inputs.items()}
        if {key: b"%d" % value for key, value in now.items()} != recorded:
            return True
        for output in job.outputs:
            found = self.world.data.get((number, output))
            if found is None or not job.keeps(output):
                continue
            if dict(record.outputs[output])["content"] != b"%d" % found:
                return True
        return False

    def _absent(self, up: int, names: tuple[str, ...]) -> bool:
        if self.case[up].policy.recipe:
            return False
        if self.decision[up] == "run":
            return False  # it writes all of them, or is broken
        return any(not self._stands(up, name) for name in names)

    def _stands(self, up: int, name: str) -> bool:
        found = self.world.data.get((up, name))
        if found is None:
            return False
        if self.case[up].keeps(name):
            return True
        record = self.world.records.get(up)  # an altered left-over counts as absent
        return record is not None and dict(record.outputs[name])["content"] == b"%d" % found

    def _needs(self, number: int) -> list[tuple[int, tuple[str, ...], bool]]:
        """What a start of the job reads, through recipes."""
        found = []
        for up, names, tolerant in self.case[number].reads:
            found.append((up, names, tolerant))
            if self.case[up].policy.recipe and not self.broken(up):
                found += [(n, o, ok or tolerant) for n, o, ok in self._needs(up)]
        return found

    def _is_in_doubt(self, job: JobCase) -> bool:
        """Whether something that it waits for may break before its fingerprint is known."""
        before = [up for up, _, tolerant in job.reads if not tolerant]
        before += [up for up, tolerant in job.after if self.case[up].policy.eager and not tolerant]
        return any(
            up in self.in_doubt or (self.decision[up] == "run" and "blocked" in self.ends[up])
            for up in before
        )

    def _ends(self, number: int) -> set[str]:
        """What becomes of the job if it is to run."""
        in_time = number not in self.in_doubt
        for up, names, tolerant in self._needs(number):
            lost = self._absent(up, names) and "well" not in self.ends[up]
            if not tolerant and (lost or self.broken(up)):
                return {"blocked"}
            # one that is there may break by a repeat for somebody else
            in_time = in_time and (tolerant or not self.ends[up] - {"well"})
        own = "badly" if number in self.failing else "well"
        return {own} if in_time else {own, "blocked"}

    # --- who is woken, downstreams first -------------------------------------------------------

    def _starts(self, number: int) -> str:
        if number in self.unsure:
            return MAYBE
        if self.decision[number] == "run":
            if "blocked" in self.ends[number]:
                return NO if self.ends[number] == {"blocked"} else MAYBE
            return YES if self._surely_wanted(number) else MAYBE
        if self.decision[number] == "rest":
            if self.ends[number] == {"blocked"}:
                return NO
            if self.case[number].policy.recipe:
                return NO
            return MAYBE if "blocked" in self.ends[number] else self.woken[number]
        return NO

    def _surely_wanted(self, number: int) -> bool:
        """Eager, or a consumer is sure to wait until it has run."""
        if number in self.unsure:
            return False
        if self.case[number].policy.eager:
            return True
        return any(
            any(up == number for up, _, _ in job.reads)
            and self.asked[other]
            and self.decision[other] != "blocked"
            and "blocked" not in self.ends[other]
            and self._surely_wanted(other)
            for other, job in enumerate(self.case)
        )

    def _wake_inputs(self, number: int) -> None:
        wanted = self._wanted(number)
        if wanted == NO:
            return
        sure = wanted == YES and "blocked" not in self.ends[number]
        for up, names, _ in self._needs(number):
            if self.decision[up] == "rest" and self._absent(up, names):
                if sure:
                    self.woken[up] = YES
                elif self.woken[up] == NO:
                    self.woken[up] = MAYBE

    def _wanted(self, number: int) -> str:
        if number in self.unsure:
            return MAYBE
        if self.decision[number] == "run":
            return YES if self._surely_wanted(number) else MAYBE
        return self.woken[number] if self.decision[number] == "rest" else NO

    # --- verdicts ------------------------------------------------------------------------------

    def _verdicts(self, number: int, job: JobCase) -> set[int]:
        found = self._verdicts_of_its_own(number, job)
        return found | {BLOCKED} if number in self.in_doubt else found

    def _verdicts_of_its_own(self, number: int, job: JobCase) -> set[int]:
        decision, ends = self.decision[number], self.ends[number]
        if number in self.unsure:
            return {DONE, KEPT, UNUSED, FAILED, BLOCKED}
        if decision == "":
            return {UNUSED}
        lazy = not job.policy.eager
        if decision == "blocked":
            return {BLOCKED, UNUSED} if lazy else {BLOCKED}
        if decision == "keep":
            return {KEPT, UNUSED} if lazy and self._may_be_left(number) else {KEPT}
        if job.policy.recipe:
            return {DONE, KEPT, UNUSED, FAILED, BLOCKED} - (
                set() if self._troubled(number) else {FAILED, BLOCKED}
            )
        ended = {"well": DONE, "badly": FAILED, "blocked": BLOCKED}
        found = {ended[end] for end in ends}
        if decision == "run":
            if lazy and self._may_be_left(number):
                found.add(UNUSED)
            return found
        kept_absent = any(
            job.keeps(output) and not self._stands(number, output) for output in job.outputs
        )
        rests = UNUSED if kept_absent else KEPT
        if not lazy and BLOCKED in found:
            found = found - {BLOCKED} | {KEPT}  # its kept outputs stand
        if self.woken[number] == YES and "blocked" not in ends:
            return found
        if self.woken[number] == NO:
            found = set()
        if lazy and self._may_be_left(number):
            found.add(UNUSED)
        return found | {rests}

    def _troubled(self, number: int) -> bool:
        return bool(self.failing) or self.ends[number] != {"well"}

    def _may_be_left(self, number: int) -> bool:
        """Its consumers may all be over before it was decided or run."""
        consumers = [
            n for n, job in enumerate(self.case) if any(up == number for up, _, _ in job.reads)
        ]
        return all(
            not self.asked[n]
            or self.decision[n] == "blocked"
            or "blocked" in self.ends[n]
            or (not self.case[n].policy.eager and self._may_be_left(n))
            for n in consumers
        )
