"""Sizes and times as people write them, both ways."""

from __future__ import annotations

import re

_STEPS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
          "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}  # fmt: skip
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?i?)b?\s*", re.IGNORECASE)
_TIMES = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|min|m|h|d|)\s*", re.IGNORECASE)


def parse_bytes(value: int | str) -> int:
    """Bytes of "2GB" (2,000,000,000), "512 MiB" (2**20 each), "1.5g" or a plain number.

    Raises ValueError for anything else.
    """
    if isinstance(value, str):
        found = _SIZE.fullmatch(value)
        if found is None or found[2].lower() == "i":
            raise ValueError(f"{value!r} is no size; write 512MB, 2GB or 1.5GiB")
        return int(float(found[1]) * _STEPS[found[2].lower()])
    if type(value) is not int:
        raise ValueError(f"{value!r} is no size; write a number of bytes or a text like '2GB'")
    return value


def parse_seconds(value: float | str) -> float:
    """Seconds of "90", "1.5h", "10 min", "200ms" or a plain number.

    Raises ValueError for anything else.
    """
    if isinstance(value, str):
        found = _TIME.fullmatch(value)
        if found is None:
            raise ValueError(f"{value!r} is no time; write 90, 10min or 1.5h")
        return float(found[1]) * _TIMES[found[2].lower()]
    if type(value) not in (int, float):
        raise ValueError(f"{value!r} is no time; write seconds or a text like '10min'")
    return float(value)


def format_bytes(size: int) -> str:
    """*size* with three digits and the unit that fits: "1.50 GB", "512 MB", "17 B"."""
    if size < 1000:
        return f"{size} B"
    units = ["TB", "GB", "MB", "kB"]
    amount, unit = size / 1000, units.pop()
    while amount >= 999.5 and units:
        amount, unit = amount / 1000, units.pop()
    digits = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{digits}f} {unit}"


__all__ = ["format_bytes", "parse_bytes", "parse_seconds"]
