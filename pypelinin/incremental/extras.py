"""What only an optional extra brings: imported when it is needed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any


def needed(module: str, extra: str, what: str) -> Any:
    """The module. Raises ModuleNotFoundError that names *what* needs it, and the extra."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name != module.partition(".")[0]:
            raise  # it is there, and lacks something itself
        raise _missing(module, extra, what) from None


def check(module: str, extra: str, what: str) -> None:
    """Raises as `needed` does, and imports nothing."""
    if importlib.util.find_spec(module) is None:
        raise _missing(module, extra, what)


def _missing(module: str, extra: str, what: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"{what} needs {module}, which is not installed: pip install 'pypelinin[{extra}]'",
        name=module,
    )
