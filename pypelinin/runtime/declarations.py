"""What worker classes say of their jobs by attributes: `cores = 4`, `retries = 2` ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pypelinin.errors import DefinitionError
from pypelinin.graph.job import checked_labels, checked_priority, checked_retries
from pypelinin.graph.needs import Needs, checked_needs
from pypelinin.wire.codec import pack_record
from pypelinin.wire.definitions import Kind, terms_of

OPTIONS = ("labels", "retries", "priority", *Needs._fields)


def declared(workers: Mapping[str, Any]) -> list[bytes]:
    """A packed `Kind` for each class that says anything. Raises DefinitionError that names it."""
    found = []
    for name, worker in workers.items():
        said = {option: getattr(worker, option, None) for option in OPTIONS}
        said = {option: value for option, value in said.items() if _is_said(value)}
        if not said:
            continue
        try:
            found.append(pack_record(_kind(name, **said)))
        except DefinitionError as error:
            raise DefinitionError(f"Worker {name}: {error.what}", remedy=error.remedy) from None
    return found


def _is_said(value: object) -> bool:
    """Methods and properties of the same names are the class's own business."""
    return value is not None and not callable(value) and not hasattr(type(value), "__get__")


def _kind(name: str, labels: Any = None, retries: Any = 0, priority: Any = 0, **needs: Any) -> Kind:
    terms = terms_of(checked_needs(**needs))
    checked = checked_labels(labels or {}), checked_retries(retries), checked_priority(priority)
    return Kind(name, *checked, *terms)
