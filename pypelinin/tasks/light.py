"""The light form: calls of functions on each other's results are the pipeline."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

from pypelinin.graph.fingerprint import digest
from pypelinin.tasks.definition import FunctionTask, Task
from pypelinin.tasks.hashing import encoded_params
from pypelinin.tasks.inside.references import Reference, mapped
from pypelinin.tasks.inside.work import is_inside
from pypelinin.tasks.saving import held_secrets

R = TypeVar("R")
TAG_CHARACTERS = 12
_Key = tuple[str, str, tuple[int, ...]]
"""Name, secrets, which are not in it, and the ids of the parents."""


class LightFunction(Generic[R]):
    """A function whose calls are tasks; the results of other calls can be arguments.

    The same call gives the same task, while somebody holds it.

    `function` is what it was made of, for calls that happen here and now.
    """

    def __init__(self, kind: type[FunctionTask[Any, R]], cache: bool) -> None:
        self.kind = kind
        self.function = kind.function
        self.__name__ = kind.__name__
        self.__doc__ = kind.__doc__
        self.__wrapped__ = kind.function
        self._cache = cache
        self._made: WeakValueDictionary[_Key, Task[Any, R]] = WeakValueDictionary()

    def __reduce__(self) -> tuple[Any, ...]:
        return LightFunction, (self.kind, self._cache)

    def __call__(self, *args: Any, **kwargs: Any) -> Task[Any, R]:
        """What stands for the result; inside of a task that runs, the result itself.

        Raises TaskError for arguments that do not fit.
        """
        if is_inside():
            return cast("Task[Any, R]", self.function(*args, **kwargs))
        parents: dict[Task[Any, Any], int] = {}

        def refer(value: Any) -> Any:
            if isinstance(value, Task):
                return Reference(parents.setdefault(value, len(parents)))
            return value

        params = {"args": mapped(list(args), refer), "kwargs": mapped(kwargs, refer)}
        made = self.kind(reload=not self._cache, **params)
        names = [parent.name.encode("utf-8", "surrogatepass") for parent in parents]
        module = self.kind.__module__.encode()
        made.tag = digest(module, encoded_params(made), *names).hex()[:TAG_CHARACTERS]
        made.name = f"{self.__name__}({made.tag})"
        key = made.name, repr(held_secrets(params)), tuple(map(id, parents))
        known = self._made.setdefault(key, made)
        if known is made:
            made.connect_parent(list(parents))
        return known

    def __repr__(self) -> str:
        return f"<light task {self.__name__}>"


__all__ = ["LightFunction"]
