"""The text of pipeline.yaml and params.yaml.

With PyYAML installed it is YAML in blocks, else JSON, which is YAML as well. It is written
here: what PyYAML takes for it is half a millisecond a task.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pypelinin.tasks.exceptions import PipelineError

_SIMPLE = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.()-]*")
_RESERVED = frozenset("true false null yes no on off y n nan inf".split())
_ODD = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


@functools.cache
def has_yaml() -> bool:
    return importlib.util.find_spec("yaml") is not None


def text_of(value: Mapping[str, Any]) -> str:
    """A mapping of plain data as text."""
    if not has_yaml():
        return json.dumps(value, indent=2) + "\n"
    return "\n".join(_mapping(value, "")) + "\n"


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, one in value.items():
        if type(one) is str:
            yield f"{indent}{_word(key)}: {_word(one)}"
        else:
            yield from _entry(f"{indent}{_word(key)}:", one, indent)


class Part(dict[str, Any]):
    """A mapping that stands in several texts: its lines are made once."""

    @functools.cached_property
    def lines(self) -> list[str]:
        return list(_mapping(self, ""))


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, Part) and value:
        yield head
        for line in value.lines:
            yield f"{indent}  {line}"
    elif isinstance(value, Mapping) and value:
        yield head
        yield from _mapping(value, indent + "  ")
    elif isinstance(value, list) and value:
        yield head
        for one in value:
            yield f"{indent}- {_flow(one)}"
    else:
        yield f"{head} {_flow(value)}"


def _flow(value: Any) -> str:
    """On one line."""
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{_quoted(str(key))}: {_flow(one)}" for key, one in value.items())
        return f"{{{pairs}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _word(value)
    if isinstance(value, float):
        return _number(value)
    return json.dumps(value)


@functools.lru_cache(4096)
def _word(text: str) -> str:
    simple = _SIMPLE.fullmatch(text) and text.lower() not in _RESERVED
    return text if simple else _quoted(text)


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    whole, e, power = repr(value).partition("e")  # YAML 1.1 takes 1e+20 for a text
    return f"{whole}{'' if '.' in whole or not e else '.0'}{e}{power}"


def _quoted(text: str) -> str:
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(text, ensure_ascii=False))


def mapping_of(text: str, source: str) -> dict[str, Any]:
    """The mapping in the text of a file called *source*.

    Raises PipelineError for what is none, ModuleNotFoundError if it is YAML and PyYAML is not
    installed.
    """
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else _parsed(text, source)
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{source} is no YAML: {error}") from None
    if not isinstance(found, dict):
        raise PipelineError(f"{source} holds no mapping, but a {type(found).__name__}.")
    return found


def _parsed(text: str, source: str) -> Any:
    if not has_yaml():
        raise ModuleNotFoundError(
            f"{source} is YAML, for which PyYAML is needed: pip install 'pypelinin[tasks]'",
            name="yaml",
        )
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # untyped
        """Takes the tuples that the original wrote, too."""

    Loader.add_constructor(
        "tag:yaml.org,2002:python/tuple",
        lambda loader, node: tuple(loader.construct_sequence(node, deep=True)),
    )
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise PipelineError(f"{source} is no YAML: {error}") from None


__all__ = ["Part", "has_yaml", "mapping_of", "text_of"]
