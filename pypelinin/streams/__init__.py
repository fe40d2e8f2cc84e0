"""Data flow: items through functions, loops and reductions; heir of job_stream."""

from pypelinin.streams.inline import (
    Args,
    ItemFailed,
    Multiple,
    Object,
    Work,
    getCpuCount,
    getRank,
    map,
)

__all__ = ["Args", "ItemFailed", "Multiple", "Object", "Work", "getCpuCount", "getRank", "map"]
