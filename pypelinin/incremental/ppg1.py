"""Scripts and libraries that say `import pypipegraph` get pypelinin.incremental.v1 instead."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

NAME = "pypipegraph"
PARTS = ("graph", "job", "ppg_exceptions", "resource_coordinators", "testing", "util")
OURS = "pypelinin.incremental.v1"

_before: dict[str, tuple[ModuleType | None, dict[str, Any]]] | None = None
"""By name, the module that there was and what it contained; None: nothing is replaced."""


def replace_ppg1() -> None:
    """From now on `pypipegraph` is version 1 over pypelinin.incremental.

    A pypipegraph that is imported already keeps its module, with other contents, so that who has
    it sees them. One that is not need not be installed. `pypipegraph.is_ppg2` is True then.
    """
    global _before
    if _before is not None:
        return
    names = {NAME: OURS}
    names |= {f"{NAME}.{part}": f"{OURS}.{part}" for part in PARTS}
    ours = {name: _imported(source) for name, source in names.items()}
    found = {name: sys.modules.get(name) for name in names}
    _before = {
        name: (module, {} if module is None else dict(vars(module)))
        for name, module in found.items()
    }
    for name, module in ours.items():
        if name.endswith(".util"):  # it has a property, which a copy would not have
            sys.modules[name] = module
        else:
            known = found[name] or ModuleType(name)
            _fill(known, vars(module), name)
            sys.modules[name] = known
    top = sys.modules[NAME]
    vars(top)["is_ppg2"] = True
    for part in PARTS:
        vars(top)[part] = sys.modules[f"{NAME}.{part}"]


def _imported(source: str) -> ModuleType:
    if source.endswith(".ppg_exceptions"):
        source = f"{OURS}.exceptions"
    return importlib.import_module(source)


_KEPT = ("__spec__", "__loader__", "__package__", "__path__", "__file__")


def _fill(module: ModuleType, contents: dict[str, Any], name: str) -> None:
    kept = {key: value for key, value in vars(module).items() if key in _KEPT}
    vars(module).clear()
    vars(module).update(contents)
    for key in _KEPT:
        vars(module).pop(key, None)
    vars(module).update(kept, __name__=name)
    if name == NAME:  # or its parts could not be imported by their names
        vars(module).setdefault("__path__", [])
    elif "__path__" in contents:
        vars(module).setdefault("__path__", contents["__path__"])


def unreplace_ppg1() -> None:
    """`pypipegraph` is again what it was before `replace_ppg1`."""
    global _before
    if _before is None:
        return
    for name, (module, contents) in reversed(_before.items()):
        if module is None:
            for one in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
                del sys.modules[one]
            continue
        vars(module).clear()
        vars(module).update(contents)
        sys.modules[name] = module
    _before = None


__all__ = ["replace_ppg1", "unreplace_ppg1"]
