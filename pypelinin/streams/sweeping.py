"""The functions of a sweep's two frames, which run in slots.

The outer frame goes through the combinations, the inner one through the trials of one, of which it
keeps means and deviations only. Pure, but for what it tells on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NamedTuple

from pypelinin.errors import DefinitionError
from pypelinin.streams import tables
from pypelinin.streams.combinations import Combinations
from pypelinin.streams.inside.words import Args, Multiple
from pypelinin.streams.stopping import Rule, Tally

TRIALS_AT_ONCE = 2
"""So many new trials follow one that is done."""
COMBINATIONS_AT_ONCE = 16
"""For each CPU: a turn of the outer frame waits for the slowest of its combinations."""
TURNS_MAX = 64
"""Of the outer frame, whose store grows: it travels with each of them."""
ONE_DICT = "The result of a trial must be a single dict (cannot emit Multiple either)"


@dataclass(frozen=True, slots=True)
class Begin:
    """What enters the outer frame."""

    cpus: int


class Measured(NamedTuple):
    """What leaves the inner frame: of one combination all that its row needs, but the parameters.

    *numbers* are mean, deviation and error of each of *names*.
    """

    id: int
    trials: int
    names: tuple[str, ...]
    numbers: tuple[float, ...]


@dataclass(slots=True)
class Swept:
    """Of the outer frame: the combinations that are begun, and what was measured of the others."""

    begun: int = 0
    least: int = 0
    cpus: int = 1
    names: tuple[str, ...] = ()
    measured: list[tuple[int, int, tuple[float, ...]]] = field(default_factory=list)
    """Id, trials, numbers."""

    def emit(self) -> list[Measured]:
        """By id."""
        return [
            Measured(id, trials, self.names, numbers)
            for id, trials, numbers in sorted(self.measured)
        ]


@dataclass(frozen=True, slots=True)
class Combination:
    """What enters the inner frame."""

    id: int
    least: int
    cpus: int


@dataclass(slots=True)
class Tried:
    """Of the inner frame: the trials of one combination."""

    id: int = 0
    cpus: int = 1
    begun: int = 0
    done: int = 0
    failed: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)

    @property
    def under_way(self) -> int:
        return self.begun - self.done - self.failed

    def emit(self) -> Measured | None:
        if not self.done:
            return None
        names = tuple(sorted(self.tallies))
        tallies = [self.tallies[name] for name in names]
        numbers = [(tally.mean, tally.deviation, tally.error) for tally in tallies]
        return Measured(self.id, self.done, names, tuple(chain.from_iterable(numbers)))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be run; its methods are the functions of the frames."""

    combinations: Combinations
    rule: Rule
    shows_progress: bool = False
    is_tolerant: bool = False
    """A trial may fail, and then gives no result."""

    # --- combinations ------------------------------------------------------------------

    def go_on(self, store: Swept, first: object) -> Multiple | None:
        """The combinations to begin with, and again if some of them gave no row."""
        if not isinstance(first, Begin):
            raise DefinitionError(
                f"An init of a sweep added work ({first!r}).", remedy="Let it return nothing."
            )
        count, rule = len(self.combinations), self.rule
        if not store.begun:
            store.cpus = first.cpus
            store.least = min(rule.most, max(rule.least, store.cpus // count))
        at_once = max(COMBINATIONS_AT_ONCE * store.cpus, count // TURNS_MAX)
        left = count - store.begun
        return Multiple([self._begin(store) for _ in range(min(left, at_once))]) if left else None

    def _begin(self, store: Swept) -> Combination:
        started = Combination(store.begun, store.least, store.cpus)
        store.begun += 1
        count = len(self.combinations)
        self._say(f"Starting {store.begun} of {count} with {store.least} trials")
        return started

    def take_measured(self, store: Swept, measured: Measured) -> Combination | None:
        """Keep what was measured; another combination begins for the one that is done."""
        id, trials, names, numbers = measured
        if store.measured and store.names != names:
            raise DefinitionError(
                f"Combination {id} gave {', '.join(names)}, combination {store.measured[0][0]} "
                f"{', '.join(store.names)}.",
                remedy="Return the same names in all trials.",
            )
        store.names = names
        store.measured.append((id, trials, numbers))
        return self._begin(store) if store.begun < len(self.combinations) else None

    # --- trials ------------------------------------------------------------------------

    def look(self, store: Tried, first: Combination) -> Multiple | None:
        """The trials to begin with; afterwards each must have given its result, or failed."""
        if not store.begun:
            store.id, store.cpus = first.id, first.cpus
            return self._trials(store, first.least)
        missing = store.under_way
        if missing and not self.is_tolerant:
            raise DefinitionError(
                f"{missing} of the {store.begun} trials of combination {store.id} gave no result.",
                remedy="Let the last job of the sweep return a dict, not None.",
            )
        store.failed += missing
        if not store.done:
            return None
        return self._trials(store, self._more(store, self.rule.needed(store.tallies.values())))

    def _more(self, store: Tried, needed: int) -> int:
        """How many trials are to be begun now if so many are needed."""
        left = min(needed + store.failed, self.rule.most) - store.begun
        return max(0, min(left, store.cpus - store.under_way))

    def _trials(self, store: Tried, count: int) -> Multiple | None:
        numbers = range(store.begun, store.begun + count)
        store.begun += count
        given = self.combinations[store.id]
        found = [Args(id=store.id, trial=number, **given) for number in numbers]
        return Multiple(found) if found else None

    def take_trial(self, store: Tried, *results: object, **named: object) -> Multiple | None:
        """Count a result in; as many new trials as that shows to be needed."""
        self._count(store, results[0] if len(results) == 1 and not named else None)
        needed = self.rule.needed(store.tallies.values())
        more = min(TRIALS_AT_ONCE, self._more(store, needed))
        trials = self._trials(store, more)
        if not store.under_way or store.done.bit_count() == 1:  # a line for each trial hides all
            self._say(f"{store.id} done with {store.done} trials; estimated {needed} needed")
        return trials

    def _count(self, store: Tried, result: object) -> None:
        store.done += 1
        if store.under_way < 0 or not isinstance(result, Mapping) or not result:
            shown = "more than one of a trial" if store.under_way < 0 else repr(result)
            raise DefinitionError(f"{ONE_DICT}; combination {store.id} gave {shown}.")
        if store.done == 1:
            self._check_names(result)
            store.tallies = {key: Tally() for key in result}
        elif store.tallies.keys() != result.keys():
            raise DefinitionError(
                f"A trial of combination {store.id} gave {sorted(map(str, result))}, another one "
                f"{sorted(store.tallies)}.",
                remedy="Return the same names in all trials.",
            )
        for key, value in result.items():
            store.tallies[key].add(_number(f"{key!r} of combination {store.id}", value))

    def _check_names(self, result: Mapping[Any, Any]) -> None:
        for key in result:
            if not isinstance(key, str):
                raise DefinitionError(f"The name of a result is a text, not {key!r}.")
        tables.check_keys(result, self.combinations.names)

    def _say(self, line: str) -> None:
        if self.shows_progress:
            print(line, file=sys.stderr, flush=True)


def _number(name: str, value: Any) -> float:
    """*value* as a float: any real number, of numpy too. Raises DefinitionError."""
    try:
        if isinstance(value, (str, bytes, bytearray)) or getattr(value, "ndim", 0) != 0:
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise DefinitionError(f"The result {name} must be a number, not {value!r}.") from None
