"""The states of a job in a Run, and every way from one to another.

`TRANSITIONS` is the specification: tests let no other step pass and want to see each of
these; the table in the documents is printed from it.
"""

from __future__ import annotations

IDLE, WAITING, DORMANT, WANTED, READY, DONE, KEPT, UNUSED, FAILED, BLOCKED, CANCELLED = range(11)

NAMES = "IDLE WAITING DORMANT WANTED READY DONE KEPT UNUSED FAILED BLOCKED CANCELLED".split()

MEANING = {
    IDLE: "nobody has asked for it",
    WAITING: "asked for, not decided",
    DORMANT: "unchanged; its fingerprint is known from its record, its data is not there",
    WANTED: "it shall run as soon as what it reads is there",
    READY: "handed out",
    DONE: "it ran, and well",
    KEPT: "unchanged: what there is of it stands",
    UNUSED: "nobody needed it",
    FAILED: "it ran, and not well",
    BLOCKED: "something that it needs is broken or lost",
    CANCELLED: "somebody ended it",
}

OPEN = tuple(state in (WAITING, DORMANT, WANTED, READY) for state in range(11))
"""The run goes on while a job is in one of these."""
HOLDS = tuple(state in (WAITING, WANTED, READY) for state in range(11))
"""Final jobs wait while one that is not final is in one of these."""

TRANSITIONS = {
    (IDLE, WAITING): "it is eager, or an open consumer asks",
    (IDLE, UNUSED): "the run is over",
    (IDLE, CANCELLED): "cancel",
    (WAITING, WANTED): "decided: changed, or eager with a kept output absent",
    (WAITING, KEPT): "decided: unchanged, all outputs there",
    (WAITING, DORMANT): "decided: unchanged, something absent; every unchanged recipe",
    (WAITING, UNUSED): "its last consumer settled, and nothing is known of it",
    (WAITING, BLOCKED): "an input, or an eager job it comes after, broke without a fingerprint",
    (WAITING, CANCELLED): "cancel",
    (DORMANT, WANTED): "a consumer that is WANTED names an absent output",
    (DORMANT, DONE): "its last consumer settled; it ran or was read in this run",
    (DORMANT, KEPT): "its last consumer settled; its kept outputs are there",
    (DORMANT, UNUSED): "its last consumer settled; a kept output is absent",
    (DORMANT, FAILED): "a recipe that failed where a reader ran it",
    (DORMANT, BLOCKED): "a recipe with a broken input",
    (DORMANT, CANCELLED): "cancel",
    (WANTED, READY): "all it reads is there, nobody reads it, nothing it comes after runs",
    (WANTED, DONE): "woken again, and its last consumer settled",
    (WANTED, KEPT): "woken, and its last consumer settled; or its input broke and it is eager",
    (WANTED, UNUSED): "lazy, and its last consumer settled",
    (WANTED, BLOCKED): "an input is broken or lost",
    (WANTED, CANCELLED): "cancel",
    (READY, DONE): "success",
    (READY, DORMANT): "success of a recipe's own dispatch",
    (READY, FAILED): "failure, a refused expansion, or other content than announced",
    (READY, WANTED): "an input vanished, or a recipe it reads failed",
    (READY, CANCELLED): "killed",
    (
        DONE,
        DORMANT,
    ): "an output is absent, a consumer that is WANTED names it, and it can be repeated",
    (KEPT, DORMANT): "the same",
    (UNUSED, DORMANT): "the same",
    (UNUSED, WAITING): "a new consumer asks, and nothing is known of it",
}
