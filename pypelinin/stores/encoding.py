"""How the stores write values and names: JSON text that comes back as it went in.

- Kept as they are: None, bool, int, finite float, str, lists, and dicts with str keys. A tuple
  comes back as a list.
- `{"$bytes": "<base64>"}` is bytes, `{"$float": "nan"}` a float that JSON has no word for.
- A dict of one key that itself begins with `$` gets one more: `{"$bytes": 1}` is written
  `{"$$bytes": 1}`. No other dict is touched.

Everything else is refused with a TypeError before anything is written.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

BYTES_TAG = "$bytes"
FLOAT_TAG = "$float"
SHORTENED_MARK = "~sha256~"
_PREFIX_KEPT = 60


class _Refused(Exception):
    """A part of a value cannot be kept; *steps* lead to it, innermost first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.steps: list[object] = []


def encode(key: str, value: object) -> str:
    """Write *value*, which is to be kept under *key*, as JSON text that is valid UTF-8.

    Raises TypeError for what cannot be kept, naming *key*, the place inside and the type;
    ValueError for a value that contains itself or a number of more digits than Python reads.
    """
    try:
        plain = _plain(value)
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
        if not _is_utf8(text):  # a lone surrogate, as in an undecodable file name
            text = json.dumps(plain, ensure_ascii=True, allow_nan=False)
        return text
    except _Refused as refused:
        place = "".join(f"[{step!r}]" for step in reversed(refused.steps))
        raise TypeError(
            f"cannot keep {key!r}: the value{place and ' at ' + place} {refused.reason}"
        ) from None
    except RecursionError:
        raise ValueError(f"cannot keep {key!r}: it contains itself or nests too deep") from None
    except ValueError as error:
        raise ValueError(f"cannot keep {key!r}: {error}") from None


def decode(text: str | bytes) -> Any:
    """Read what `encode` wrote; ValueError if it is something else."""
    return json.loads(text, object_hook=_untagged)


def _plain(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {FLOAT_TAG: repr(float(value))}
    if isinstance(value, bytes | bytearray | memoryview):
        return {BYTES_TAG: base64.b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, Mapping):
        return _plain_mapping(value)
    if isinstance(value, list | tuple):
        return _plain_list(value)
    raise _Refused(
        f"is of type {type(value).__module__}.{type(value).__qualname__}; "
        "text, numbers, bytes, None, and lists and dicts of them can be kept"
    )


def _plain_list(values: list[object] | tuple[object, ...]) -> list[object]:
    plain: list[object] = []
    for index, value in enumerate(values):
        try:
            plain.append(_plain(value))
        except _Refused as refused:
            refused.steps.append(index)
            raise
    return plain


def _plain_mapping(values: Mapping[Any, object]) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, value in values.items():
        # json would turn 1 into "1" in silence, and the value would come back as another.
        if not isinstance(key, str):
            raise _Refused(
                f"has the dict key {key!r} of type {type(key).__qualname__}; keys must be text"
            )
        try:
            plain[key] = _plain(value)
        except _Refused as refused:
            refused.steps.append(key)
            raise
    if len(plain) == 1:
        (key,) = plain
        if key.startswith("$"):
            return {"$" + key: plain[key]}
    return plain


def _bytes(content: Any) -> bytes:
    return base64.b64decode(content, validate=True)


_READERS: dict[str, Callable[[Any], object]] = {BYTES_TAG: _bytes, FLOAT_TAG: float}


def _untagged(values: dict[str, Any]) -> object:
    if len(values) != 1:
        return values
    ((key, content),) = values.items()
    if not key.startswith("$"):
        return values
    if key.startswith("$$"):
        return {key[1:]: content}
    reader = _READERS.get(key)
    if reader is None:
        raise ValueError(f"unknown tag {key!r}: written by a newer version of pypelinin?")
    return reader(content)


def checked_name(kind: str, name: object) -> str:
    """*name* of a *kind* ("key", "job", "pipeline") if every store can keep it.

    Raises TypeError if it is not text, ValueError if it has a character that is not valid
    in UTF-8 or the NUL, which databases refuse.
    """
    if not isinstance(name, str):
        raise TypeError(f"a {kind} is named by text, not by {name!r} of {type(name).__qualname__}")
    if "\0" in name or not _is_utf8(name):
        raise ValueError(f"{kind} {name!r} has a character that cannot be kept: NUL or a surrogate")
    return name


def shortened(name: str, length_max: int) -> str:
    """*name* itself, or its beginning and its SHA-256 if it is longer than *length_max*.

    Different names stay different. What it returns may be longer than a small *length_max*:
    132 characters.
    """
    if len(name) <= length_max and SHORTENED_MARK not in name:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()
    return name[:_PREFIX_KEPT] + SHORTENED_MARK + digest


def is_shortened(name: str) -> bool:
    """Whether `shortened` cut it, so that the real name must be read elsewhere."""
    return SHORTENED_MARK in name


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
