"""Stores that are ready to use: give one to a Broker as its StoreClass.

| store         | keeps results in             | shared by                                  |
|---------------|------------------------------|--------------------------------------------|
| `MemoryStore` | this process                 | nobody, or named instances in one process  |
| `FileStore`   | one file a key               | all that see the directory                 |
| `SQLStore`    | SQLite or PostgreSQL tables  | all that reach the database; extra `sql`   |

All three keep results by pipeline and key, and mean the same (`pypelinin.stores.keyed`).
Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pypelinin.stores.file import FileStore
    from pypelinin.stores.keyed import KeyedStore
    from pypelinin.stores.memory import MemoryStore
    from pypelinin.stores.sql import SQLStore

__all__ = ["FileStore", "KeyedStore", "MemoryStore", "SQLStore"]

_HOMES = {"FileStore": "file", "KeyedStore": "keyed", "MemoryStore": "memory", "SQLStore": "sql"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
