"""The combinations of parameters that a sweep goes through. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pypelinin.errors import DefinitionError

Variables = Mapping[str, Iterable[Any]] | Iterable[Mapping[str, Any]]
GIVEN = ("id", "trial")
"""What a job of a sweep is told besides the parameters."""
RESERVED = (*GIVEN, "trials")


class Combinations(Sequence[dict[str, Any]]):
    """All of them in their order; the place of one is its id. Made when asked for.

    A mapping of names to values is their product, the first name turning fastest; a list of
    mappings is those. Raises DefinitionError.
    """

    def __init__(self, variables: Variables) -> None:
        self._listed: list[dict[str, Any]] | None = None
        self._values: dict[str, list[Any]] = {}
        if isinstance(variables, Mapping):
            self._values = {name: _values(name, given) for name, given in variables.items()}
            self.names = tuple(self._values)
        else:
            self._listed = _listed(variables)
            self.names = tuple(self._listed[0])
        for name in self.names:
            _check_name(name)

    def __len__(self) -> int:
        if self._listed is not None:
            return len(self._listed)
        return math.prod(len(values) for values in self._values.values())

    def __getitem__(self, id: Any) -> Any:  # a Sequence may be sliced, this one is not
        if not 0 <= id < len(self):
            raise IndexError(id)
        if self._listed is not None:
            return dict(self._listed[id])
        found = {}
        for name, values in self._values.items():
            id, place = divmod(id, len(values))
            found[name] = values[place]
        return found


def _values(name: str, given: object) -> list[Any]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise DefinitionError(
            f"The values of {name!r} are a list, not {given!r}.",
            remedy=f"One value is a list, too: {{{name!r}: [{given!r}]}}.",
        )
    values = list(given)
    if not values:
        raise DefinitionError(f"There are no values of {name!r}, so there is nothing to run.")
    return values


def _listed(given: object) -> list[dict[str, Any]]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise _neither(given)
    found: list[dict[str, Any]] = []
    for one in given:
        if not isinstance(one, Mapping):
            raise _neither(one)
        found.append(dict(one))
        if one.keys() != found[0].keys():
            raise DefinitionError(
                "All parameter dictionaries must have same keys; found "
                f"{sorted(map(str, one))} against {sorted(map(str, found[0]))}."
            )
    if not found:
        raise DefinitionError("The list of parameters is empty, so there is nothing to run.")
    return found


def _neither(found: object) -> DefinitionError:
    return DefinitionError(
        "variables is a dict of names and lists of values, or a list of dicts of parameters, "
        f"not {found!r}."
    )


def _check_name(name: object) -> None:
    if not isinstance(name, str):
        raise DefinitionError(f"The name of a parameter is a text, not {name!r}.")
    if name in RESERVED:
        raise DefinitionError(f"No parameter can be named {name!r}: a sweep has its own.")
