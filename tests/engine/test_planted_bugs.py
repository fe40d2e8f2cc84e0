"""The campaign sees mistakes: each of these, planted in the engine, is caught by some seed."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

import pytest

from pypelinin.engine.run import Run
from tests.engine import campaign, world

SEEDS = 5_000
MODULES = tuple(f"pypelinin.engine.{name}" for name in ("core", "deciding", "declaring", "run"))

# name: (module, text, what stands there instead)
BUGS = {
    "a late outcome counts": (
        "run",
        "return job if job is not None and job.state == READY else None",
        "return job",
    ),
    "decisions before requests": (
        "core",
        "            if asks:\n                self._ask(asks.pop())\n            elif breaks:",
        "            if asks and not looks:\n"
        "                self._ask(asks.pop())\n            elif breaks:",
    ),
    "outputs are written under their readers": (
        "deciding",
        "if job.promised and is_read(job):",
        "if False:",
    ),
    "order-only edges do not hold a decision": (
        "deciding",
        "or self._is_held(job) or",
        "or",
    ),
    "order-only edges do not hold a start": (
        "deciding",
        "            if up.state in (WANTED, READY):\n                return\n",
        "            pass\n",
    ),
    "released although a consumer failed": (
        "core",
        "if job.open or job.marks or self.cancelled:",
        "if job.open or self.cancelled:",
    ),
    "nobody hands on what a consumer may need": (
        "core",
        "broken or lost or (job.marks > 0 and not stands(job))",
        "broken or lost",
    ),
    "released before the last consumer": (
        "core",
        "if job.open or job.marks or self.cancelled:",
        "if job.open > 1 or job.marks or self.cancelled:",
    ),
    "a fingerprint is announced before the run": (
        "deciding",
        "        reason = changed(job)\n",
        "        reason = changed(job)\n"
        "        if reason and job.record:\n"
        "            self._announce(job)\n"
        "            self._stir(job)\n",
    ),
    "what nobody needs rests for ever": (
        "core",
        "            if not job.open:\n                self._unneeded(job)\n            elif",
        "            if False:\n                self._unneeded(job)\n            elif",
    ),
    "a broken promise passes": (
        "run",
        "elif job.promised and not all(map(same, job.prints or (), prints)):",
        "elif False:",
    ),
    "the failure of a lazy job blocks who comes after": (
        "deciding",
        "if up.eager and not tolerant and is_broken(up):",
        "if not tolerant and is_broken(up):",
    ),
    "a failure after a known fingerprint blocks": (
        "core",
        "short = unknown if other.state == WAITING else",
        "short = True if other.state == WAITING else",
    ),
    "who was blocked by a wait is not looked at again": (
        "core",
        "            elif OPEN[other.state] or other.state >= FAILED:\n"
        "                self._queue(other)\n"
        "        for other, tolerant",
        "        for other, tolerant",
    ),
    "no record is written": ("run", "            self._remember(job)\n", "            pass\n"),
    "no record is forgotten": (
        "deciding",
        "        self._forget(job)\n",
        "",
    ),
    "final jobs are decided early": (
        "deciding",
        "if not job.final or (self.barrier and not self._broken):",
        "if not job.final or not self._broken:",
    ),
    "final jobs do not mind failures": (
        "deciding",
        "if not job.final or (self.barrier and not self._broken):",
        "if not job.final or self.barrier:",
    ),
    "an absent target is not made": (
        "deciding",
        "if not reason and job.eager and job.kept & ~job.there:",
        "if False:",
    ),
    "woken per job, not per output": (
        "deciding",
        "elif has(up, outputs) or (tolerant and is_broken(up)):\n                    continue",
        "elif has(up, up.all) or (tolerant and is_broken(up)):\n                    continue",
    ),
    "what vanished still counts": ("run", "            up.there &= ~gone\n", ""),
    "an altered temp counts as there": (
        "run",
        "job.there = job.mask(there) & ~(job.altered & ~job.kept)",
        "job.there = job.mask(there)",
    ),
    "a record is not refreshed": (
        "deciding",
        "        if record.inputs != why.inputs_now(job) or record.spec != job.spec:\n"
        "            self._remember(job)\n",
        "",
    ),
    "a run goes on after its cancel": (
        "run",
        "elif job.state in (WAITING, WANTED) or (",
        "elif job.state in (WAITING,) or (",
    ),
    "the barrier opens beside a running job": (
        "core",
        "elif self._holding == 0 and self.closed",
        "elif self._holding <= 1 and self.closed",
    ),
    "a broken TOKEN is forgotten": (
        "core",
        "            if token and is_spared(job) and",
        "            if token and",
    ),
}


def planted(name: str) -> type[Run]:
    """The engine with one of these mistakes in it."""
    place, right, wrong = BUGS[name]
    kept = {module: sys.modules[module] for module in MODULES}
    try:
        for module in MODULES:
            path = kept[module].__file__ or ""
            with open(path, encoding="utf-8") as file:
                source = file.read()
            if module.endswith("." + place):
                assert right in source, f"{name}: the text is not there any more"
                source = source.replace(right, wrong, 1)
            twin = ModuleType(module)
            twin.__file__ = path
            sys.modules[module] = twin
            exec(compile(source, path, "exec"), twin.__dict__)
        run: type[Run] = sys.modules[MODULES[-1]].Run
        return run
    finally:
        sys.modules.update(kept)


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run = planted(name)
    frozen = importlib.import_module("pypelinin.engine.frozen")
    for place in (campaign, world, frozen):
        monkeypatch.setattr(place, "Run", run)
    for seed in range(SEEDS):
        for jobs in (3, 4, 5):
            for attack in (campaign.sample, campaign.wild):
                try:
                    attack(seed, jobs)
                except Exception:
                    return
    pytest.fail("nothing was seen")
