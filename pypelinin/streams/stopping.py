"""When a sweep has run enough trials: from their spread, or as many as were asked for. Pure.

The estimate is that of Driels and Shin, "Determining the number of iterations for Monte Carlo
simulations of weapon effectiveness" (2004): with 95 % confidence the mean is within `E` of
itself, or within `eps`, whichever is wider.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import SupportsIndex

from pypelinin.errors import DefinitionError

PARAMETERS: dict[str, float] = {"E": 0.1, "eps": 0.01, "min": 3, "max": 10_000}
FOR_CERTAIN = ((1, 12.71), (2, 4.30), (3, 3.18), (4, 2.78), (9, 2.57), (15, 2.23))
"""Up to so many trials after the first -> standard errors that hold the mean in 95 of 100."""
FOR_CERTAIN_MANY = 1.96
FEW = 15


def certainty(trials: int) -> float:
    """How many standard errors of the mean hold it with 95 % confidence; NaN below two trials."""
    if trials < 2:
        return math.nan
    return next((z for most, z in FOR_CERTAIN if trials - 1 <= most), FOR_CERTAIN_MANY)


@dataclass(slots=True)
class Tally:
    """Mean and deviation of numbers that come one by one."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    """Of the distances from the mean; below 0, as sums of squares can be, only if it overflows."""

    def add(self, value: float) -> None:
        self.count += 1
        before = value - self.mean
        self.mean += before / self.count
        self.squares += before * (value - self.mean)

    @property
    def deviation(self) -> float:
        """Of the population: divided by the number of values. NaN if that is beyond a float."""
        return (
            math.sqrt(self.squares / self.count) if self.count and self.squares >= 0 else math.nan
        )

    @property
    def error(self) -> float:
        """Half the width of the interval that holds the mean with 95 % confidence."""
        return certainty(self.count) * self.deviation / math.sqrt(self.count or 1)


@dataclass(frozen=True, slots=True)
class Rule:
    """How many trials each combination gets: *least* to *most*, all the same if these are."""

    least: int
    most: int
    E: float = PARAMETERS["E"]
    eps: float = PARAMETERS["eps"]

    def needed(self, tallies: Iterable[Tally]) -> int:
        """Trials that are enough for all of *tallies*, which have the same count."""
        found = max((self._enough(tally) for tally in tallies), default=0.0)
        return self.most if found >= self.most else max(self.least, math.ceil(found))

    def _enough(self, tally: Tally) -> float:
        """0 for what is not a number: no trial makes it one."""
        if tally.count < 2:
            return 2.0  # one says nothing of a spread
        allowed = max(self.E * abs(tally.mean), self.eps)
        spread = certainty(tally.count) * tally.deviation
        if math.isnan(spread) or math.isnan(allowed):
            return 0.0
        extra = 1 if tally.count - 1 <= FEW else 0
        if spread == 0.0 or allowed == 0.0:
            return extra if spread == 0.0 else math.inf
        ratio = spread / allowed
        return ratio * ratio + extra


def rule_of(trials: SupportsIndex, parameters: Mapping[str, float]) -> Rule:
    """The rule that `sweep`'s *trials* and *trialsParms* say. Raises DefinitionError."""
    number = _whole(trials, "trials")
    if not isinstance(parameters, Mapping):
        raise DefinitionError(
            f"trialsParms is a dict of names and numbers, not {parameters!r}.",
            remedy=f"Known are: {', '.join(PARAMETERS)}.",
        )
    unknown = [name for name in parameters if name not in PARAMETERS]
    if unknown:
        known = ", ".join(PARAMETERS)
        raise DefinitionError(f"trialsParms has no {unknown[0]!r}.", remedy=f"Known are: {known}.")
    if number > 0 and "min" in parameters:
        raise DefinitionError(f"trialsParms has 'min', but trials={number} says how many to run.")
    if number != 0 and "max" in parameters:
        raise DefinitionError(f"trialsParms has 'max', but trials={number} says the most to run.")
    given = {**PARAMETERS, **parameters}
    E, eps = _real(given["E"], "E"), _real(given["eps"], "eps")
    if E <= 0 and eps <= 0:
        raise DefinitionError(
            f"trialsParms: E={E:g} and eps={eps:g} allow no error at all.",
            remedy="Make one of them larger than 0: no number of trials is enough otherwise.",
        )
    least, most = _bounds(number, given)
    return Rule(least, most, E, eps)


def _bounds(number: int, given: Mapping[str, float]) -> tuple[int, int]:
    if number > 0:
        return number, number
    least, most = (_whole(given[name], f"trialsParms: {name}") for name in ("min", "max"))
    if number < 0:
        most = -number
        least = min(least, most)
    if not 1 <= least <= most:
        raise DefinitionError(
            f"trialsParms: min={least} and max={most}.", remedy="Take 1 <= min <= max."
        )
    return least, most


def _whole(value: object, name: str) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]  # what is none is the error
    except TypeError:
        raise DefinitionError(f"{name} is a whole number, not {value!r}.") from None


def _real(value: object, name: str) -> float:
    number = float(value) if isinstance(value, numbers.Real) else math.nan
    if math.isnan(number):
        raise DefinitionError(f"trialsParms: {name} is a number, not {value!r}.")
    return number
