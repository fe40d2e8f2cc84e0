"""Jobs, reducers and frames as classes, and what makes stages of a Work out of them.

    class AddOne(Job):
        def handleWork(self, work):
            self.emit(work + 1)

    w.job(AddOne)

Of each class there is one instance a stage and process. It is made when the first work comes, with
`postSetup` called once; what must outlive a call belongs into the store, not into the instance:
another process has another one.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from pypelinin.errors import DefinitionError
from pypelinin.streams.inside.words import Multiple, Object

INSTANCES_MAX = 1000
"""Of all stages that a process serves; the one unused for longest goes first."""


class _Output(threading.local):
    """What the call that runs in this thread has emitted and recurred; None outside of one."""

    emitted: list[Any] | None = None
    recurred: list[Any] | None = None


_output = _Output()


class Stage:
    """What the three kinds of classes have in common."""

    USE_MULTIPROCESSING: ClassVar[bool] = True
    """False: the stage runs in the process of the program."""
    config: Mapping[str, Any] = MappingProxyType({})
    """What the stage was made with."""

    def postSetup(self) -> None:
        """Called once, when `config` is set and before any work comes."""

    def emit(self, work: Any, target: str | None = None) -> None:
        """Send *work* on to the next stage. None is no work."""
        _add(_output.emitted, "emit", work, target)


class Job(Stage):
    """A stage that makes any number of outputs out of one piece of work."""

    def handleWork(self, work: Any) -> None:
        """Handle *work*; `emit` what comes out of it."""
        raise NotImplementedError(f"{type(self).__name__} has no handleWork.")


class _Looping(Stage):
    def recur(self, work: Any, target: str | None = None) -> None:
        """Send *work* round again: into the reduction, or to the first stage of the frame."""
        _add(_output.recurred, "recur", work, target)


class Reducer(_Looping):
    """A stage that makes one thing of all that comes, as a rule."""

    def handleInit(self, store: Object) -> None:
        """Set up an empty *store*."""

    def handleAdd(self, store: Object, work: Any) -> None:
        """Take *work* into *store*."""
        raise NotImplementedError(f"{type(self).__name__} has no handleAdd.")

    def handleJoin(self, store: Object, other: Object) -> None:
        """Take *other*, the store of another part of the same reduction, into *store*."""
        raise NotImplementedError(f"{type(self).__name__} has no handleJoin.")

    def handleDone(self, store: Object) -> None:
        """All has come: `emit` what is made of it. Nothing can `recur` any more."""


class Frame(_Looping):
    """A stage around others that goes on until nothing recurs."""

    def handleFirst(self, store: Object, work: Any) -> None:
        """A frame begins with *work*: set up *store*, `recur` what the stages inside shall get."""
        raise NotImplementedError(f"{type(self).__name__} has no handleFirst.")

    def handleNext(self, store: Object, work: Any) -> None:
        """*work* came through the stages inside."""
        raise NotImplementedError(f"{type(self).__name__} has no handleNext.")

    def handleDone(self, store: Object) -> None:
        """All that recurred has come through: `recur` more, or `emit` and it ends."""


def _add(found: list[Any] | None, how: str, work: Any, target: str | None) -> None:
    if target is not None:
        raise DefinitionError(
            f"{how} was given the target {target!r}, but work goes to the next stage only.",
            remedy="Leave the target out.",
        )
    if found is None:
        raise DefinitionError(
            f"{how} has nowhere to go here.",
            remedy="Call it in a handle method while it runs; only frames and reducers recur.",
        )
    if work is not None:
        found.append(work)


# --- functions of a Work ------------------------------------------------------------------


@dataclass(slots=True)
class Kept:
    """The store of a reducer or frame, and what it emitted before its end."""

    store: Object = field(default_factory=Object)
    emitted: list[Any] = field(default_factory=list)
    recurred: list[Any] = field(default_factory=list)
    is_begun: bool = False


class ReduceFunctions(NamedTuple):
    """For `Work.reduce`."""

    function: Callable[[Kept, list[Any], list[Kept]], Multiple | None]
    store: Callable[[], Kept]
    emit: Callable[[Kept], Multiple | None]


class FrameFunctions(NamedTuple):
    """For `Work.frame` and, *end*, for its `frameEnd`."""

    function: Callable[[Kept, Any], Multiple | None]
    store: Callable[[], Kept]
    emit: Callable[[Kept], Multiple | None]
    end: Callable[[Kept, Any], Multiple | None]


def job_function(
    kind: type[Job], config: Mapping[str, Any] | None = None
) -> Callable[..., Multiple | None]:
    """The function of a Job class. Raises DefinitionError if *kind* is none."""
    return _JobStage(_checked(kind, Job), config).call


def reduce_functions(
    kind: type[Reducer], config: Mapping[str, Any] | None = None
) -> ReduceFunctions:
    """The functions of a Reducer class. Raises DefinitionError if *kind* is none."""
    stage = _ReduceStage(_checked(kind, Reducer), config)
    return ReduceFunctions(stage.call, stage.store, stage.emit)


def frame_functions(kind: type[Frame], config: Mapping[str, Any] | None = None) -> FrameFunctions:
    """The functions of a Frame class. Raises DefinitionError if *kind* is none."""
    stage = _FrameStage(_checked(kind, Frame), config)
    return FrameFunctions(stage.call, Kept, stage.emit, stage.end)


S = TypeVar("S", bound=Stage)


def _checked(kind: object, wanted: type[S]) -> type[S]:
    if not (isinstance(kind, type) and issubclass(kind, wanted)):
        raise DefinitionError(f"{kind!r} is no subclass of {wanted.__name__}.")
    return kind


class _Adapter(Generic[S]):
    """A class as a stage. It travels; its instances are made where it arrives."""

    def __init__(self, kind: type[S], config: Mapping[str, Any] | None) -> None:
        self._kind = kind
        self._config = dict(config) if config is not None else None
        self._key = uuid.uuid4().hex

    def _instance(self) -> S:
        key = (os.getpid(), self._key)  # a forked process makes one of its own
        with _lock:
            found = _instances.get(key)
            if found is None:
                found = _instances[key] = self._made()
                while len(_instances) > INSTANCES_MAX:
                    _instances.popitem(last=False)
            _instances.move_to_end(key)
        return found  # type: ignore[return-value]  # the key says of which class it is

    def _made(self) -> S:
        found = self._kind()
        if self._config is not None:
            found.config = self._config
        found.postSetup()
        return found


_instances: OrderedDict[tuple[int, str], Stage] = OrderedDict()
_lock = threading.RLock()
os.register_at_fork(after_in_child=lambda: _renew_lock())


def _renew_lock() -> None:
    """Another thread may have held it when this process was forked."""
    global _lock
    _lock = threading.RLock()


class _Call:
    """While a handle method runs: collects what it emits and, if it may, recurs."""

    def __init__(self, may_recur: bool = False) -> None:
        self.emitted: list[Any] = []
        self.recurred: list[Any] = []
        self._may_recur = may_recur

    def __enter__(self) -> _Call:
        self._before = (_output.emitted, _output.recurred)
        _output.emitted = self.emitted
        _output.recurred = self.recurred if self._may_recur else None
        return self

    def __exit__(self, *_: object) -> None:
        _output.emitted, _output.recurred = self._before


class _JobStage(_Adapter[Job]):
    def call(self, /, *works: Any, **named: Any) -> Multiple | None:
        instance = self._instance()
        with _Call() as call:
            instance.handleWork(*works, **named)
        return _several(call.emitted)


class _ReduceStage(_Adapter[Reducer]):
    def store(self) -> Kept:
        instance, kept = self._instance(), Kept()
        with _Call(may_recur=True) as call:
            instance.handleInit(kept.store)
        kept.emitted, kept.recurred = call.emitted, call.recurred
        return kept

    def call(self, store: Kept, works: list[Any], others: list[Kept]) -> Multiple | None:
        instance = self._instance()
        with _Call(may_recur=True) as call:
            for work in works:
                instance.handleAdd(store.store, work)
            for other in others:
                instance.handleJoin(store.store, other.store)
                store.emitted += other.emitted
                store.recurred += other.recurred
        store.emitted += call.emitted
        recurred, store.recurred = store.recurred + call.recurred, []
        return _several(recurred)

    def emit(self, store: Kept) -> Multiple | None:
        instance = self._instance()
        with _Call() as call:
            instance.handleDone(store.store)
        return _several(store.emitted + call.emitted)


class _FrameStage(_Adapter[Frame]):
    def call(self, store: Kept, first: Any) -> Multiple | None:
        instance = self._instance()
        with _Call(may_recur=True) as call:
            if not store.is_begun:
                store.is_begun = True
                instance.handleFirst(store.store, first)
            if not call.recurred:  # nothing is under way, so all of it has come through
                instance.handleDone(store.store)
        store.emitted += call.emitted
        return _several(call.recurred)

    def end(self, store: Kept, next: Any) -> Multiple | None:
        instance = self._instance()
        with _Call(may_recur=True) as call:
            instance.handleNext(store.store, next)
        store.emitted += call.emitted
        return _several(call.recurred)

    def emit(self, store: Kept) -> Multiple | None:
        return _several(store.emitted)


def _several(works: list[Any]) -> Multiple | None:
    return Multiple(works) if works else None
