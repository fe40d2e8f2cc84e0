"""One task in its slot: inputs in, its code, its result into the store.

Upstreams of this run hand on `Handed`: a small result itself, of a large one the name of its file.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypedDict, cast

from pypelinin.tasks.exceptions import DataPathNotShared
from pypelinin.tasks.inside import classes, files
from pypelinin.tasks.inside.inputs import TaskInputs
from pypelinin.tasks.inside.references import resolved
from pypelinin.tasks.inside.telling import Teller, printing

Handed = list[Any]
"""["pickle", bytes] or ["file", path]; a list, as that travels cheapest."""
MARKER = "marker"
WORKS_MAX = 256

_works: dict[bytes, tuple[Any, classes.Brought]] = {}
_thread = threading.local()
_seen: set[tuple[str, str]] = set()


class Place(NamedTuple):
    """Where a run is at home; the same for all of its tasks."""

    directory: str
    """Of the run, below the data path, with the marker."""
    token: str
    """What stands in the marker."""
    echo: bool
    """Whether what tasks print is printed in the slot as well."""


class Order(TypedDict):
    """What one task shall do."""

    name: str
    folder: str
    """Where its result goes."""
    receives: bool
    refers: bool
    """Results of its parents stand among its parameters, as `Reference`."""
    state: dict[str, Any] | None
    """The attributes of a task that is an object; None: its work is a function."""
    params: dict[str, Any]
    saved: str
    """The text of params.yaml."""
    parents: list[str]


def perform(place: tuple[Any, ...], work: bytes, order: Order, inputs: Sequence[Handed]) -> Handed:
    """Run the task whose packed code is *work*; where its result is, or the result itself.

    Raises what the task raises, NotPicklable for its result, DataPathNotShared.
    """
    at = Place(*place)
    check(at)
    name, path = order["name"], os.path.join(order["folder"], files.RESULT)
    if os.path.exists(path):  # old ones were removed: an attempt before this one made it
        return ["file", path]
    teller = Teller(at.directory, name)
    teller.tell("Starting", status="RUNNING")
    ended = "FAILURE"
    try:
        _thread.runs = True
        with printing(teller, at.echo):
            output = _called(work, order, inputs)
        check(at)  # the run may be over, and another one at work on the same results
        handed = kept(order["folder"], name, order["saved"], output)
        ended = "SUCCESS"
    finally:
        _thread.runs = False
        classes.use(None)
        with contextlib.suppress(OSError):  # what the task raised is more important
            teller.tell(f"Finished: Status.{ended}", status=ended)
    return handed


def is_inside() -> bool:
    """Whether the caller is a task that runs in this thread."""
    return getattr(_thread, "runs", False)


def kept(folder: str, name: str, saved: str, output: object) -> Handed:
    """Store what a task returned; what is handed on of it. Raises NotPicklable, OSError."""
    path = os.path.join(folder, files.RESULT)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, files.PARAMS), "wb") as file:  # whoever reads it has the result
        file.write(saved.encode("utf-8", "surrogatepass"))
    small = files.store(path, output, name)
    return ["file", path] if small is None else ["pickle", small]


def check(place: Place) -> None:
    """Raises DataPathNotShared unless this node sees the run's directory."""
    if (place.directory, place.token) in _seen and os.path.exists(place.directory):
        return
    try:
        with open(os.path.join(place.directory, MARKER), encoding="utf-8") as file:
            found = file.read()
    except OSError:
        found = ""
    if found != place.token:
        raise DataPathNotShared(
            f"{os.uname().nodename} does not see the run's directory {place.directory}.",
            remedy="All nodes need the same data path, on a file system that they share. "
            "If the client was killed, its run is over.",
        )
    _seen.add((place.directory, place.token))


def _called(work: bytes, order: Order, inputs: Sequence[Handed]) -> Any:
    function: Callable[..., Any]
    function, brought = _opened_work(work)
    classes.use(brought)
    if order["state"] is not None:
        one: Any = object.__new__(cast("type[Any]", function))
        one.__dict__.update(order["state"])
        function = one.run
    params = order["params"]
    if order["refers"]:
        given = [opened(one) for one in inputs]
        params = resolved(params, given)
        return function(*params["args"], **params["kwargs"])
    if not order["receives"]:
        return function(**params)
    return function(data=TaskInputs(map(opened, inputs), order["parents"]), **params)


def _opened_work(work: bytes) -> tuple[Any, classes.Brought]:
    known = _works.get(work)
    if known is None:
        while len(_works) >= WORKS_MAX:
            del _works[next(iter(_works))]
        known = _works[work] = classes.opened(work)
    return known


def opened(handed: Handed) -> Any:
    """The value that was handed on. Raises what `files.load` raises."""
    kind, what = handed
    return pickle.loads(what) if kind == "pickle" else files.load(what)


__all__ = ["Handed", "Order", "Place", "check", "is_inside", "kept", "opened", "perform"]
