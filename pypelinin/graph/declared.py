"""What a front-end declares of a job for the engine, and what the engine keeps of its success.

A `Declared` is structure only: no function, no data, no needs. Jobs are numbered in the order
in which they are declared, and may only name jobs before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pypelinin.graph.fingerprint import Fingerprint, Tags


class Policy(NamedTuple):
    """When a job is stale, who wants it, and whether its outputs outlive their consumers."""

    always: bool
    """Stale even if nothing changed; such a job has no record."""
    eager: bool
    """Wanted for itself; else it runs only for others."""
    keep: bool
    """Its outputs stay when their last consumer has settled."""
    recipe: bool = False
    """Read by running it where its consumer runs."""


ALWAYS = Policy(always=True, eager=True, keep=True)
OUTPUT = Policy(always=False, eager=True, keep=True)
CACHED = Policy(always=False, eager=False, keep=True)
EPHEMERAL = Policy(always=False, eager=False, keep=False)
RECIPE = Policy(always=False, eager=False, keep=False, recipe=True)
TOKEN = Policy(always=True, eager=True, keep=False)
"""Forgotten when it is done and all that read it are settled."""


class Input(NamedTuple):
    """A data edge: what is read of which job."""

    upstream: int
    outputs: tuple[str, ...] | None = None
    """Names of the outputs that are read; None: all."""
    even_if_failed: bool = False
    """A failed upstream counts as an absent value; only into jobs that are `always`."""


class After(NamedTuple):
    """An order-only edge."""

    upstream: int
    even_if_failed: bool = False


class Record(NamedTuple):
    """What a job's last success was made from, by names that mean the same in the next run."""

    spec: Tags
    outputs: dict[str, Tags]
    inputs: dict[tuple[str, str], Tags]
    """By (name of the job, name of its output)."""


@dataclass(slots=True)
class Declared:
    """One job of a graph."""

    policy: Policy = ALWAYS
    inputs: Sequence[Input] = ()
    after: Sequence[After] = ()
    name: str = ""
    """The same in every run of this graph; needed where a record names it."""
    spec: Tags = ()
    """What the job does: its code and parameters."""
    outputs: tuple[str, ...] = ("",)
    keep: tuple[bool, ...] | None = None
    """By output; None: as the policy says."""
    record: Record | None = None
    there: tuple[str, ...] | None = None
    """Outputs that exist now; None: ask (`look`), or all of what is given."""
    given: Fingerprint | None = None
    """It enters as settled, with this fingerprint."""
    invariant: bool = False
    """Given, and nothing that could run stands behind it."""
    keyed: bool = False
    """Its outputs lie in a store under a key made of its spec and its inputs' fingerprints."""
    final: bool = False
    """Decided when everything that is not final is."""
    reload: bool = False
    """Counts as changed in this run."""


@dataclass(slots=True)
class Expansion:
    """Jobs and edges that a finished job brings.

    Numbers below 0 name new jobs: -1 is the first of *jobs*, -2 the second.
    """

    jobs: list[Declared] = field(default_factory=list)
    inputs: list[tuple[int, Input]] = field(default_factory=list)
    """(job that gains it, data edge)."""
    after: list[tuple[int, After]] = field(default_factory=list)
    """(job that gains it, order-only edge)."""
