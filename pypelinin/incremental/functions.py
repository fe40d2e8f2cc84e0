"""What a function does, as digests (`runtime.code_views`): here jobs stand for their ids, and
what loaders put into an object is no part of it."""

from __future__ import annotations

from typing import Any

from pypelinin.incremental import state
from pypelinin.runtime import code_views
from pypelinin.runtime.code_views import (
    CODE_VIEW,
    SOURCE_VIEW,
    Told,
    code_digest,
    codes_of,
    followed,
    function_tags,
    global_names,
    is_of_project,
    normalised,
    source_of,
    text_of_function,
    unwrapped,
)


def as_seen(value: Any) -> Any:
    """What counts of a variable that a function brings along."""
    value = state.without_loaded(value)
    job_id = getattr(value, "job_id", None)
    return Told(b"job " + job_id.encode()) if isinstance(job_id, str) else value


if as_seen not in code_views.translations:
    code_views.translations.append(as_seen)

__all__ = [
    "CODE_VIEW", "SOURCE_VIEW", "as_seen", "code_digest", "codes_of", "followed", "function_tags",
    "global_names",
    "is_of_project", "normalised", "source_of", "text_of_function", "unwrapped",
]  # fmt: skip
