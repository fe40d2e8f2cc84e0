"""Items that failed: as data on their way, and as errors for who runs the stream."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from pypelinin.errors import JobError, NotPicklable, RemoteTraceback
from pypelinin.runtime.values import pack_value, unpack_value
from pypelinin.streams.inside.portions import ItemFailure

ITEM_TEXT_MAX = 200
TEXT_MAX = 10_000
TRACEBACK_MAX = 100_000


class ItemFailed(JobError):
    """A function of the stream raised for an item.

    *stage* is the function's name, *item* the item's repr; *exception* what was raised, if its
    class exists here.
    """

    def __init__(self, message: str, stage: str = "", item: str = "") -> None:
        super().__init__(
            message, remedy="on_error='skip' or 'collect' lets the stream go on without the item."
        )
        self.stage = stage
        self.item = item

    def __reduce__(self) -> tuple[object, ...]:
        kept = {"exception": self.exception}
        return (type(self), (self.what, self.stage, self.item), kept)


def failure_of(stage: str, item: Any, error: BaseException) -> ItemFailure:
    """*error* as data."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins.")
    shown_from = of_the_user(error) or error.__traceback__
    text = "".join(traceback.format_exception(type(error), error, shown_from))
    try:
        packed = pack_value("An exception", error)
    except NotPicklable:
        packed = b""
    text = _shortened(text, TRACEBACK_MAX)
    return ItemFailure(stage, shown(item), packed, kind, _shortened(_text(error), TEXT_MAX), text)


def error_of(failure: ItemFailure) -> ItemFailed:
    """What is raised or collected for *failure*."""
    said = f"{failure.kind}: {failure.text}" if failure.text else failure.kind
    error = ItemFailed(
        f"{failure.stage} failed for the item {failure.item}: {said.removesuffix('.')}.",
        failure.stage,
        failure.item,
    )
    if failure.error:
        try:
            error.exception = unpack_value(failure.error)
        except Exception:
            error.exception = None  # its class does not exist here, or does not come back
    if failure.traceback:
        error.__cause__ = RemoteTraceback(failure.traceback)
    return error


def pack_items(items: Sequence[Any]) -> bytes:
    """A list of items on their way. Raises NotPicklable, which names one that cannot travel."""
    try:
        return pack_value("A list of items", list(items))
    except NotPicklable as error:
        whole = error
    for item in items:
        pack_value(f"The item {shown(item)}", item)
    raise whole


def of_the_user(error: BaseException) -> TracebackType | None:
    """Its traceback from the first function that is not pypelinin's; None if all of them are."""
    found = error.__traceback__
    while found is not None:
        if not str(found.tb_frame.f_globals.get("__name__", "")).startswith("pypelinin."):
            return found
        found = found.tb_next
    return None


def unpack_items(data: bytes) -> list[Any]:
    """What `pack_items` packed. Raises NotPicklable if an item does not come back."""
    try:
        items: list[Any] = unpack_value(data)
    except Exception as error:
        raise NotPicklable(
            f"An item was sent and cannot be read again: {type(error).__name__}: {error}.",
            remedy="Its class must take back what it pickles: an exception with arguments of its "
            "own needs a __reduce__.",
        ) from error
    return items


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:
        return f"<its text raises {type(another).__name__}>"


def shown(item: Any) -> str:
    """An item's repr, shortened."""
    try:
        text = repr(item)
    except Exception as error:
        text = f"<{type(item).__name__} whose repr raises {type(error).__name__}>"
    return _shortened(text, ITEM_TEXT_MAX)


def _shortened(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


__all__ = [
    "ItemFailed", "error_of", "failure_of", "of_the_user", "pack_items", "shown", "unpack_items",
]  # fmt: skip
