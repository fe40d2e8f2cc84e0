"""Digests of files, bytes and parameters (`runtime.hashers`)."""

from __future__ import annotations

from pypelinin.runtime.hashers import (
    ValuePlusHash,
    digest,
    encoded,
    hash_bytes,
    hash_file,
    hash_object,
    hash_str,
    name_of,
    without_address,
)

__all__ = [
    "ValuePlusHash", "digest", "encoded", "hash_bytes", "hash_file", "hash_object", "hash_str",
    "name_of", "without_address",
]  # fmt: skip
